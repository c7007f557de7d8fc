"""Lines out of bytes: the same wherever the bytes are cut, and bounded whatever they are."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.api.lines import STEP_BYTES, LineBatches, LineReader
from app.errors import BodyTooLarge, InvalidRequest, LimitExceeded, MalformedBody
from app.service.importing import LineBatch
from app.service.requests import NewPoint

LONGEST = 8


def batches_of(pieces: list[bytes], *, gzip: bool = False, from_line: int = 1, most: int = 3,
               max_bytes: int = 0, whole: bool = True) -> tuple[list[LineBatch], str]:  # fmt: skip
    """All batches of a body that comes in these pieces, and the code of what ended it."""
    reader = LineReader(gzip=gzip, from_line=from_line, max_line_bytes=LONGEST, max_bytes=max_bytes)
    batches = LineBatches(reader, NewPoint, most_lines=most)
    found: list[LineBatch] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (batch := batches.next()) is not None:
                found.append(batch)
        if whole:
            reader.end()
        while (batch := batches.next()) is not None:
            found.append(batch)
    except InvalidRequest as error:
        assert not batches.waiting
        return found, error.code
    if batches.waiting:
        found.append(batches.rest())
    return found, ""


def told(found: list[LineBatch]) -> tuple[list[tuple[int, object]], int, int]:
    """Lines (None for one that is too long), blank ones, and the number after the last."""
    lines: list[tuple[int, object]] = []
    for line in (line for batch in found for line in batch.lines):
        if isinstance(line.point, NewPoint):
            lines.append((line.number, line.point.id))
        else:
            assert isinstance(line.point, LimitExceeded)
            lines.append((line.number, None))
    return lines, sum(batch.blank for batch in found), found[-1].next_line if found else 1


def expected(body: bytes, from_line: int) -> tuple[list[tuple[int, object]], int, int]:
    """The same, read the simple way."""
    lines = body.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    numbered = [(n, line) for n, line in enumerate(lines, start=1) if n >= from_line]
    return (
        [(n, line if len(line) <= LONGEST else None) for n, line in numbered if line.strip()],
        sum(1 for _, line in numbered if not line.strip()),
        len(lines) + 1,
    )


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at places, which may be anywhere."""
    ends = sorted(place % (len(body) + 1) for place in places)
    return [body[a:b] for a, b in zip([0, *ends], [*ends, len(body)], strict=True)]


bodies = st.lists(
    st.sampled_from([b"a", b"bc", b" ", b"\n", b"\r\n", b"\n\n", b"12345678", b"123456789", b"\0"]),
    max_size=30,
).map(b"".join)
places = st.lists(st.integers(0, 1000), max_size=6)


@given(bodies, places, st.integers(1, 5))
@example(b"12345678", [4], 1)
@example(b"123456789", [8], 1)
@example(b"\n" * 9, [3], 3)
@example(b" " * 20 + b"\n \n\n  a\n", [5, 21, 22], 2)
def test_lines_are_the_same_wherever_the_body_is_cut(
    body: bytes, places: list[int], from_line: int
) -> None:
    found, failure = batches_of(cut(body, places), from_line=from_line)
    lines, blank, next_line = told(found)
    assert failure == ""
    assert (lines, blank) == expected(body, from_line)[:2]
    # Lines before the first one wanted are no progress.
    assert next_line == (expected(body, from_line)[2] if lines or blank else 1)
    assert all(len(batch.lines) <= 3 for batch in found)


@given(st.lists(bodies, min_size=1, max_size=3), places)
def test_gzip_members_one_after_the_other_are_one_body(
    members: list[bytes], places: list[int]
) -> None:
    packed = b"".join(map(gzip.compress, members))
    found, failure = batches_of(cut(packed, places), gzip=True)
    assert failure == ""
    assert told(found)[:2] == expected(b"".join(members), 1)[:2]


@given(st.integers(0, 200), places)
def test_gzip_that_is_cut_off_gives_its_whole_lines_and_is_refused(
    kept: int, places: list[int]
) -> None:
    body = b"".join(b"%d\n" % n for n in range(100, 200))
    packed = gzip.compress(body)
    packed = packed[: min(kept, len(packed) - 1)]
    found, failure = batches_of(cut(packed, places), gzip=True)
    lines, _, _ = told(found)
    assert failure == MalformedBody.code
    assert [line for _, line in lines] == [b"%d" % n for n in range(100, 100 + len(lines))]


@pytest.mark.parametrize("tail", [b"x", b"\0", gzip.compress(b"b\n")[:5]])
def test_what_follows_a_gzip_member_and_is_none_is_refused(tail: bytes) -> None:
    found, failure = batches_of([gzip.compress(b"a\n") + tail], gzip=True)
    assert (told(found)[0], failure) == ([(1, b"a")], MalformedBody.code)


def test_a_body_that_breaks_off_loses_only_its_last_line() -> None:
    found, _ = batches_of([b"a\nb\nc"], whole=False)
    assert told(found)[0] == [(1, b"a"), (2, b"b")]


def test_the_limit_counts_what_was_inflated() -> None:
    packed = gzip.compress(b"1234567\n" * 1000)
    found, failure = batches_of([packed], gzip=True, max_bytes=8000)
    assert (len(told(found)[0]), failure) == (1000, "")
    _, failure = batches_of([packed], gzip=True, max_bytes=7999)
    assert failure == BodyTooLarge.code
    _, failure = batches_of([b"1234567\n"] * 1000, max_bytes=7999)
    assert failure == BodyTooLarge.code


@pytest.mark.parametrize("unit", [b"x", b"x\n"])
def test_a_bomb_costs_a_step_at_a_time(unit: bytes) -> None:
    packer = zlib.compressobj(9, wbits=31)
    block = unit * ((1 << 20) // len(unit))
    bomb = b"".join(packer.compress(block) for _ in range(64)) + packer.flush()
    assert len(bomb) < 1 << 17  # of 64 MiB
    reader = LineReader(gzip=True, from_line=1, max_line_bytes=1000)
    reader.feed(bomb)
    reader.end()
    tracemalloc.start()
    lines = 0
    while reader.next() is not None and lines < 300_000:
        lines += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * STEP_BYTES  # at most one object a byte of a step


@pytest.mark.parametrize("around", [b"", b"x", b" \n\t"])
def test_a_bomb_of_blank_lines_costs_no_more_than_its_bytes(around: bytes) -> None:
    blanks = 32 << 20
    packed = gzip.compress(b"a\n" + (b"\n" * 60_000 + around) * (blanks // 60_000), 6)
    begun_s = time.process_time()
    found, _ = batches_of([packed], gzip=True, most=512)
    took_s = time.process_time() - begun_s
    assert found[-1].next_line > blanks - 60_000
    assert took_s < 2, "line by line it takes more than ten seconds"
