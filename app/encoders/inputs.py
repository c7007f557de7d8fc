"""What encoders read. Every input is immutable and hashable, so that equal ones are run once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.errors import InvalidText

Tokens: TypeAlias = tuple[int, ...]
"""A text that its sender has already tokenised, with this encoder's tokenizer."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts that are read together, as a cross-encoder does.

    most_tokens  of the second text, if the caller wants fewer of them than the model reads
    """

    first: str
    second: str
    most_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Sided:
    """A text for a model that cuts and marks queries in another way than documents."""

    text: str | Tokens
    side: Literal["query", "document"]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, as the bytes of its file: PNG, JPEG, …"""

    file: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """Named values, as canonical JSON: keys sorted, no spaces."""

    canonical: str


Input: TypeAlias = str | Tokens | Pair | Sided | Picture | Record


def size_of(given: Input) -> int:
    """Tell how much memory an input takes while it waits: characters of text, bytes of others."""
    if isinstance(given, str):
        return len(given)
    if isinstance(given, Pair):
        return len(given.first) + len(given.second)
    if isinstance(given, Sided):
        return size_of(given.text)
    if isinstance(given, Picture):
        return len(given.file)
    if isinstance(given, Record):
        return len(given.canonical)
    return 8 * len(given)


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
