"""What a failed operation on files means, in the domain's words.

An error number is often not the whole story: SQLite says "disk I/O error" for a disk that has no
room for its index and for a file system that was remounted read-only. So where the number leaves it
open, the folder is asked by writing a small file into it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from app.errors import StorageFull, StorageReadOnly, StoredDataError

StorageFault = StorageFull | StorageReadOnly | StoredDataError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_PROBE_BYTES = 64 << 10  # more than the blocks that a file system hands out one by one


def storage_full() -> StorageFull:
    """Say that there is no room."""
    return StorageFull("the disk is full; nothing of this write was kept. Reads and drops go on")


def fault_from_os(exc: OSError, path: Path) -> StorageFault:
    """Say what an OSError on a file of ours means."""
    if exc.errno in _FULL:
        return storage_full()
    if exc.errno in _REFUSED:
        return StorageReadOnly("the data directory cannot be written to; reads go on")
    return StoredDataError(f"a file cannot be used: {exc.strerror or exc}", path=str(path))


@contextlib.contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Say in the domain's words why files of a folder cannot be written."""
    try:
        yield
    except OSError as exc:
        raise fault_from_os(exc, folder) from exc


def fault_of_folder(folder: Path) -> StorageFull | StorageReadOnly | None:
    """Find out whether a folder takes new files now; None if it does, or fails in another way."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        try:
            probe.write_bytes(b"\0" * _PROBE_BYTES)
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
    except OSError as exc:
        fault = fault_from_os(exc, folder)
        return fault if isinstance(fault, StorageFull | StorageReadOnly) else None
    return None
