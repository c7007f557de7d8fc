"""From points as they came to points as they are stored: all checks, before anything is written.

Vectors for texts are missing at first: `Draft.missing` says which, the service has them encoded
and `Draft.points` puts them in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.attributes.values import check_attributes
from app.encoders.base import EncoderInfo
from app.encoders.dimensions import lengths_in_words, makes, shortened
from app.errors import EncodingFailed, InvalidText, InvalidVector, UnknownVector
from app.service.checks import (
    check_batch,
    check_expiry,
    check_id,
    check_text,
    check_unique,
    check_vector,
    place,
)
from app.service.requests import NewPoint
from app.types import F32, Attributes, Definition, Point, PointId, VectorField


@dataclass(slots=True)
class Draft:
    """Checked points of which some vectors are still to be made from texts.

    missing  encoder → indices of the points whose text it has to encode
    """

    definition: Definition
    ids: list[PointId] = field(default_factory=list)
    vectors: list[dict[str, F32]] = field(default_factory=list)
    attributes: list[Attributes] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    expiries: list[int | None] = field(default_factory=list)
    missing: dict[str, list[int]] = field(default_factory=dict)

    def texts_for(self, encoder: str) -> list[str]:
        """The texts that `encoder` has to read, in the order of `missing`."""
        return [self.texts[index] or "" for index in self.missing[encoder]]

    def fill(self, encoder: str, encoded: F32, info: EncoderInfo) -> None:
        """Give each point its vectors from `encoder`: encoded[text, dimension], not cut."""
        fields = [f for f in self.definition.vectors.values() if f.encoder == encoder]
        for vector_field in fields:
            cut = fitted(encoded, vector_field, info)
            for index, vector in zip(self.missing[encoder], cut, strict=True):
                self.vectors[index].setdefault(vector_field.name, vector)

    def points(self) -> list[Point]:
        """The points, complete once every encoder of `missing` was filled in."""
        parts = zip(self.ids, self.vectors, self.attributes, self.texts, self.expiries, strict=True)
        return [Point(*part) for part in parts]


def fitted(encoded: F32, vector_field: VectorField, info: EncoderInfo) -> F32:
    """Vectors of an encoder as a field has them: encoded[text, dimension], cut if it is shorter.

    Raises EncodingFailed if the encoder was replaced by one that does not make such vectors.
    """
    dimension = vector_field.dimension
    if encoded.shape[1] != dimension and not makes(info, dimension):
        raise EncodingFailed(
            f"vector {vector_field.name!r} has {dimension} numbers, but its encoder now makes "
            f"{lengths_in_words(info)}: the model was replaced after the collection was created"
        )
    return shortened(encoded, dimension, unit=info.unit)


def draft_points(
    definition: Definition,
    points: Sequence[NewPoint],
    *,
    max_batch: int,
    max_text_chars: int,
    max_attributes_bytes: int,
) -> Draft:
    """Check points against their collection. Raises InvalidRequest errors with their place."""
    check_batch(len(points), what="points", limit=max_batch, pointer="/points")
    draft = Draft(definition)
    for index, new in enumerate(points):
        at = place("/points", index)
        draft.ids.append(check_id(new.id, place(at, "id")))
        draft.attributes.append(
            check_attributes(
                {} if new.attributes is None else new.attributes,
                max_bytes=max_attributes_bytes,
                pointer=place(at, "attributes"),
            )
        )
        if new.text is not None:
            check_text(new.text, limit=max_text_chars, pointer=place(at, "text"))
        draft.texts.append(new.text)
        draft.expiries.append(check_expiry(new.expires_at, place(at, "expires_at")))
        vectors = _given_vectors(definition.vectors, new, at)
        draft.vectors.append(vectors)
        _note_missing(draft, index, new.text, vectors, at)
    check_unique(draft.ids, "/points")
    return draft


def _given_vectors(fields: Mapping[str, VectorField], new: NewPoint, at: str) -> dict[str, F32]:
    if new.vector is not None:
        if new.vectors is not None:
            raise InvalidVector("give either `vector` or `vectors`", pointer=place(at, "vectors"))
        if len(fields) > 1:
            raise UnknownVector(
                f"the collection has several vectors ({', '.join(sorted(fields))}): name them in "
                "`vectors`",
                pointer=place(at, "vector"),
            )
        (only,) = fields.values()
        return {only.name: check_vector(new.vector, only, place(at, "vector"))}
    return {
        name: check_vector(
            raw, known_field(fields, name, place(at, "vectors", name)), place(at, "vectors", name)
        )
        for name, raw in (new.vectors or {}).items()
    }


def known_field(fields: Mapping[str, VectorField], name: str, pointer: str) -> VectorField:
    """Return the vector field of that name; raise UnknownVector that lists the ones there are."""
    found = fields.get(name)
    if found is None:
        raise UnknownVector(
            f"the collection has no vector of that name; it has {', '.join(sorted(fields))}",
            pointer=pointer,
        )
    return found


def _note_missing(
    draft: Draft, index: int, text: str | None, vectors: Mapping[str, F32], at: str
) -> None:
    encoders: set[str] = set()
    if text is not None:
        for vector_field in draft.definition.vectors.values():
            if vector_field.encoder is not None and vector_field.name not in vectors:
                encoders.add(vector_field.encoder)
    for encoder in encoders:
        draft.missing.setdefault(encoder, []).append(index)
    if vectors or encoders:
        return
    if text is not None:
        raise InvalidText(
            "no vector of the collection has an encoder: bring a vector with the text",
            pointer=place(at, "text"),
        )
    raise InvalidVector("a point needs a vector, or a text to make one from", pointer=at)
