"""From queries as they came to searches of a backend.

A query by text lacks its vector at first: `Question.text` is to be encoded by the encoder of
`Question.field`. A query by id has an id in the place of the vector: the backend looks it up on the
state that it searches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.attributes.filter import Filter, parse_filter
from app.backends.base import Search
from app.encoders.base import EncoderInfo
from app.errors import InvalidQuery, InvalidText, LikewiseError, LimitExceeded
from app.service.checks import check_id, check_text, check_vector, place
from app.service.requests import Query
from app.service.reranking import Order
from app.service.writing import fitted, known_field
from app.types import F32, PointId, VectorField


@dataclass(slots=True)
class Question:
    """A checked query; `vector`, or the id of the point to start from, is None until encoded.

    order   how its hits are to be reranked, if they are
    """

    query: Query
    field: VectorField
    filter: Filter | None
    vector: F32 | PointId | None = None
    order: Order | None = None

    def fill(self, encoded: F32, info: EncoderInfo) -> None:
        """Take the vector that was made of the query's text, as its encoder makes it."""
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
            projection=query.projection
            if order is None
            else order.reading.widened(query.projection),
            explain=query.explain,
        )


def ask(
    fields: Mapping[str, VectorField],
    query: Query,
    *,
    max_k: int,
    max_text_chars: int,
    max_filter_nodes: int,
) -> Question:
    """Check one query against its collection. Raises InvalidRequest errors with their place."""
    at = query.at
    given = [
        name
        for name, value in (("text", query.text), ("vector", query.vector), ("id", query.id))
        if value is not None
    ]
    if len(given) != 1:
        raise InvalidQuery(
            f"expected exactly one of text, vector and id, received {', '.join(given) or 'none'}",
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
    if query.text is not None:
        check_text(query.text, limit=max_text_chars, pointer=place(at, "text"))
    elif query.vector is not None:
        question.vector = check_vector(query.vector, question.field, f"{at}/vector")
    else:
        question.vector = check_id(query.id, place(at, "id"))
    return question


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
        candidates = [f for f in fields.values() if query.text is None or f.encoder is not None]
        if len(candidates) > 1:
            raise InvalidQuery(
                f"say in `using` which vector to search: {', '.join(sorted(fields))}",
                pointer=query.at,
            )
        field = candidates[0] if candidates else next(iter(fields.values()))
    if query.text is not None and field.encoder is None:
        raise InvalidText(
            f"vector {field.name!r} has no encoder to read a text with; search by vector",
            pointer=place(query.at, "text"),
        )
    return field
