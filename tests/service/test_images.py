"""Images of requests: base64 is decoded in pieces, and what is fetched has bounds together."""

from __future__ import annotations

import asyncio
import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.encoders.inputs import Picture
from app.errors import DeadlineExceeded, InvalidImage
from app.service import images
from app.service.deadlines import deadline
from app.service.fetching import Fetcher
from app.service.images import FETCHED_AT_ONCE, ImageInputs, ImageUrl

DOT = b"P5 1 1 255\n\0"


class Slow(Fetcher):
    """Answers each URL with the same picture after a while, and counts."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(max_bytes=100)
        self.wait_s = wait_s
        self.fetched = self.under_way = self.most = 0

    async def fetch(self, url: str) -> bytes:
        self.fetched += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.wait_s)
        self.under_way -= 1
        return DOT


def inputs(fetcher: Fetcher | None = None, max_fetched: int = 1000) -> ImageInputs:
    return ImageInputs(max_bytes=1000, max_pixels=100, max_fetched=max_fetched, fetcher=fetcher)


URLS = [ImageUrl(f"http://a.example/{number}") for number in range(40)]


def test_what_one_request_has_fetched_has_a_bound_and_nothing_is_fetched_beyond_it() -> None:
    async def work() -> Slow:
        fetcher = Slow(0.001)
        most = 10 * len(DOT)
        found = await inputs(fetcher, most).fetched(URLS[:10])
        assert len(found) == 10
        with pytest.raises(InvalidImage, match="together"):
            await inputs(fetcher, most).fetched(URLS)
        fetcher.close()
        return fetcher

    fetcher = asyncio.run(work())
    assert fetcher.fetched <= 10 + 11 + FETCHED_AT_ONCE
    assert fetcher.most <= FETCHED_AT_ONCE


def test_fetching_ends_with_the_time_of_its_request() -> None:
    async def work() -> None:
        fetcher = Slow(60)
        deadline.set(time.monotonic() + 0.05)
        with pytest.raises(DeadlineExceeded):
            await inputs(fetcher).fetched(URLS)
        fetcher.close()

    asyncio.run(work())


@given(st.binary(max_size=64), st.integers(0, 3))
def test_base64_in_pieces_is_base64(file: bytes, padding: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(images, "_PIECE_CHARS", 8)
        text = base64.b64encode(DOT + file).decode()
        read = inputs().check("data:image/png;base64," + text, "/x")
        assert isinstance(read, Picture)
        assert read.file == DOT + file
        # Filled up in its middle, or by too few: no base64, wherever a piece ends.
        for wrong in (text[:4] + "QQ==" + text[4:], text + "=" * (padding + 1), text[:-1]):
            with pytest.raises(InvalidImage, match="base64"):
                inputs().check(wrong, "/x")


def test_pictures_are_equal_by_content_and_shown_without_it() -> None:
    large = DOT + bytes(1 << 20)
    assert Picture(large) == Picture(bytes(bytearray(large)))
    assert hash(Picture(large)) == hash(Picture(bytes(bytearray(large))))
    assert Picture(large) != Picture(DOT)
    assert len(repr(Picture(large))) < 200
    assert repr(Picture(large)) != repr(Picture(DOT))
