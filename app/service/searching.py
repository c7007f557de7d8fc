"""From queries as they came to searches of a backend.

A query by text lacks its vector at first: `Question.text` is to be encoded by the encoder of
`Question.field`. A query by id takes the vector of that point, looked up here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.attributes.filter import Filter, parse_filter
from app.backends.base import Backend, Search
from app.errors import InvalidQuery, InvalidText, LimitExceeded, PointNotFound
from app.service.checks import check_id, check_text, check_vector, place
from app.service.requests import Query
from app.service.writing import check_encoded, known_field
from app.types import F32, PointId, Projection, VectorField

_VECTORS_ONLY = Projection(fields=frozenset(), with_text=False, with_vectors=True)


@dataclass(slots=True)
class Question:
    """A checked query; `vector` is None until it is encoded or looked up."""

    query: Query
    field: VectorField
    filter: Filter | None
    vector: F32 | None = None
    point: PointId | None = None

    def fill(self, encoded: F32) -> None:
        """Take the vector that was made of the query's text."""
        check_encoded(encoded, self.field)
        self.vector = encoded

    def search(self) -> Search:
        """The search to run, once the vector is there."""
        assert self.vector is not None
        query = self.query
        return Search(
            vector=self.vector,
            using=self.field.name,
            filter=self.filter,
            k=query.k,
            offset=query.offset,
            score_threshold=query.score_threshold,
            ef=query.ef,
            exact=query.exact,
            exclude=self.point,
            projection=query.projection,
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
        question.point = check_id(query.id, place(at, "id"))
    return question


def checked_filter(raw: object, max_nodes: int, at: str = "") -> Filter | None:
    """Parse the filter that stands at `at`/filter; None is no filter."""
    if raw is None:
        return None
    return parse_filter(raw, max_nodes=max_nodes, pointer=f"{at}/filter")


def look_up(backend: Backend, collection: str, questions: Sequence[Question]) -> None:
    """Give each query by id the stored vector of its point. Raises PointNotFound, InvalidQuery."""
    wanted = [question for question in questions if question.point is not None]
    if not wanted:
        return
    ids = list(dict.fromkeys(q.point for q in wanted if q.point is not None))
    found = {record.id: record for record in backend.get(collection, ids, _VECTORS_ONLY)}
    for question in wanted:
        pointer = place(question.query.at, "id")
        record = found.get(question.point) if question.point is not None else None
        if record is None:
            raise PointNotFound("the collection has no point of that id", pointer=pointer)
        question.vector = (record.vectors or {}).get(question.field.name)
        if question.vector is None:
            raise InvalidQuery(
                f"the point has no vector {question.field.name!r} to start from", pointer=pointer
            )


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
