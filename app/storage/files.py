"""Files outside SQLite: made durable, checked, locked."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import zlib
from pathlib import Path
from typing import IO

from app.errors import DirectoryInUse
from app.storage.write_points import WritePoint, reached

_BLOCK = 1 << 20

_LOCK_WAIT_S = 1.0
"""A service killed while it was starting a build leaves a child that has not become the build
program yet, and has the lock until it does: some milliseconds, more on a machine under load."""


def sync_file(path: Path) -> None:
    """Force a file's contents to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, where fsync stops at the drive's cache
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk: a new or renamed file is durable only after this."""
    sync_file(path)


def remove_folder(path: Path) -> None:
    """Remove a folder that nobody needs; what cannot be removed now is left to the next start."""
    if path.exists():
        shutil.rmtree(path, ignore_errors=True)
        reached(WritePoint.FOLDER_REMOVED)


def checksum(path: Path) -> int:
    """Compute the CRC-32 of a file's contents: for damage, not for malice."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of all files below a folder; what is gone meanwhile counts nothing."""
    total = 0
    for inner, _, files in os.walk(folder):
        for name in files:
            total += file_bytes(Path(inner, name))
    return total


def file_bytes(path: Path) -> int:
    """Tell the size of a file, 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def lock_folder(folder: Path) -> IO[bytes]:
    """Take a folder for this process until the returned file is closed.

    Raises DirectoryInUse if another process has it. The lock goes with the process, however it
    ends.
    """
    file = (folder / "LOCK").open("ab")
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if time.monotonic() < deadline:
                time.sleep(0.01)
                continue
            file.close()
            raise DirectoryInUse(
                "another process uses this data directory; stop it or choose another one",
                path=str(folder),
            ) from exc
        return file
