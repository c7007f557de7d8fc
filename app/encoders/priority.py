"""The priority of a thread in the eyes of the system (Linux; elsewhere all threads are alike).

Linux schedules threads, and its nice value is one of the thread, whatever POSIX says of processes
(sched(7), "The nice value"). A thread with a high value hands its core over to one that wakes up
beside it, and gets a small share of a core that both want. Without privileges there is no way back,
so a thread is of one priority for good.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

_LOWEST = 19


def lower_priority(by: int) -> None:
    """Have the calling thread step back behind the others."""
    if sys.platform != "linux" or by == 0:
        return
    # Where a sandbox forbids it, all threads stay alike.
    with contextlib.suppress(OSError):
        own = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, own) + by
        os.setpriority(os.PRIO_PROCESS, own, min(_LOWEST, niceness))
