"""Memory of this process and the most that it may have. Linux; elsewhere nothing is known."""

from __future__ import annotations

import contextlib
from pathlib import Path

_STATUS = Path("/proc/self/status")
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_UNLIMITED = 1 << 60  # version 1 of control groups spells "no limit" as a very large number


def anonymous_bytes() -> int | None:
    """Resident memory that no file stands behind: what counts against a limit.

    The rest of the resident set are mapped segments, which the system takes back when it needs to.
    """
    with contextlib.suppress(OSError, ValueError):
        for line in _STATUS.read_text("ascii").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return None


def limit_bytes() -> int | None:
    """The memory limit of the container, or else the machine's memory."""
    for path in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limit = int(path.read_text("ascii"))
            if limit < _UNLIMITED:
                return limit
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    return None
