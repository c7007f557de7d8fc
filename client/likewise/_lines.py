"""Lines of points: where they come from, how they are cut into requests, where they go."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

from ._json import to_json
from ._points import Point, PointId, PointLike, point_to_wire

LineSource: TypeAlias = (
    "str | os.PathLike[str] | IO[bytes] | Iterable[str] | Iterable[bytes] | Iterable[PointLike]"
)
"""A path, an open binary file (both also gzip), or lines or points one by one."""

LineTarget: TypeAlias = "str | os.PathLike[str] | IO[bytes]"
"""A path (gzip if it ends in .gz), or an open binary file."""

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some whole lines of a source: the bytes of one request, and the number of the first."""

    first: int
    lines: int
    body: bytes


def pieces(
    source: LineSource, *, from_line: int, most_lines: int, most_bytes: int
) -> Iterator[Piece]:
    """Cut a source into pieces of whole lines within both limits; a longer line goes alone.

    from_line   the lines before it are passed over; the first is 1
    """
    waiting: list[bytes] = []
    size, first = 0, from_line
    for number, line in enumerate(_lines(source), start=1):
        if number < from_line:
            continue
        if waiting and (len(waiting) >= most_lines or size + len(line) + 1 > most_bytes):
            yield Piece(first, len(waiting), b"\n".join(waiting) + b"\n")
            waiting, size, first = [], 0, number
        waiting.append(line)
        size += len(line) + 1
    if waiting:
        yield Piece(first, len(waiting), b"\n".join(waiting) + b"\n")


def _lines(source: LineSource) -> Iterator[bytes]:
    """Give the lines without their ends, as bytes."""
    if isinstance(source, (Mapping, Point, bytes)):
        raise TypeError(f"expected a path, a file or lines, received a {type(source).__name__}")
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as file:
            yield from _lines(file)
        return
    if hasattr(source, "read"):
        yield from (line.rstrip(b"\n") for line in _plain(source))
        return
    for line in source:
        if isinstance(line, str):
            line = line.encode()
        elif not isinstance(line, bytes):
            line = to_json(point_to_wire(line))
        yield line.rstrip(b"\n")


def _plain(file: Any) -> Iterable[bytes]:
    """Look into a file and unpack it if it is gzip."""
    if isinstance(file, io.TextIOBase):
        raise TypeError('expected a file opened for bytes: open(path, "rb")')
    buffered = file if hasattr(file, "peek") else io.BufferedReader(file)
    packed = buffered.peek(2)[:2] == _GZIP_MAGIC
    return gzip.GzipFile(fileobj=buffered) if packed else buffered


class Lines:
    """What an export sends: passed on line by line, so that it can go on where it broke.

    count   whole lines passed on
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.count = 0
        self._write = write
        self._last = b""
        self._open = b""

    def feed(self, data: bytes) -> None:
        """Take bytes as they come, and pass on the lines that are whole."""
        whole, end, rest = data.rpartition(b"\n")
        if not end:
            self._open += data
            return
        whole = self._open + whole + end
        self._open = rest
        self._write(whole)
        self.count += whole.count(b"\n")
        self._last = whole[whole.rfind(b"\n", 0, -1) + 1 :]

    def cut(self) -> PointId | None:
        """Forget the line that broke off, and give the id of the last one that did not."""
        self._open = b""
        last: PointId | None = json.loads(self._last)["id"] if self._last else None
        return last

    def end(self) -> None:
        """Raise ValueError if there is a line without an end."""
        if self._open:
            raise ValueError("the last line of an export has no end")


@contextmanager
def opened_target(target: LineTarget) -> Iterator[Callable[[bytes], object]]:
    """Give a function that writes; a file that is named appears when everything was written."""
    if not isinstance(target, (str, os.PathLike)):
        yield target.write
        return
    path = Path(target)
    work = path.with_name(path.name + ".part")
    try:
        with gzip.open(work, "wb") if path.suffix == ".gz" else work.open("wb") as file:
            yield file.write
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)
