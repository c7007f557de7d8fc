"""Who reads an input for a vector: its own encoder, or another one of the same space.

Encoders of one space make vectors that compare, whatever they read: a text and a picture of what it
says come close. So a vector whose encoder reads images can be searched by text, and the other way
round, through an installed encoder of that space. Which one is never guessed among several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from app.encoders.base import EncoderInfo
from app.encoders.inputs import Picture, Points, Record, Routed
from app.errors import EncoderNotFound, InvalidImage, InvalidQuery, InvalidText, LikewiseError
from app.service.checks import place
from app.service.images import Given, ImageUrl
from app.types import VectorKind

TEXT, IMAGE, RECORD, POINTS = "text", "image", "record", "points"


def modality_of(given: Given) -> str:
    """What kind of thing an input is."""
    if isinstance(given, Routed):
        return modality_of(given.given)
    if isinstance(given, Picture | ImageUrl):
        return IMAGE
    if isinstance(given, Points):
        return POINTS
    return RECORD if isinstance(given, Record) else TEXT


def blamed(at: str, modality: str) -> str:
    """Where an encoder's errors about an input point from, whose object stands at `at`.

    Errors about a record say themselves that it is one, and which of its members is wrong.
    """
    return at if modality == RECORD else place(at, modality)


class Reader(Protocol):
    """`Readers.reader`, for those who check requests."""

    def __call__(
        self,
        encoder: str,
        modality: str,
        named: str | None,
        at: str,
        kind: VectorKind = VectorKind.DENSE,
    ) -> str: ...


class Readers:
    """The installed encoders, by what they read and in which space.

    describe, describe_all  as `Encoding` has them
    """

    def __init__(
        self,
        describe: Callable[[str], EncoderInfo],
        describe_all: Callable[[], Sequence[EncoderInfo]],
    ) -> None:
        self._describe = describe
        self._describe_all = describe_all

    def modality(self, encoder: str) -> str:
        """What an encoder reads. Raises EncoderNotFound."""
        return self._describe(encoder).modality

    def compares(self, encoder: str, own: str, kind: VectorKind = VectorKind.DENSE) -> bool:
        """Whether an encoder can make vectors of a kind that compare with those of `own`.

        Raises EncoderNotFound.
        """
        other = self._describe(encoder)
        return _reads(other, self._describe(own), other.modality, kind)

    def reader(
        self,
        encoder: str,
        modality: str,
        named: str | None,
        at: str,
        kind: VectorKind = VectorKind.DENSE,
    ) -> str:
        """The encoder that reads an input for vectors of `encoder`'s space.

        named  the one that the request asks for, whose name stands at `at`/encoder
        kind   of the vectors that are to be made

        Raises EncoderNotFound, InvalidQuery if the named one does not fit or there are several,
        and InvalidText or InvalidImage if there is none; they point to `at`/`modality`.
        """
        own = self._describe(encoder)
        if named is not None:
            return self._named(own, modality, named, at, kind)
        if own.modality == modality:
            return encoder
        found = [one.name for one in self._describe_all() if _reads(one, own, modality, kind)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidQuery(
                f"several encoders of the space {own.space} read {modality}s: "
                f"{', '.join(found)}; name one in `encoder`",
                pointer=f"{at}/{modality}",
            )
        raise _unread(modality)(
            f"encoder {encoder!r} reads {own.modality}s, and no encoder of its space {own.space} "
            f"that reads {modality}s is installed",
            pointer=f"{at}/{modality}",
        )

    def _named(self, own: EncoderInfo, modality: str, named: str, at: str, kind: VectorKind) -> str:
        try:
            other = self._describe(named)
        except EncoderNotFound as error:
            error.pointer = f"{at}/encoder"
            raise
        if not _reads(other, own, modality, kind):
            raise InvalidQuery(
                f"encoder {other.name!r} reads {other.modality}s in the space {other.space}; "
                f"expected one that reads {modality}s in {own.space}",
                pointer=f"{at}/encoder",
            )
        return named


def _reads(other: EncoderInfo, own: EncoderInfo, modality: str, kind: VectorKind) -> bool:
    if other.modality != modality or other.space != own.space or kind.value not in other.outputs:
        return False
    if kind is VectorKind.TOKENS:  # 0: what it makes is held against the field
        return 0 in (other.token_dimension, own.token_dimension) or (
            other.token_dimension == own.token_dimension
        )
    return kind is VectorKind.SPARSE or other.dimension == own.dimension


def _unread(modality: str) -> type[LikewiseError]:
    return InvalidImage if modality == IMAGE else InvalidText
