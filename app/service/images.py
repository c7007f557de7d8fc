"""Images as requests bring them: base64, a data: URL, or the URL of one to fetch.

A check costs a header: what is no image, or stands for too many pixels, is refused before anything
is decoded. Decoding is the encoder's. URLs are only looked at here; `ImageInputs.fetched` gets
them, where the service may wait.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.encoders.inputs import Input, Picture
from app.encoders.picture import pixels_of, size_of
from app.errors import InvalidImage, LikewiseError
from app.service.fetching import Fetcher

_DATA_URL = re.compile(r"data:(?:image/[a-z0-9.+-]+)?;base64,", re.IGNORECASE)
_WEB_URL = re.compile(r"https?://", re.IGNORECASE)
_MOST_URL_CHARS = 2048


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """An image that is yet to be fetched."""

    url: str


Given = Input | ImageUrl
"""What an encoder reads, or what will be that once it is fetched."""


class ImageInputs:
    """The images of requests, within the service's limits.

    max_bytes, max_pixels  of one image: of its file, and of width × height
    fetcher                gets those that are given by URL; None refuses them
    """

    def __init__(self, *, max_bytes: int, max_pixels: int, fetcher: Fetcher | None) -> None:
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
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
            file = base64.b64decode(raw[start:], validate=True)
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
        fetched = await asyncio.gather(*map(self._fetch, urls), return_exceptions=True)
        by_url = dict(zip(urls, fetched, strict=True))
        return [by_url[one.url] if isinstance(one, ImageUrl) else one for one in given]

    async def _fetch(self, url: str) -> Picture:
        assert self._fetcher is not None
        return self._picture(await self._fetcher.fetch(url), None)

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
