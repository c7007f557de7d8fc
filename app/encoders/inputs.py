"""What encoders read. Every input is immutable and hashable, so that equal ones are run once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from app.errors import InvalidText

Tokens: TypeAlias = tuple[int, ...]
"""A text that its sender has already tokenised, with this encoder's tokenizer."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts that are read together, as a cross-encoder does."""

    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, as the bytes of its file: PNG, JPEG, …"""

    file: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """Named values, as canonical JSON: keys sorted, no spaces."""

    canonical: str


Input: TypeAlias = str | Tokens | Pair | Picture | Record


def check_unicode(text: str, pointer: str) -> None:
    """Refuse lone surrogates, which JSON can spell and no tokenizer can read.

    Raises InvalidText with the pointer.
    """
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidText(
            "expected a text of Unicode characters, found half of a surrogate pair",
            pointer=pointer,
        ) from exc
