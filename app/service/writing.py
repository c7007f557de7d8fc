"""From points as they came to points as they are stored: all checks, before anything is written.

Vectors for texts, images and records are missing at first: `Draft.missing` says which, the service
has them encoded and `Draft.points` puts them in.

A vector is made of what its encoder reads: of the point's text, its image or its record. Only for a
point that would have no vector at all, another encoder of the space reads the one thing that there
is: a text among pictures is compared with pictures, which nobody should get who gave it beside a
vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from app.attributes.values import check_attributes
from app.encoders.base import Encoded, EncoderInfo, OutputKind, Several
from app.encoders.dimensions import lengths_in_words, makes, shortened
from app.errors import (
    EncodingFailed,
    InvalidField,
    InvalidImage,
    InvalidText,
    InvalidVector,
    LikewiseError,
    UnknownVector,
)
from app.service.checks import (
    LEAST_SQUARED,
    check_batch,
    check_expiry,
    check_id,
    check_text,
    check_unique,
    place,
)
from app.service.images import Given, ImageInputs
from app.service.readers import IMAGE, RECORD, TEXT, Readers, blamed
from app.service.requests import NewPoint
from app.service.structured import record_of
from app.service.vectors import check_value
from app.types import (
    F32,
    MOST_TOKENS,
    MOST_WEIGHTS,
    Attributes,
    Definition,
    Point,
    PointId,
    Sparse,
    VectorField,
    VectorKind,
    VectorValue,
)

OUTPUTS: Mapping[VectorKind, OutputKind] = {
    VectorKind.DENSE: "dense",
    VectorKind.SPARSE: "sparse",
    VectorKind.TOKENS: "tokens",
}
"""Kind of a field → what its encoder makes for it."""

MOST_ENCODED = 1 << 26
"""Numbers that one encoder may make for one write, 256 MiB: vectors of all tokens of a thousand
long texts are more than that."""


class Gap(NamedTuple):
    """Vectors of a point that are to be made of its text, image or record.

    at  where errors of the encoder point from: they name a record's member themselves
    """

    point: int
    fields: list[VectorField]
    given: Given
    at: str


@dataclass(slots=True)
class Draft:
    """Checked points of which some vectors are still to be made.

    missing  encoder → what it has to read
    """

    definition: Definition
    ids: list[PointId] = field(default_factory=list)
    vectors: list[dict[str, VectorValue]] = field(default_factory=list)
    attributes: list[Attributes] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    expiries: list[int | None] = field(default_factory=list)
    missing: dict[str, list[Gap]] = field(default_factory=dict)

    def given_for(self, encoder: str) -> list[Given]:
        """What `encoder` has to read, in the order of `missing`."""
        return [gap.given for gap in self.missing[encoder]]

    def output_for(self, encoder: str) -> OutputKind:
        """What `encoder` has to make of each: one kind of vectors, or all that it makes."""
        kinds = {one.kind for gap in self.missing[encoder] for one in gap.fields}
        return "all" if len(kinds) > 1 else OUTPUTS[kinds.pop()]

    def fill(self, encoder: str, encoded: Encoded, info: EncoderInfo) -> None:
        """Give each point its vectors from `encoder`, which made `output_for` it."""
        made: dict[str, Sequence[VectorValue | None]] = {}
        for row, gap in enumerate(self.missing[encoder]):
            for vector_field in gap.fields:
                name = vector_field.name
                if name not in made:
                    made[name] = _made(encoded, vector_field, info)
                vector = made[name][row]
                if vector is not None:
                    self.vectors[gap.point].setdefault(name, vector)

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
    return shortened(encoded, dimension, renormalise=info.unit)


def _made(
    encoded: Encoded, vector_field: VectorField, info: EncoderInfo
) -> Sequence[VectorValue | None]:
    """Vectors of a field, of what its encoder made of each input; None where that is nothing."""
    outputs = encoded.outputs
    if vector_field.kind is VectorKind.DENSE:
        if not isinstance(outputs, np.ndarray):
            outputs = np.stack([_of_kind(one, vector_field.kind) for one in outputs])
        return list(fitted(outputs, vector_field, info))
    return [fitted_other(_of_kind(one, vector_field.kind), vector_field) for one in outputs]


def fitted_other(made: Any, vector_field: VectorField) -> VectorValue | None:
    """What an encoder made of one input as a field has it that is not dense; None for no tokens.

    Raises EncodingFailed if its tokens are not of the field's dimension.
    """
    if vector_field.kind is VectorKind.SPARSE:
        return _fitted_sparse(made)
    return _fitted_tokens(made, vector_field)


def _of_kind(output: Any, kind: VectorKind) -> Any:
    return getattr(output, kind.value) if isinstance(output, Several) else output


def _fitted_sparse(made: Sparse) -> Sparse:
    """A sparse vector as points have it: the heaviest weights of one that has too many."""
    kept = np.flatnonzero(made.values)
    if kept.size > MOST_WEIGHTS:
        heaviest = np.argsort(-np.abs(made.values[kept]), kind="stable")[:MOST_WEIGHTS]
        kept = np.sort(kept[heaviest])
    return Sparse(made.indices[kept], made.values[kept])


def _fitted_tokens(made: F32, vector_field: VectorField) -> F32 | None:
    """Vectors of tokens as points have them: the first ones of too many, none without length."""
    if made.shape[1] != vector_field.dimension:
        raise EncodingFailed(
            f"vector {vector_field.name!r} has {vector_field.dimension} numbers a token, its "
            f"encoder made {made.shape[1]}"
        )
    kept = made[np.einsum("ij,ij->i", made, made) >= LEAST_SQUARED][:MOST_TOKENS]
    return kept if len(kept) else None


def draft_points(
    definition: Definition,
    points: Sequence[NewPoint],
    *,
    max_batch: int,
    max_text_chars: int,
    max_attributes_bytes: int,
    images: ImageInputs,
    readers: Readers,
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
        given: dict[str, Given] = {}
        if new.text is not None:
            given[TEXT] = new.text
        if new.image is not None:
            given[IMAGE] = images.check(new.image, place(at, "image"))
        if new.record is not None:
            given[RECORD] = record_of(new.record, place(at, "record"), max_text_chars)
        _note_missing(draft, index, given, new.encoder, readers, at)
    check_unique(draft.ids, "/points")
    return draft


def _given_vectors(
    fields: Mapping[str, VectorField], new: NewPoint, at: str
) -> dict[str, VectorValue]:
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
        return {only.name: check_value(new.vector, only, place(at, "vector"))}
    return {
        name: check_value(
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
    draft: Draft,
    index: int,
    given: Mapping[str, Given],
    named: str | None,
    readers: Readers,
    at: str,
) -> None:
    """Find who makes the vectors that a point lacks, and of what."""
    vectors = draft.vectors[index]
    if named is not None:
        _check_named(named, given, readers, at)
    if given:
        open_fields = [
            (one, one.encoder)
            for one in draft.definition.vectors.values()
            if one.encoder is not None and one.name not in vectors
        ]
        gaps: dict[tuple[str, str], list[VectorField]] = {}
        for one, own in open_fields:
            encoder = named if named is not None and readers.compares(named, own, one.kind) else own
            modality = readers.modality(encoder)
            if modality in given:
                gaps.setdefault((encoder, modality), []).append(one)
        if named is not None and all(encoder != named for encoder, _ in gaps):
            raise InvalidField(
                "no vector that the point lacks is of this encoder's space",
                pointer=place(at, "encoder"),
            )
        if not vectors and not gaps:
            _cross(gaps, open_fields, given, readers, at)
        for (encoder, modality), fields in gaps.items():
            gap = Gap(index, fields, given[modality], blamed(at, modality))
            draft.missing.setdefault(encoder, []).append(gap)
        for modality, error in ((IMAGE, InvalidImage), (RECORD, InvalidField)):
            if modality in given and not any(modality == read for _, read in gaps):
                raise error(
                    f"nothing would be made of the {modality}, and {modality}s are not stored: no "
                    "vector that the point lacks has an encoder that reads it",
                    pointer=place(at, modality),
                )
        if vectors or gaps:
            return
        raise InvalidText(
            "no vector of the collection has an encoder: bring a vector with the text",
            pointer=place(at, "text"),
        )
    if not vectors:
        raise InvalidVector(
            "a point needs a vector, or a text, image or record to make one from", pointer=at
        )


def _check_named(named: str, given: Mapping[str, Given], readers: Readers, at: str) -> None:
    try:
        modality = readers.modality(named)
    except LikewiseError as error:
        error.pointer = place(at, "encoder")
        raise
    if modality not in given:
        raise InvalidField(
            f"encoder {named!r} reads {modality}s, and the point has none",
            pointer=place(at, "encoder"),
        )


def _cross(
    gaps: dict[tuple[str, str], list[VectorField]],
    open_fields: Sequence[tuple[VectorField, str]],
    given: Mapping[str, Given],
    readers: Readers,
    at: str,
) -> None:
    """Fill vectors through other encoders of their spaces; raise why if none can be."""
    refusal: LikewiseError | None = None
    for one, encoder in open_fields:
        for modality in given:
            try:
                reader = readers.reader(encoder, modality, None, at, one.kind)
            except LikewiseError as error:
                refusal = refusal or error
                continue
            gaps.setdefault((reader, modality), []).append(one)
            break
    if refusal is not None and not gaps:
        raise refusal
