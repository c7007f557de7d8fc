"""Starts services quickly: everything is imported once, each service is a fork of that.

Reads lines of JSON: {"start": {variable: value}, "log": file} is answered with the process's
number, {"reap": number} with its exit status once it has ended. Forked before there is any thread,
a service is like one started afresh, in a twentieth of the time.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from tests.crash.observer import install; install(); "
    "from app.engine.build_process import main; main()"
)
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve orders until standard input ends."""
    import app.api.app
    import app.backends.local  # noqa: F401  # what a service imports when it starts
    from app.kernels import warm

    warm()
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "threads do not survive a fork"
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            number = os.fork()
            if number == 0:
                _serve(order["start"], order["log"])
            _say(number)
        else:
            _, status = os.waitpid(order["reap"], 0)
            _say(os.waitstatus_to_exitcode(status))


def _serve(environment: dict[str, str], log: str) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # ends with the test
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.environ.update(environment)
    os.environ["CRASH_SERVICE"] = str(os.getpid())
    os.environ["CRASH_BORN"] = str(time.monotonic())
    from app.__main__ import main as command_line
    from tests.crash.observer import install

    _hurry()
    install()
    sys.argv = ["likewise", "serve"]
    status = 1
    try:
        command_line()
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _hurry() -> None:
    """Have happen in seconds what happens in hours: builds, covers, checkpoints, upkeep."""
    import app.api.app
    from app.backends.local import LocalBackend
    from app.engine import builder, builds, keeper
    from app.planner.costs import Costs
    from app.storage import database

    builder._BOOT = _BOOT
    builder._TICK_S, builder._IDLE_S, builder._FIRST_PAUSE_S = 0.05, 0.0, 0.1
    keeper._TICK_S, keeper._IDLE_S, keeper._PAUSE_S = 0.1, 0.2, 0.1
    builds.WORTH_COVERS_NS = 1.0
    # Walks are said to be cheap, so that graphs and covers of some dozens of rows are worth it.
    cheap = Costs(code_scan_fixed_ns=40, scan_fixed_ns=40, visits_fixed=1, visits_per_ef=0.5)

    def open_backend(settings: Any) -> LocalBackend:
        return LocalBackend(
            settings.data_dir,
            sync=settings.sync,
            head_points=settings.head_points,
            build_threads=1,
            cover_share=50,
            reserve_bytes=settings.reserve_bytes,
            costs=cheap,
        )

    app.api.app.open_backend = open_backend
    connect = database.connect

    def connect_and_checkpoint(*args: Any, **kwargs: Any) -> database.Connection:
        connection = connect(*args, **kwargs)
        connection.execute("PRAGMA wal_autocheckpoint = 40")  # pages; SQLite's own is 1000
        return connection

    database.connect = connect_and_checkpoint


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
