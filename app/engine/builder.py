"""The background builder: one thread that watches the collections and runs build processes.

It wakes after writes, and once a second while anything might be due. A collection is idle when
nothing was written to it for `_IDLE_S`; then smaller builds are worth it. A build that fails is
logged and tried again after a pause that doubles, up to ten minutes: its points stay searchable
exactly.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import app
from app.engine.account import EngineAccount
from app.engine.builds import Build, CoverBuild, SegmentBuild
from app.engine.collection import Collection
from app.errors import CollectionNotFound, LikewiseError

_log = logging.getLogger(__name__)

_TICK_S = 1.0
_IDLE_S = 5.0
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 600.0

_EXPECTED = (LikewiseError, OSError, subprocess.SubprocessError)

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from app.engine.build_process import main; main()"
)


class Builder:
    """Builds whatever is due, one build at a time, until it is closed."""

    def __init__(
        self,
        collections: Callable[[], Iterable[Collection]],
        *,
        threads: int,
        account: EngineAccount,
    ) -> None:
        self._account = account
        self._collections = collections
        self._threads = threads
        self._wake = threading.Event()
        self._wake.set()  # a reopened collection may have something due
        self._closing = False
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._building: Collection | None = None
        self._cancelled = False
        self._running: tuple[Collection, subprocess.Popen[bytes]] | None = None
        self._quiet: dict[Collection, tuple[int, float]] = {}
        self._retry: dict[Collection, tuple[float, float]] = {}
        self._thread = threading.Thread(target=self._work, name="builder", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Tell whether a build process runs now."""
        return self._running is not None

    def wake(self) -> None:
        """Look for due builds soon."""
        self._wake.set()

    def cancel(self, collection: Collection) -> None:
        """End a build of this collection, which is closed, and wait until nothing is left of it."""
        with self._lock:
            if self._building is not collection:
                return
            self._cancelled = True
            if self._running is not None:
                self._running[1].kill()
            self._ended.wait_for(lambda: self._building is not collection)

    def close(self) -> None:
        """End the running build and the thread; what was not built stays for the next start."""
        with self._lock:
            self._closing = True
            if self._running is not None:
                self._running[1].kill()
        self._wake.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait(_TICK_S)
            self._wake.clear()
            collections = list(self._collections())
            for gone in set(self._quiet) - set(collections):
                del self._quiet[gone]
                self._retry.pop(gone, None)
            for collection in collections:
                if self._closing:
                    return
                with self._lock:
                    self._building, self._cancelled = collection, False
                self._build_if_due(collection)
                with self._lock:
                    self._building = None
                    self._ended.notify_all()

    def _build_if_due(self, collection: Collection) -> None:
        now = time.monotonic()
        writes, since = self._quiet.get(collection, (-1, now))
        if writes != collection.writes:
            writes, since = collection.writes, now
        self._quiet[collection] = (writes, since)
        after, pause = self._retry.get(collection, (0.0, _FIRST_PAUSE_S))
        if now < after:
            return
        build: Build | None = None
        started = time.perf_counter()
        try:
            build = collection.builds.begin(idle=now - since >= _IDLE_S, threads=self._threads)
            if build is None:
                return
            self._run(collection, build)
            collection.builds.finish(build)
        except CollectionNotFound:  # dropped meanwhile
            return
        except Exception as exc:
            if build is not None:
                collection.builds.abandon(build)
            if not self._closing and not self._cancelled:
                kind = "segment" if build is None else _kind(build)
                self._account.build_failures[kind] += 1
                _log.warning(
                    "a build failed and is tried again in %.0f s: %s", pause, exc,
                    exc_info=not isinstance(exc, _EXPECTED),
                    extra={"facts": {"collection": collection.name, "job": f"build {kind}"}},
                )  # fmt: skip
                later = time.monotonic() + pause
                self._retry[collection] = (later, min(2 * pause, _LONGEST_PAUSE_S))
            return
        self._retry.pop(collection, None)
        self._wake.set()  # more may have come meanwhile
        took_s = time.perf_counter() - started
        self._account.build_seconds[_kind(build)].note(took_s)
        facts = {
            "collection": collection.name,
            "job": f"build {_kind(build)}",
            "seconds": round(took_s, 1),
        }
        _log.info("a build ended well", extra={"facts": facts})

    def _run(self, collection: Collection, build: Build) -> None:
        """Run the build process to its end. Raises SubprocessError with its last words."""
        root = str(Path(app.__file__).resolve().parent.parent)
        process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-c", _BOOT, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the service, which ends its builds itself
        )
        with self._lock:
            self._running = (collection, process)
            if self._closing or self._cancelled:
                process.kill()
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(build.order.encode())
                process.stdin.flush()
            errors = _follow(collection.name, process)
        finally:
            with self._lock:
                self._running = None
            for pipe in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(BrokenPipeError):
                    if pipe is not None:
                        pipe.close()
        if process.returncode != 0:
            said = errors.strip().splitlines()
            raise subprocess.SubprocessError(
                said[-1] if said else f"the build process ended with {process.returncode}"
            )


def _kind(build: Build) -> str:
    if isinstance(build, SegmentBuild):
        return "segment"
    return "cover" if isinstance(build, CoverBuild) else "words"


def _follow(name: str, process: subprocess.Popen[bytes]) -> str:
    """Log the process's progress until it ends; returns what it wrote to standard error."""
    assert process.stdout is not None
    assert process.stderr is not None
    errors: list[bytes] = []
    stderr = process.stderr
    reader = threading.Thread(target=lambda: errors.append(stderr.read()), daemon=True)
    reader.start()
    for line in process.stdout:
        _log.debug(
            "progress: %s",
            line.decode().strip(),
            extra={"facts": {"collection": name, "job": "build"}},
        )
    process.wait()
    reader.join()
    return b"".join(errors).decode(errors="replace")
