"""From queries as they came to searches of a backend.

A query by text, image or record lacks its vector at first: `Question.given` is to be encoded by
`Question.encoder`, which is that of the field or another one of its space. A query by id has an id
in the place of the vector: the backend looks it up on the state that it searches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.attributes.filter import Filter, parse_filter
from app.backends.base import Search
from app.encoders.base import EncoderInfo
from app.errors import (
    InvalidField,
    InvalidImage,
    InvalidQuery,
    InvalidText,
    LikewiseError,
    LimitExceeded,
)
from app.service.checks import check_id, check_text, check_vector, place
from app.service.images import Given, ImageInputs
from app.service.readers import IMAGE, RECORD, TEXT, Reader, blamed
from app.service.requests import Query
from app.service.reranking import Order
from app.service.structured import record_of
from app.service.writing import fitted, known_field
from app.types import F32, PointId, VectorField, VectorKind


@dataclass(slots=True)
class Question:
    """A checked query; `vector`, or the id of the point to start from, is None until encoded.

    order   how its hits are to be reranked, if they are
    encoder, given  who is to make the vector, and of what; "" and None if nobody has to
    """

    query: Query
    field: VectorField
    filter: Filter | None
    vector: F32 | PointId | None = None
    order: Order | None = None
    encoder: str = ""
    given: Given | None = None

    @property
    def place(self) -> str:
        """Where its encoder's errors point from."""
        return blamed(self.query.at, _modality(self.query))

    def fill(self, encoded: F32, info: EncoderInfo) -> None:
        """Take the vector that was made of what the query gives, as its encoder makes it."""
        (self.vector,) = fitted(encoded[None], self.field, info)

    def search(self) -> Search:
        """The search to run, once the vector is there."""
        assert self.vector is not None
        query, order = self.query, self.order
        return Search(
            vector=self.vector,
            using=self.field.name,
            filter=self.filter,
            k=query.k if order is None else order.candidates,
            offset=query.offset if order is None else 0,
            score_threshold=query.score_threshold,
            ef=query.ef,
            exact=query.exact,
            projection=query.projection if order is None else order.text.widened(query.projection),
            explain=query.explain,
        )


def ask(
    fields: Mapping[str, VectorField],
    query: Query,
    *,
    max_k: int,
    max_text_chars: int,
    max_filter_nodes: int,
    images: ImageInputs,
    reader: Reader,
) -> Question:
    """Check one query against its collection. Raises InvalidRequest errors with their place.

    reader  who reads a text, an image or a record for vectors of an encoder's space
    """
    at = query.at
    given = [
        name
        for name, value in (
            ("text", query.text),
            ("image", query.image),
            ("record", query.record),
            ("vector", query.vector),
            ("id", query.id),
        )
        if value is not None
    ]
    if len(given) != 1:
        raise InvalidQuery(
            "expected exactly one of text, image, record, vector and id, received "
            f"{', '.join(given) or 'none'}",
            pointer=at,
        )
    if query.k + query.offset > max_k:
        raise LimitExceeded(
            f"offset + k is at most {max_k}; use scroll to walk through all points",
            pointer=place(at, "k"),
            limit=max_k,
        )
    if query.ef is not None and query.ef > max_k:
        raise LimitExceeded(
            f"ef is at most {max_k}", pointer=place(at, "params", "ef"), limit=max_k
        )
    question = Question(
        query, _searched_field(fields, query), checked_filter(query.filter, max_filter_nodes, at)
    )
    if query.text is not None or query.image is not None or query.record is not None:
        _read(question, images, reader, max_text_chars)
    elif query.encoder is not None:
        raise InvalidQuery(
            "there is nothing for an encoder to read: leave it out", pointer=place(at, "encoder")
        )
    elif query.vector is not None:
        question.vector = check_vector(query.vector, question.field, f"{at}/vector")
    else:
        question.vector = check_id(query.id, place(at, "id"))
    return question


def _read(question: Question, images: ImageInputs, reader: Reader, max_text_chars: int) -> None:
    """Check the text, image or record of a query and find who reads it."""
    query, own = question.query, question.field.encoder
    assert own is not None  # `_searched_field` saw to it
    modality = _modality(query)
    at = place(query.at, modality)
    if query.text is not None:
        question.given = check_text(query.text, limit=max_text_chars, pointer=at)
    elif query.image is not None:
        question.given = images.check(query.image, at)
    else:
        question.given = record_of(query.record, at, max_text_chars)
    question.encoder = reader(own, modality, query.encoder, query.at)


def _modality(query: Query) -> str:
    """What of a query is to be encoded, if anything is."""
    if query.text is not None:
        return TEXT
    return IMAGE if query.image is not None else RECORD


def checked_filter(raw: object, max_nodes: int, at: str = "") -> Filter | None:
    """Parse the filter that stands at `at`/filter; None is no filter."""
    if raw is None:
        return None
    return parse_filter(raw, max_nodes=max_nodes, pointer=f"{at}/filter")


def placed(error: LikewiseError, questions: Sequence[Question]) -> LikewiseError:
    """Point an error of a backend, which counts searches, to the query in the body."""
    _, number, member = (error.pointer or "").split("/")
    error.pointer = place(questions[int(number)].query.at, member)
    return error


def _searched_field(fields: Mapping[str, VectorField], query: Query) -> VectorField:
    if query.using is not None:
        field = known_field(fields, query.using, place(query.at, "using"))
    else:
        reads = (query.text, query.image, query.record)
        encodes = any(given is not None for given in reads)
        dense = [f for f in fields.values() if f.kind is VectorKind.DENSE]
        candidates = [f for f in dense if not encodes or f.encoder is not None]
        if len(candidates) > 1:
            raise InvalidQuery(
                f"say in `using` which vector to search: {', '.join(sorted(fields))}",
                pointer=query.at,
            )
        field = candidates[0] if candidates else dense[0]
    if query.text is not None and field.encoder is None:
        raise InvalidText(
            f"vector {field.name!r} has no encoder to read a text with; search by vector",
            pointer=place(query.at, "text"),
        )
    if query.record is not None and field.encoder is None:
        raise InvalidField(
            f"vector {field.name!r} has no encoder to read a record with; search by vector",
            pointer=place(query.at, "record"),
        )
    if query.image is not None and field.encoder is None:
        raise InvalidImage(
            f"vector {field.name!r} has no encoder to read an image with; search by vector",
            pointer=place(query.at, "image"),
        )
    return field
