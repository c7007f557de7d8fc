"""Inside the service and its build processes: notes which write points are reached, and kills.

Told by the environment:

    CRASH_HITS      file that gets a line for each point reached, "@pid" for each build process
                    begun, and "!NAME" for the point at which the process was killed
    CRASH_AT        NAME:n:seconds, to kill the service at the n-th time that the point is reached
                    in one process, counted from so many seconds after the start; or empty
    CRASH_FULL      share of transactions, and of files to be named, in which the disk is said to be
                    full
    CRASH_SERVICE   the service's process
    CRASH_BORN      when it began (time.monotonic)
"""

from __future__ import annotations

import errno
import os
import random
import signal
import sqlite3
import threading
import time

from app.storage.write_points import WritePoint, observe

_WRITTEN = {WritePoint.STORE_WRITTEN, WritePoint.CATALOG_WRITTEN}
_FILES = {WritePoint.SNAPSHOT_MADE, WritePoint.COLLECTION_MADE}


def install() -> None:
    """Listen to this process."""
    hits = os.open(os.environ["CRASH_HITS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    full = float(os.environ["CRASH_FULL"])
    service = int(os.environ["CRASH_SERVICE"])
    name, _, rest = os.environ["CRASH_AT"].partition(":")
    times, after_s = (float(number) for number in (rest or "0:0").split(":"))
    armed_at = float(os.environ["CRASH_BORN"]) + after_s
    dice = random.Random(os.getpid())
    lock = threading.Lock()
    seen = 0
    if os.getpid() != service:
        os.write(hits, b"@%d\n" % os.getpid())

    def observer(point: WritePoint) -> None:
        nonlocal seen
        os.write(hits, b"%s\n" % point.name.encode())
        if point.name == name and time.monotonic() >= armed_at:
            with lock:
                seen += 1
                if seen == times:
                    os.write(hits, b"!%s\n" % point.name.encode())
                    os.kill(service, signal.SIGKILL)
                    os.kill(os.getpid(), signal.SIGKILL)
        if point in _WRITTEN and dice.random() < full:
            raise sqlite3.OperationalError("database or disk is full")
        if point in _FILES and dice.random() < full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    observe(observer)
