"""Forms with files (multipart/form-data, RFC 7578): what the embeddings route reads beside JSON.

    curl -F model=image-descriptor -F image=@cat.jpg -F image=@dog.jpg …/v1/embeddings

Each part `image` is a file, each part `text` a text; they are the inputs, in order. Other parts are
the members of the JSON body by their names. The body has been read, within its limits, before it is
taken apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from app.errors import InvalidField, MalformedBody

MOST_PARTS = 10_000
_PIECE_BYTES = 64 * 1024


class _Parts:
    """Collects parts as the parser finds them: their names, and their contents."""

    def __init__(self) -> None:
        self.found: list[tuple[str, bytes]] = []
        self.ended = False
        self._name = self._field = self._value = b""
        self._content: list[bytes] = []

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_end": self._all_read,
        }

    def _begin(self) -> None:
        if len(self.found) >= MOST_PARTS:
            raise MalformedBody(f"a form has at most {MOST_PARTS} parts")
        self._name, self._content = b"", []

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content.append(data[start:end])

    def _end(self) -> None:
        self.found.append((self._name.decode("utf-8", "replace"), b"".join(self._content)))

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"name", b"")
        self._field = self._value = b""

    def _all_read(self) -> None:
        self.ended = True


def members_of(body: bytes | bytearray, content_type: bytes) -> dict[str, Any]:
    """Take a form apart: the members of a JSON body that asks the same, files as bytes.

    Raises MalformedBody, or InvalidField for members that cannot be read.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 70:  # the longest of RFC 2046
        raise MalformedBody("the header Content-Type has no boundary")
    parts = _Parts()
    parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]  # a TypedDict
    try:
        # In pieces, between which others have their turn: copies of all of it take milliseconds.
        for start in range(0, len(body), _PIECE_BYTES):
            parser.write(bytes(body[start : start + _PIECE_BYTES]))
    except FormParserError:
        raise MalformedBody("the body is not the form that its header says") from None
    if not parts.ended:
        raise MalformedBody("the form ends before its last boundary")
    return _members(parts.found)


def _members(parts: list[tuple[str, bytes]]) -> dict[str, Any]:
    inputs: list[dict[str, Any]] = []
    members: dict[str, Any] = {"input": inputs}
    for name, content in parts:
        if name == "image":
            inputs.append({"image": content})
        elif name == "text":
            inputs.append({"text": _text(content, f"/input/{len(inputs)}/text")})
        elif name in members:
            raise InvalidField("given twice", pointer=f"/{name}")
        else:
            members[name] = _text(content, f"/{name}")
    if "dimensions" in members:
        members["dimensions"] = _whole_number(members["dimensions"])
    return members


def _text(content: bytes, pointer: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidField("expected UTF-8", pointer=pointer) from None


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidField("expected a whole number", pointer="/dimensions")
    return int(text)
