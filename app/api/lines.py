"""From the bytes of a stream to batches of numbered, parsed lines: no sockets, no waiting.

Theory of operation
-------------------
Bytes are fed as they come, cut anywhere; batches are taken as they fill. Memory is bounded whatever
the bytes are:

- A compressed body is inflated in steps of `STEP_BYTES`, and only when lines are wanted. What is
  not inflated yet stays compressed, so a bomb costs one step, and the time that its lines take.
- A line longer than `max_line_bytes` is thrown away as it comes, and is one bad line.
- Blank lines are counted, not cut: a kilobyte of gzip can hold a million of them.
- A batch holds at most `BATCH_LINES` lines, and what a batch of `BATCH_BYTES` and one line hold.

A body that cannot be read on (damaged, truncated, too long) fails after the batch of the whole
lines before the damage: whoever takes batches until one raises has seen every line there was.

    body  →  inflated (`_Inflated`)  →  lines (`LineReader`)  →  parsed, in batches (`LineBatches`)
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from collections.abc import Callable

from app.errors import BodyTooLarge, InvalidRequest, LimitExceeded, MalformedBody
from app.service.importing import Line, LineBatch
from app.service.requests import NewPoint

STEP_BYTES = 1 << 16
BATCH_LINES = 512
"""A few seconds of an encoder on two cores: more would only make progress coarser."""
BATCH_BYTES = 8 << 20

_SLICE_BYTES = 1 << 14
_GZIP = 31  # zlib's name for a window of 32 KiB inside a gzip header and trailer

_FILLED = re.compile(rb"\S[^\n]*")  # a line from its first byte that is no space

Parse = Callable[[bytes], NewPoint]
"""Reads one line, or raises an InvalidRequest whose pointer is a place in that line."""


class LineReader:
    """Numbered lines of a body, plain or gzip of one or several members.

    number   of the next line, counted from 1
    blank    how many lines since `from_line` held nothing but spaces: they are passed over
    """

    def __init__(
        self, *, gzip: bool, from_line: int, max_line_bytes: int, max_bytes: int = 0
    ) -> None:
        """Start before the first line.

        from_line        lines before it are counted, and otherwise ignored
        max_bytes        of the whole body once inflated; 0 is no limit
        """
        self.number = 1
        self.blank = 0
        self._from_line = from_line
        self._most = max_line_bytes
        self._source = _Inflated(max_bytes) if gzip else _Plain(max_bytes)
        self._ready: deque[bytes | int | None] = deque()  # a number is as many blank lines
        self._open: list[bytes] = []  # the pieces of a line whose end has not come
        self._open_bytes = 0
        self._open_filled = False  # it holds more than spaces
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take bytes of the body."""
        self._source.feed(data)

    def end(self) -> None:
        """Say that the body is complete: what follows the last line feed is a line too."""
        self._ended = True

    def next(self) -> tuple[int, bytes | None] | None:
        """Give the next line that is not blank; the line is None if it is too long.

        Returns None where more bytes are needed, or there are no more. Raises BodyTooLarge or
        MalformedBody where the body cannot be read on.
        """
        while True:
            while self._ready:
                line = self._ready.popleft()
                number = self.number
                if isinstance(line, int):
                    self.number += line
                    self.blank += max(0, self.number - max(number, self._from_line))
                    continue
                self.number += 1
                if number >= self._from_line:
                    return number, line
            if not self._read_on():
                return None

    def _read_on(self) -> bool:
        """Cut one more step of the body into lines; False if there is none."""
        piece = self._source.read()
        if piece:
            at = 0
            for line in _FILLED.finditer(piece):
                at = self._pass_blank(piece, at, line.start())
                self._extend(piece[at : line.end()])
                self._open_filled = True
                at = line.end()
            self._extend(piece[self._pass_blank(piece, at, len(piece)) :])
            return True
        if not self._ended:
            return False
        self._source.check_whole()
        if not self._open_bytes:
            return False
        self._close()
        return True

    def _pass_blank(self, piece: bytes, at: int, end: int) -> int:
        """Close the lines that end between `at` and `end`, where there are only spaces.

        Returns where the line begins that reaches up to `end`.
        """
        ended = piece.count(b"\n", at, end)
        if not ended:
            return at
        self._extend(piece[at : piece.index(b"\n", at)])
        self._close()
        if ended > 1:
            self._ready.append(ended - 1)
        return piece.rindex(b"\n", at, end) + 1

    def _extend(self, piece: bytes) -> None:
        self._open_bytes += len(piece)
        if self._open_bytes <= self._most:
            self._open.append(piece)
        else:
            self._open.clear()

    def _close(self) -> None:
        if not self._open_filled:
            self._ready.append(1)
        else:
            whole = self._open_bytes <= self._most
            self._ready.append(b"".join(self._open) if whole else None)
        self._open.clear()
        self._open_bytes = 0
        self._open_filled = False


