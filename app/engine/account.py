"""What the engine of one data directory did since it was opened, for monitoring."""

from __future__ import annotations

import threading

from app.tally import LONG_SECONDS, POWERS, SECONDS, Histogram

KINDS = ("segment", "cover", "words")


class EngineAccount:
    """Commits of all collections, and builds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of the commits, which any thread makes
        self.commit_seconds = Histogram(SECONDS)
        self.commit_writes = Histogram(POWERS[:7])
        self.build_seconds = {kind: Histogram(LONG_SECONDS) for kind in KINDS}
        self.build_failures = dict.fromkeys(KINDS, 0)

    def committed(self, writes: int, took_s: float) -> None:
        """Enter a commit that `writes` writes shared."""
        with self._lock:
            self.commit_seconds.note(took_s)
            self.commit_writes.note(writes)
