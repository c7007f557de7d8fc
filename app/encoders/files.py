"""Write a model's files whole or not at all, and know them by their sha256."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """The lower-case hex sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


MOST_TEXT_BYTES = 16 << 20
"""Of a manifest or a configuration. The largest list some ten thousand labels or tensors."""


def text_of(path: Path) -> str:
    """Read a small text file: a regular one, which ends.

    Raises FileNotFoundError and other OSErrors, and ValueError for what is no such file.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_TEXT_BYTES:
        raise ValueError(f"expected a file of at most {MOST_TEXT_BYTES} bytes")
    return path.read_text(encoding="utf-8")


def is_whole(path: Path, sha256: str, size_bytes: int | None = None) -> bool:
    """Whether a file is there and is the one that is meant. Looks at the length first."""
    if not path.is_file() or size_bytes not in (None, path.stat().st_size):
        return False
    return sha256_of(path) == sha256


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write beside `path`, and put it in place only if the block ends without an error.

    Two processes may do this at once: each writes its own file, and the last to end wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def alone(path: Path, tick: Callable[[], object]) -> Iterator[None]:
    """Hold a file against other processes and threads; one that is left empty goes.

    tick  called while somebody else has it; may raise to stop waiting
    """
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except FileNotFoundError:
            continue  # the folder went meanwhile
        except FileExistsError:
            if path.parent.exists() and not path.parent.is_dir():
                raise
            continue  # it was there, and went before mkdir looked what it is
        with file:
            while not _lock(file.fileno()):
                tick()
                time.sleep(0.05)
            # Whoever held it before may have moved it away.
            if not (path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))):
                continue
            try:
                yield
            finally:
                if path.exists() and path.stat().st_size == 0:
                    path.unlink()
                with suppress(OSError):  # not empty
                    path.parent.rmdir()
            return


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