class _Plain:
    """A body as it is."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._given = 0
        self._waiting: deque[bytes] = deque()

    def feed(self, data: bytes) -> None:
        self._waiting.append(data)

    def read(self) -> bytes:
        """Give some more bytes; none if there are none. Raises BodyTooLarge."""
        while self._waiting:
            data = self._waiting.popleft()
            if data:
                return self._counted(data)
        return b""

    def check_whole(self) -> None:
        """Raise MalformedBody if the body cannot end here."""

    def _counted(self, data: bytes) -> bytes:
        self._given += len(data)
        if self._max_bytes and self._given > self._max_bytes:
            raise BodyTooLarge(
                f"an import has at most {self._max_bytes} bytes, uncompressed: send the rest in "
                "another one",
                limit=self._max_bytes,
            )
        return data


class _Inflated(_Plain):
    """The contents of a gzip body (RFC 1952): members, one after the other."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._member = zlib.decompressobj(_GZIP)

    def feed(self, data: bytes) -> None:
        # In slices: zlib copies what it leaves over at every step and after every member.
        for start in range(0, len(data), _SLICE_BYTES):
            super().feed(data[start : start + _SLICE_BYTES])

    def read(self) -> bytes:
        while True:
            data = self._member.unconsumed_tail or (
                self._waiting.popleft() if self._waiting else b""
            )
            if self._member.eof:
                data = self._member.unused_data + data
                if not data:
                    return b""
                self._member = zlib.decompressobj(_GZIP)
            try:
                # Also without input: a step may have ended with output left inside.
                found = self._member.decompress(data, STEP_BYTES)
            except zlib.error:
                raise MalformedBody("the body is not gzip, or is damaged") from None
            if found:
                return self._counted(found)
            if not data:
                return b""

    def check_whole(self) -> None:
        if not self._member.eof:
            raise MalformedBody("the gzip body ends too early: nothing of its last line is used")


class LineBatches:
    """Lines parsed and gathered. Slow work: to be called on a thread, one at a time."""

    def __init__(self, reader: LineReader, parse: Parse, *, most_lines: int) -> None:
        self._reader = reader
        self._parse = parse
        self._most_lines = most_lines
        self._lines: list[Line] = []
        self._bytes = 0
        self._blank = 0  # of those in batches given
        self._failure: InvalidRequest | None = None

    @property
    def waiting(self) -> bool:
        """Whether there is something to give that `next` held back for a fuller batch."""
        return bool(self._lines) or self._reader.blank > self._blank

    def next(self) -> LineBatch | None:
        """Give a full batch; None if more bytes are needed. Raises as `LineReader.next` does."""
        if self._failure is not None:
            raise self._failure
        while len(self._lines) < self._most_lines and self._bytes < BATCH_BYTES:
            try:
                found = self._reader.next()
            except InvalidRequest as error:
                self._failure = error
                if self.waiting:
                    return self.rest()
                raise
            if found is None:
                return None
            number, line = found
            self._lines.append(Line(number, self._parsed(line)))
            self._bytes += 0 if line is None else len(line)
        return self.rest()

    def rest(self) -> LineBatch:
        """Give what has been gathered, however little."""
        blank = self._reader.blank - self._blank
        batch = LineBatch(self._lines, blank, self._reader.number)
        self._lines, self._bytes, self._blank = [], 0, self._reader.blank
        return batch

    def _parsed(self, line: bytes | None) -> NewPoint | InvalidRequest:
        if line is None:
            return LimitExceeded("the line is longer than `max_line_bytes`", pointer="")
        try:
            return self._parse(line)
        except InvalidRequest as error:
            return error
