"""What encoders read. Every input is immutable and hashable, so that equal ones are run once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
    """An image, as the bytes of its file: PNG, JPEG, …

    digest  SHA-256 of the file. It stands for it where pictures are compared, hashed and shown:
            megabytes would hold up whoever does that, and to make it holds up nobody
    """

    file: bytes = field(repr=False, compare=False)
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(self.file).digest())


@dataclass(frozen=True, slots=True)
class Record:
    """Named values, as canonical JSON: keys sorted, no spaces."""

    canonical: str


@dataclass(frozen=True, slots=True)
class Points:
    """A set of points in the plane or in space.

    axes     2 or 3
    normals  whether a normal follows the coordinates of each point
    values   little-endian float64 [point, axes] or [point, 2 · axes]
    """

    axes: int
    normals: bool
    values: bytes

    @property
    def count(self) -> int:
        """How many points."""
        return len(self.values) // (8 * self.axes * (2 if self.normals else 1))

    def array(self) -> NDArray[np.float64]:
        """The values as a matrix, read-only."""
        return np.frombuffer(self.values, "<f8").reshape(self.count, -1)


@dataclass(frozen=True, slots=True)
class Routed:
    """An input for a router of experts.

    to    the expert's name; "" lets the router choose
    side  of a search, which decides on the expert's prompt
    """

    given: Input
    to: str = ""
    side: Literal["query", "document"] = "document"


Input: TypeAlias = str | Tokens | Pair | Sided | Picture | Record | Points | Routed


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
    if isinstance(given, Points):
        return len(given.values)
    if isinstance(given, Routed):
        return size_of(given.given)
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
