"""Files outside SQLite: made durable, checked, locked."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from app.errors import DirectoryInUse, StorageFull, StorageReadOnly

_BLOCK = 1 << 20


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


def checksum(path: Path) -> int:
    """Compute the CRC-32 of a file's contents: for damage, not for malice."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc


@contextlib.contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Say in the domain's words why files of a folder cannot be written.

    Raises StorageFull and StorageReadOnly; other errors of the system pass.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("the disk is full; nothing of this was kept") from exc
        if exc.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise StorageReadOnly(f"{folder.name} cannot be written to; reads go on") from exc
        raise


def lock_folder(folder: Path) -> IO[bytes]:
    """Take a folder for this process until the returned file is closed.

    Raises DirectoryInUse if another process has it. The lock goes with the process, however it
    ends.
    """
    file = (folder / "LOCK").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        file.close()
        raise DirectoryInUse(
            "another process uses this data directory; stop it or choose another one",
            path=str(folder),
        ) from exc
    return file
