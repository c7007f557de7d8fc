"""Snapshot files on the caller's disk: read and written in pieces, whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from ._errors import TransportError

PIECE = 1 << 20
"""Bytes read or written at a time: about a millisecond, which the asyncio client spends on its
loop."""

Progress = Callable[[int, int], object]
"""Called with (bytes done, bytes in all)."""


class Outgoing:
    """A file to send. It is read twice: first for its SHA-256, which goes ahead of it."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self._path = path
        self._progress = progress
        digest = hashlib.sha256()
        self.size = 0
        for piece in self._read():
            digest.update(piece)
            self.size += len(piece)
        self.sha256 = digest.hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """Read the file from its beginning."""
        sent = 0
        for piece in self._read():
            yield piece
            sent += len(piece)
            if self._progress is not None:
                self._progress(sent, self.size)

    def _read(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece


class Incoming:
    """A file to receive: `<path>.part` until it is whole and verified."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        """Take a path that is free. Raises FileExistsError."""
        if path.exists():
            raise FileExistsError(f"{path} exists already")
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._progress = progress
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self._done = self._total = 0

    def begin(self, total: int) -> None:
        """Expect so many bytes, from the first one on: a repeated request starts again."""
        self.close()
        self._file = self._part.open("wb")
        self._digest = hashlib.sha256()
        self._done, self._total = 0, total

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        assert self._file is not None
        self._file.write(piece)
        self._digest.update(piece)
        self._done += len(piece)
        if self._progress is not None:
            self._progress(self._done, self._total)

    def keep(self, etag: str) -> Path:
        """Give the file its name. Raises TransportError if it is not what the service sent."""
        self.close()
        if etag != f'"{self._digest.hexdigest()}"':
            raise TransportError("the snapshot arrived with another SHA-256 than it was sent with")
        self._part.replace(self._path)
        return self._path

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def discard(self) -> None:
        """Remove what was not kept."""
        self.close()
        self._part.unlink(missing_ok=True)
