"""Point ids as byte strings whose order is the order of ids.

    integer   0x00, then 8 bytes big-endian
    string    0x01, then UTF-8

So integers stand before strings, integers by value, strings by code point: `bytes` comparison,
SQLite's BLOB order and a sorted index all agree.
"""

from __future__ import annotations

from app.errors import InvalidId
from app.types import PointId

MAX_STRING_BYTES = 512
MAX_INTEGER = 2**64 - 1


def key_from_id(id_: object, pointer: str | None = None) -> bytes:
    """Encode an id. Raises InvalidId (at `pointer`) for anything that is not one."""
    if isinstance(id_, bool) or not isinstance(id_, str | int):
        raise InvalidId("a point id is a string or an integer", pointer=pointer)
    if isinstance(id_, int):
        if not 0 <= id_ <= MAX_INTEGER:
            raise InvalidId("an integer id lies between 0 and 2^64 - 1", pointer=pointer)
        return b"\x00" + id_.to_bytes(8, "big")
    try:
        text = id_.encode()
    except UnicodeEncodeError as exc:
        raise InvalidId("a string id is valid Unicode", pointer=pointer) from exc
    if not 1 <= len(text) <= MAX_STRING_BYTES:
        raise InvalidId(
            f"a string id has 1 to {MAX_STRING_BYTES} bytes, this one has {len(text)}",
            pointer=pointer,
        )
    return b"\x01" + text


def id_from_key(key: bytes) -> PointId:
    """Decode what `key_from_id` made."""
    if key[0] == 0:
        return int.from_bytes(key[1:], "big")
    return key[1:].decode()
