"""Images as requests bring them: base64, a data: URL, or the URL of one to fetch.

A check costs a header: what is no image, or stands for too many pixels, is refused before anything
is decoded. Decoding is the encoder's. URLs are only looked at here; `ImageInputs.fetched` gets
them, where the service may wait.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.encoders.inputs import Input, Picture
from app.encoders.picture import pixels_of, size_of
from app.errors import InvalidImage, LikewiseError
from app.service.deadlines import deadline, late
from app.service.fetching import Fetcher

_DATA_URL = re.compile(r"data:(?:image/[a-z0-9.+-]+)?;base64,", re.IGNORECASE)
_WEB_URL = re.compile(r"https?://", re.IGNORECASE)
_MOST_URL_CHARS = 2048
_PIECE_CHARS = 64 * 1024  # decoded at once: while it is, nobody else runs; whole groups of four

FETCHED_AT_ONCE = 4
"""Of the URLs of one request, so that several requests have their turn."""


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """An image that is yet to be fetched."""

    url: str


Given = Input | ImageUrl
"""What an encoder reads, or what will be that once it is fetched."""


class ImageInputs:
    """The images of requests, within the service's limits.

    max_bytes, max_pixels  of one image: of its file, and of width × height
    max_fetched            bytes of all images that are fetched for one request
    fetcher                gets those that are given by URL; None refuses them
    """

    def __init__(
        self, *, max_bytes: int, max_pixels: int, max_fetched: int, fetcher: Fetcher | None
    ) -> None:
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._max_fetched = max_fetched
        self._fetcher = fetcher

    def check(self, raw: object, pointer: str) -> Picture | ImageUrl:
        """Return an image; raise InvalidImage. Slow work for large ones: not on the event loop.

        raw  text as it stands in JSON, or the bytes of a file from a form
        """
        if isinstance(raw, bytes):
            return self._picture(raw, pointer)
        if not isinstance(raw, str):
            raise InvalidImage("expected an image: base64, or a URL", pointer=pointer)
        if _WEB_URL.match(raw):
            return self._url(raw, pointer)
        data = _DATA_URL.match(raw)
        start = data.end() if data else 0
        # Four characters are three bytes: what is too long is not decoded first.
        if (len(raw) - start) // 4 * 3 - 2 > self._max_bytes:
            raise self._too_long(pointer)
        try:
            file = _decoded(raw, start)
        except (binascii.Error, ValueError):
            raise InvalidImage(
                "expected base64, a URL of the form data:image/…;base64,…, or one with https",
                pointer=pointer,
            ) from None
        return self._picture(file, pointer)

    async def fetched(self, given: Sequence[Given]) -> list[Input]:
        """The same with every URL fetched. Raises InvalidImage (pointer `/i`) for the first that
        cannot be had, and Overloaded."""
        found: list[Input] = []
        for index, one in enumerate(await self._got(given)):
            if isinstance(one, BaseException):
                if isinstance(one, LikewiseError):
                    one.pointer = f"/{index}"
                raise one
            found.append(one)
        return found

    async def faults(self, given: Sequence[Given]) -> list[tuple[int, InvalidImage]]:
        """Find all that cannot be fetched or decoded, by their places."""
        got = await self._got(given)

        def tried() -> list[tuple[int, InvalidImage]]:
            faults: list[tuple[int, InvalidImage]] = []
            for index, one in enumerate(got):
                try:
                    if isinstance(one, BaseException):
                        raise one
                    if isinstance(one, Picture):
                        pixels_of(one.file)
                except InvalidImage as error:
                    faults.append((index, error))
            return faults

        return await asyncio.to_thread(tried)

    async def _got(self, given: Sequence[Given]) -> list[Input | BaseException]:
        urls = dict.fromkeys(one.url for one in given if isinstance(one, ImageUrl))
        if not urls:
            return [one for one in given if not isinstance(one, ImageUrl)]
        room = asyncio.Semaphore(FETCHED_AT_ONCE)
        taken = 0

        async def fetch(url: str) -> Picture:
            nonlocal taken
            async with room:
                # Before the next one begins, so that little more than is allowed is ever held.
                if taken <= self._max_fetched:
                    picture = await self._fetch(url)
                    taken += len(picture.file)
            if taken > self._max_fetched:
                raise InvalidImage(
                    f"images that are fetched have at most {self._max_fetched} bytes together",
                    limit=self._max_fetched,
                )
            return picture

        due = deadline.get()
        left_s = None if due == math.inf else due - time.monotonic()
        all_of_them = asyncio.gather(*map(fetch, urls), return_exceptions=True)
        try:
            fetched = await asyncio.wait_for(all_of_them, left_s)
        except asyncio.TimeoutError:
            raise late() from None
        by_url = dict(zip(urls, fetched, strict=True))
        return [by_url[one.url] if isinstance(one, ImageUrl) else one for one in given]

    async def _fetch(self, url: str) -> Picture:
        assert self._fetcher is not None
        file = await self._fetcher.fetch(url)
        return await asyncio.to_thread(self._picture, file, None)

    def _url(self, url: str, pointer: str) -> ImageUrl:
        if self._fetcher is None:
            raise InvalidImage(
                "images are not fetched by this service (LIKEWISE_IMAGE_URLS): send base64",
                pointer=pointer,
            )
        if len(url) > _MOST_URL_CHARS:
            raise InvalidImage(f"a URL has at most {_MOST_URL_CHARS} characters", pointer=pointer)
        return ImageUrl(url)

    def _picture(self, file: bytes, pointer: str | None) -> Picture:
        if len(file) > self._max_bytes:
            raise self._too_long(pointer)
        try:
            width, height = size_of(file)
        except InvalidImage as error:
            error.pointer = pointer
            raise
        if width * height > self._max_pixels:
            raise InvalidImage(
                f"an image has at most {self._max_pixels} pixels, received {width} × {height}",
                pointer=pointer,
                limit=self._max_pixels,
                received=width * height,
            )
        return Picture(file)

    def _too_long(self, pointer: str | None) -> InvalidImage:
        return InvalidImage(
            f"an image has at most {self._max_bytes} bytes", pointer=pointer, limit=self._max_bytes
        )


def _decoded(text: str, start: int) -> bytes:
    """Decode base64 from a place in a text on. Raises ValueError."""
    end = len(text)
    if (end - start) % 4 or text.endswith("==="):
        raise ValueError
    pieces = []
    for at in range(start, end, _PIECE_CHARS):
        pieces.append(base64.b64decode(text[at : at + _PIECE_CHARS], validate=True))
        if at + _PIECE_CHARS < end and len(pieces[-1]) * 4 != _PIECE_CHARS * 3:
            raise ValueError  # it was filled up in its middle
    return b"".join(pieces)
