"""Who reads an input for a vector: its own encoder, or another one of the same space.

Encoders of one space make vectors that compare, whatever they read: a text and a picture of what it
says come close. So a vector whose encoder reads images can be searched by text, and the other way
round, through an installed encoder of that space. Which one is never guessed among several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.encoders.base import EncoderInfo
from app.encoders.inputs import Picture, Points, Record, Routed
from app.errors import EncoderNotFound, InvalidImage, InvalidQuery, InvalidText, LikewiseError
from app.service.checks import place
from app.service.images import Given, ImageUrl

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


Reader = Callable[[str, str, str | None, str], str]
"""`Readers.reader`, for those who check requests."""


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

    def compares(self, encoder: str, own: str) -> bool:
        """Whether an encoder can make vectors that compare with those of `own`.

        Raises EncoderNotFound.
        """
        other = self._describe(encoder)
        return _reads(other, self._describe(own), other.modality)

    def reader(self, encoder: str, modality: str, named: str | None, at: str) -> str:
        """The encoder that reads an input for vectors of `encoder`'s space.

        named  the one that the request asks for, whose name stands at `at`/encoder

        Raises EncoderNotFound, InvalidQuery if the named one does not fit or there are several,
        and InvalidText or InvalidImage if there is none; they point to `at`/`modality`.
        """
        own = self._describe(encoder)
        if named is not None:
            return self._named(own, modality, named, at)
        if own.modality == modality:
            return encoder
        found = [one.name for one in self._describe_all() if _reads(one, own, modality)]
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

    def _named(self, own: EncoderInfo, modality: str, named: str, at: str) -> str:
        try:
            other = self._describe(named)
        except EncoderNotFound as error:
            error.pointer = f"{at}/encoder"
            raise
        if not _reads(other, own, modality):
            raise InvalidQuery(
                f"encoder {other.name!r} reads {other.modality}s in the space {other.space}; "
                f"expected one that reads {modality}s in {own.space}",
                pointer=f"{at}/encoder",
            )
        return named


def _reads(other: EncoderInfo, own: EncoderInfo, modality: str) -> bool:
    return (
        other.modality == modality
        and other.space == own.space
        and other.dimension == own.dimension
        and "dense" in other.outputs
    )


def _unread(modality: str) -> type[LikewiseError]:
    return InvalidImage if modality == IMAGE else InvalidText
