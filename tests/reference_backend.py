"""A backend so simple that it is right by reading: dicts, a brute-force search, no index.

It is the oracle of the engine's contract tests and state machine, and the backend of API tests.
It keeps nothing on disk; `sync`, builds and segments have no meaning here.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from app.attributes.filter import Filter
from app.attributes.matches import matches
from app.attributes.places import distance_m, place_from
from app.attributes.schema import check_conforms
from app.attributes.values import check_grown, elements, exact_number, instant_us
from app.backends.base import (
    Answer,
    Candidates,
    CollectionInfo,
    CollectionStatistics,
    Facet,
    Lifetime,
    Made,
    Numbers,
    Order,
    Ordered,
    Page,
    Recall,
    Recalled,
    Search,
    Selection,
    Statistics,
    Storage,
    Subset,
    View,
    Viewed,
    Words,
)
from app.engine.search import check_words
from app.errors import (
    CollectionNotFound,
    DefinitionDiffers,
    DimensionMismatch,
    InvalidQuery,
    InvalidVector,
    LimitExceeded,
    PointNotFound,
    SchemaConflict,
    SchemaViolation,
    UnknownVector,
)
from app.keys import key_from_id
from app.tally import POWERS, SECONDS, Histogram
from app.types import (
    F32,
    F64,
    I64,
    MOST_KEPT,
    MOST_KEPT_BYTES,
    MOST_KEPT_BYTES_TOGETHER,
    AttributeValue,
    Definition,
    Hit,
    IndexSettings,
    Kept,
    KeptInfo,
    Lexical,
    Metric,
    Point,
    PointId,
    Projection,
    Record,
    Sparse,
    VectorField,
    VectorKind,
    VectorValue,
)
from tests.reference_lexical import ranked_words


@dataclass
class Collection:
    """A definition and its points by id. Python keeps 1 and "1" apart as keys."""

    definition: Definition
    created_at: str
    points: dict[PointId, Point] = field(default_factory=dict)
    kept: dict[tuple[str, str], Kept] = field(default_factory=dict)
    revision: int = 0


class ReferenceBackend:
    """The `Backend` contract, as plainly as it can be kept."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._collections: dict[str, Collection] = {}
        self._created = 0
        self._lock = threading.RLock()

    @property
    def snapshots(self) -> None:
        """It has no files to keep."""

    def create(self, name: str, definition: Definition) -> tuple[CollectionInfo, bool]:
        with self._lock:
            existing = self._collections.get(name)
            if existing is None:
                now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
                self._created += 1
                own = replace(definition, mark=str(self._created))
                self._collections[name] = Collection(own, now)
            elif existing.definition != definition:
                differs = existing.definition.differs(definition)
                raise DefinitionDiffers(
                    f"collection {name!r} exists with another definition: what differs is {differs}"
                )
            return self.describe(name), existing is None

    def describe(self, name: str) -> CollectionInfo:
        with self._lock:
            found = self._collection(name)
            points = len(found.points)
            head = {"kind": "head", "points": points, "deleted": 0}
            return CollectionInfo(name, found.definition, points, [head], False, found.created_at)

    def definition(self, name: str) -> Definition:
        with self._lock:
            return self._collection(name).definition

    def describe_all(self) -> list[CollectionInfo]:
        with self._lock:
            return [self.describe(name) for name in sorted(self._collections)]

    def alter(
        self,
        name: str,
        *,
        schema: Mapping[str, str | None] | None,
        index: Callable[[IndexSettings], IndexSettings] | None,
        lexical: Callable[[Lexical | None], Lexical | None] | None = None,
    ) -> CollectionInfo:
        with self._lock:
            found = self._collection(name)
            merged = {**found.definition.schema, **(schema or {})}
            kinds = {key: kind for key, kind in merged.items() if kind is not None}
            for point in found.points.values():
                try:
                    check_conforms(point.attributes, kinds)
                except SchemaViolation:
                    raise SchemaConflict("a stored point contradicts the schema") from None
            present = found.definition
            settings = present.index if index is None else index(present.index)
            words = present.lexical if lexical is None else lexical(present.lexical)
            found.definition = replace(present, schema=kinds, index=settings, lexical=words)
            return self.describe(name)

    def drop(self, name: str) -> None:
        with self._lock:
            self._collection(name)
            del self._collections[name]

    def upsert(self, name: str, points: Sequence[Point], mark: str | None = None) -> int:
        with self._lock:
            found = self._collection(name, mark)
            for index, point in enumerate(points):
                for field, vector in point.vectors.items():
                    _check_fits(vector, found.definition.vectors[field])
                check_conforms(point.attributes, found.definition.schema, f"/{index}/attributes")
            found.points.update({point.id: point for point in points})
            return len(points)

    def delete(self, name: str, selection: Selection) -> int:
        with self._lock:
            points = self._collection(name).points
            chosen = _selected(self._collection(name), selection)
            for point in chosen:
                del points[point.id]
            return len(chosen)

    def patch(
        self,
        name: str,
        selection: Selection,
        *,
        set_: Mapping[str, AttributeValue],
        unset: Sequence[str],
        lifetime: Lifetime | None = None,
        max_attributes_bytes: int | None = None,
    ) -> int:
        with self._lock:
            found = self._collection(name)
            check_conforms(set_, found.definition.schema, "/set")
            chosen = _selected(found, selection)
            patched = []
            for point in chosen:
                merged = {**point.attributes, **set_}
                kept = {key: value for key, value in merged.items() if key not in unset}
                before, after = (len(orjson.dumps(each)) for each in (point.attributes, kept))
                check_grown(before, after, max_attributes_bytes)
                at = point.expires_at if lifetime is None else lifetime.expires_at
                patched.append(replace(point, attributes=kept, expires_at=at))
            found.points.update({point.id: point for point in patched})
            return len(chosen)

    def get(self, name: str, ids: Sequence[PointId], projection: Projection) -> list[Record]:
        with self._lock:
            points = self._collection(name).points
            wanted = dict.fromkeys(ids)
            return [_record(points[one], projection) for one in wanted if one in points]

    def count(self, name: str, filter: Filter | None) -> int:
        with self._lock:
            return len(_selected(self._collection(name), Selection(filter=filter)))

    def scroll(
        self,
        name: str,
        *,
        filter: Filter | None,
        limit: int,
        after: PointId | None,
        projection: Projection,
        mark: str | None = None,
    ) -> Page:
        with self._lock:
            chosen = _selected(self._collection(name, mark), Selection(filter=filter))
            chosen.sort(key=lambda point: _order(point.id))
            rest = [p for p in chosen if after is None or _order(p.id) > _order(after)]
            page = [_record(point, projection) for point in rest[:limit]]
            return Page(page, page[-1].id if len(rest) > limit else None)

    def search(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer]:
        with self._lock:
            found = self._collection(name, mark)
            return [_answer(found, at, search) for at, search in enumerate(searches)]

    def search_now(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer] | None:
        return None  # its lock may be held for long

    def view(self, name: str, run: Callable[[View], Viewed], mark: str | None = None) -> Viewed:
        with self._lock:
            return run(ReferenceView(self._collection(name, mark)))

    def keep(
        self, name: str, kind: str, key: str, body: bytes, mark: str | None = None
    ) -> KeptInfo:
        with self._lock:
            found = self._collection(name, mark)
            others = {k: one for k, one in found.kept.items() if k != (kind, key)}
            together = sum(one.info.bytes for one in others.values()) + len(body)
            if (
                len(body) > MOST_KEPT_BYTES
                or len(others) >= MOST_KEPT
                or together > MOST_KEPT_BYTES_TOGETHER
            ):
                raise LimitExceeded("too much is kept")
            found.revision += 1
            when = datetime.fromtimestamp(self._clock(), timezone.utc)
            now = when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            info = KeptInfo(kind, key, len(body), now, found.revision)
            found.kept = {**others, (kind, key): Kept(info, body)}
            return info

    def kept(self, name: str, kind: str, key: str) -> Kept | None:
        with self._lock:
            return self._collection(name).kept.get((kind, key))

    def all_kept(self, name: str, kind: str | None = None) -> list[KeptInfo]:
        with self._lock:
            every = sorted(self._collection(name).kept.items())
            return [one.info for (own, _), one in every if kind in (None, own)]

    def forget(self, name: str, kind: str, key: str) -> bool:
        with self._lock:
            return self._collection(name).kept.pop((kind, key), None) is not None

    def health(self) -> dict[str, Any]:
        return {"status": "ok", "detail": "in memory", "collections": len(self._collections)}

    def storage(self) -> Storage | None:
        return None

    def statistics(self) -> Statistics:
        with self._lock:
            sizes = [
                CollectionStatistics(name, len(one.points), 0, len(one.points), 0, 0, 0, 0)
                for name, one in sorted(self._collections.items())
            ]
            return Statistics(sizes, 0, 0, Histogram(SECONDS), Histogram(POWERS), {}, {})

    def close(self) -> None:
        """Nothing to let go of."""

    def _collection(self, name: str, mark: str | None = None) -> Collection:
        found = self._collections.get(name)
        if found is None or mark not in (None, found.definition.mark):
            raise CollectionNotFound(name)
        now_ms = self._clock() * 1000
        for point in list(found.points.values()):
            if point.expires_at is not None and point.expires_at <= now_ms:
                del found.points[point.id]
        return found


class ReferenceView:
    """A `View`, by brute force. Rows are places in the order of ids."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._points = sorted(collection.points.values(), key=lambda point: _order(point.id))

    @property
    def definition(self) -> Definition:
        return self._collection.definition

    def _passing(self, filter: Filter | None) -> list[int]:
        lexical = self.definition.lexical
        return [row for row, point in enumerate(self._points) if passes(point, filter, lexical)]

    def _having(self, using: str, filter: Filter | None) -> list[int]:
        return [row for row in self._passing(filter) if using in self._points[row].vectors]

    def recall(self, wanted: Recall) -> Recalled:
        if isinstance(wanted.query, Words):
            return self._words(wanted, wanted.query)
        if wanted.using is None or wanted.using not in self.definition.vectors:
            raise UnknownVector(f"there is no vector named {wanted.using!r}")
        field = self.definition.vectors[wanted.using]
        _check_fits(wanted.query, field)
        every = [
            row
            for row in self._having(wanted.using, wanted.filter)
            if self._points[row].id not in wanted.exclude
        ]
        if isinstance(wanted.query, Sparse):
            products = [(self._product(field, wanted.query, row), row) for row in every]
            scored = [(product, row) for product, row in products if product is not None]
            every = [row for _, row in scored]
        else:
            query = _searched(field, wanted.query)
            scored = [
                (score(query, self._searched(field, row), field.metric), row) for row in every
            ]
        scored.sort(key=lambda pair: (-pair[0], pair[1]))
        best = scored[: wanted.k]
        rows = np.array([row for _, row in best], dtype=np.int64)
        candidates = Candidates(rows, self.keys(rows), np.array([s for s, _ in best], dtype=float))
        return Recalled(candidates, len(every), "exact" if every else "empty", True, {})

    def _words(self, wanted: Recall, words: Words) -> Recalled:
        lexical = self.definition.lexical
        if lexical is None:
            raise InvalidQuery("there is no lexical index")
        if words.fields is not None and not words.fields.keys() <= lexical.fields.keys():
            raise InvalidQuery("no such field")
        passing = set(self._passing(wanted.filter))
        scores = ranked_words(words.text, self._points, lexical, words.fields, every=words.every)
        found = [(-score, row) for row, score in scores.items() if row in passing]
        shown = [pair for pair in found if self._points[pair[1]].id not in wanted.exclude]
        best = sorted(shown)[: wanted.k]
        rows = np.array([row for _, row in best], dtype=np.int64)
        candidates = Candidates(rows, self.keys(rows), np.array([-far for far, _ in best]))
        return Recalled(candidates, len(shown), "lexical" if shown else "empty", True, {})

    def score_words(self, words: Words, rows: I64) -> F64:
        lexical = self.definition.lexical
        if lexical is None:
            raise InvalidQuery("there is no lexical index")
        scores = ranked_words(words.text, self._points, lexical, words.fields)
        return np.array([scores.get(row, 0.0) for row in rows.tolist()])

    def find(self, ids: Sequence[PointId]) -> I64:
        places = {point.id: row for row, point in enumerate(self._points)}
        return np.array([places.get(one, -1) for one in ids], dtype=np.int64)

    def vectors(self, using: str, rows: I64) -> tuple[F32, NDArray[np.bool_]]:
        if using not in self.definition.vectors:
            raise UnknownVector(f"there is no vector named {using!r}")
        field = self.definition.vectors[using]
        if field.kind is VectorKind.SPARSE:
            raise InvalidQuery("sparse vectors have no rows")
        found = np.zeros((rows.size, field.dimension), dtype=np.float32)
        has = np.zeros(rows.size, dtype=np.bool_)
        for place, row in enumerate(rows.tolist()):
            if using in self._points[row].vectors:
                wide = self._searched(field, row).astype(np.float64)
                length = math.hypot(*wide) if field.metric is Metric.COSINE else 1.0
                found[place], has[place] = wide / (length or 1.0), True
        return found, has

    def tokens(self, using: str, rows: I64) -> tuple[F32, I64]:
        if using not in self.definition.vectors:
            raise UnknownVector(f"there is no vector named {using!r}")
        field = self.definition.vectors[using]
        if field.kind is not VectorKind.TOKENS:
            raise InvalidQuery("no tokens there")
        found: list[F32] = []
        begins = [0]
        for row in rows.tolist():
            tokens = self._points[row].vectors.get(using, ())
            assert not isinstance(tokens, Sparse)
            found += [(token / math.hypot(*token)).astype(np.float32) for token in tokens]
            begins.append(len(found))
        every = np.array(found, dtype=np.float32).reshape(-1, field.dimension)
        return every, np.array(begins, dtype=np.int64)

    def products(self, using: str, query: Sparse, rows: I64) -> tuple[F64, NDArray[np.bool_]]:
        if using not in self.definition.vectors:
            raise UnknownVector(f"there is no vector named {using!r}")
        field = self.definition.vectors[using]
        _check_fits(query, field)
        has = np.array([using in self._points[row].vectors for row in rows.tolist()], dtype=bool)
        found = np.zeros(rows.size)
        for place in np.flatnonzero(has).tolist():
            found[place] = self._product(field, query, int(rows[place])) or 0.0
        return found, has

    def _product(self, field: VectorField, query: Sparse, row: int) -> float | None:
        """In the order of the query's indices; None if the two share none."""
        stored = self._points[row].vectors[field.name]
        assert isinstance(stored, Sparse)
        weights = dict(zip(stored.indices.tolist(), stored.values.tolist(), strict=True))
        asked = zip(query.indices.tolist(), query.values.tolist(), strict=True)
        shared = [value * weights[index] for index, value in asked if index in weights]
        return sum(shared) if shared else None

    def _searched(self, field: VectorField, row: int) -> F32:
        return _searched(field, self._points[row].vectors[field.name])

    def mean(self, using: str, filter: Filter | None) -> tuple[F32, int]:
        rows = np.array(self._having(using, filter), dtype=np.int64)
        vectors, _ = self.vectors(using, rows)
        return vectors.sum(axis=0) / np.float32(max(rows.size, 1)), rows.size

    def sample(self, using: str, filter: Filter | None, most: int, seed: int) -> I64:
        every = np.array(self._having(using, filter), dtype=np.int64)
        if every.size <= most:
            return every
        drawn: I64 = np.sort(np.random.default_rng(seed).choice(every, size=most, replace=False))
        return drawn

    def subset(self, of: Filter | I64 | None) -> Subset:
        rows = of.tolist() if isinstance(of, np.ndarray) else self._passing(of)
        return ReferenceSubset([(row, self._points[row]) for row in sorted(rows)])

    def remembered(self, key: Hashable, make: Callable[[], Made]) -> tuple[Made, bool]:
        return make(), False

    def passes(self, rows: I64, filter: Filter) -> NDArray[np.bool_]:
        passing = set(self._passing(filter))
        return np.array([row in passing for row in rows.tolist()], dtype=np.bool_)

    def keys(self, rows: I64) -> list[bytes]:
        return [key_from_id(self._points[row].id) for row in rows.tolist()]

    def attributes(self, rows: I64) -> list[Mapping[str, Any]]:
        return [self._points[row].attributes for row in rows.tolist()]

    def records(
        self, rows: I64, projection: Projection, keys: Sequence[bytes] | None = None
    ) -> list[Record]:
        return [_record(self._points[row], projection) for row in rows.tolist()]

    def kept(self, kind: str, key: str) -> Kept | None:
        return self._collection.kept.get((kind, key))


def _check_fits(vector: VectorValue, field: VectorField) -> None:
    if isinstance(vector, Sparse) != (field.kind is VectorKind.SPARSE):
        raise InvalidVector("sparse, or not")
    if isinstance(vector, Sparse):
        return
    if vector.ndim != (2 if field.kind is VectorKind.TOKENS else 1) or len(vector) == 0:
        raise InvalidVector("of another kind")
    if vector.shape[-1] != field.dimension:
        raise DimensionMismatch(expected=field.dimension, received=vector.shape[-1])


def _searched(field: VectorField, vector: VectorValue) -> F32:
    """A dense vector itself; of tokens the mean of their directions, zeros if there is none."""
    assert not isinstance(vector, Sparse)
    if field.kind is VectorKind.DENSE:
        return vector
    mean = np.mean([row / math.hypot(*row) for row in vector.astype(np.float64)], axis=0)
    return (mean if math.hypot(*mean) >= 1e-6 else 0 * mean).astype(np.float32)


class ReferenceSubset:
    """A `Subset`, point by point: rows ascend as ids do."""

    def __init__(self, found: list[tuple[int, Point]]) -> None:
        self._found = found

    @property
    def points(self) -> int:
        return len(self._found)

    def _elements(self, field: str, point: Point) -> list[Any]:
        return elements(point.attributes[field]) if field in point.attributes else []

    def facet(self, field: str, most: int) -> Facet:
        counts: dict[tuple[int, Any], int] = {}
        missing = 0
        for _, point in self._found:
            values = {_facet_key(one) for one in self._elements(field, point)} - {None}
            missing += not values
            for value in values:
                assert value is not None
                counts[value] = counts.get(value, 0) + 1
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = [(None if key[0] == 0 else key[1], count) for key, count in ranked[:most]]
        return Facet(shown, len(ranked), missing)

    def numbers(self, field: str, over: Literal["numbers", "instants"]) -> Numbers:
        counts: dict[int | float, int] = {}
        missing = 0
        for _, point in self._found:
            values = {_number(one, over) for one in self._elements(field, point)} - {None}
            missing += not values
            for value in values:
                assert value is not None
                counts[value] = counts.get(value, 0) + 1
        ints = sorted(value for value in counts if isinstance(value, int))
        floats = sorted(value for value in counts if isinstance(value, float))
        return Numbers(
            np.array(ints, dtype=np.int64),
            np.array([counts[value] for value in ints], dtype=np.int64),
            np.array(floats, dtype=np.float64),
            np.array([counts[value] for value in floats], dtype=np.int64),
            missing,
        )

    def in_order(self, order: Order, most: int) -> Ordered:
        found: list[tuple[Any, int, Point]] = []
        missing: list[tuple[Any, int, Point]] = []
        for row, point in self._found:
            values = [_order_value(one, order) for one in self._elements(order.field, point)]
            values = [value for value in values if value is not None]
            choose = max if order.descending else min
            if values:
                found.append((choose(values, key=_mixed), row, point))
            else:
                missing.append((None, row, point))
        found.sort(key=lambda one: _mixed(one[0]), reverse=order.descending)
        page = (found + missing)[:most]
        return Ordered(
            np.array([row for _, row, _ in page], dtype=np.int64),
            [key_from_id(point.id) for _, _, point in page],
            [value for value, _, _ in page],
        )


def _facet_key(element: Any) -> tuple[int, Any] | None:
    """Sort null, bools, numbers, strings, and tell them apart; None for a place."""
    if isinstance(element, dict):
        return None
    if element is None:
        return 0, 0
    if isinstance(element, bool):
        return 1, element
    return (3, element) if isinstance(element, str) else (2, exact_number(element))


def _number(element: Any, over: str) -> int | float | None:
    if over == "instants":
        return instant_us(element) if isinstance(element, str) else None
    is_number = isinstance(element, int | float) and not isinstance(element, bool)
    return exact_number(element) if is_number else None


def _order_value(element: Any, order: Order) -> Any:
    if order.over == "distance":
        assert order.origin is not None
        if not isinstance(element, dict):
            return None
        return distance_m(order.origin, place_from(element))
    if order.over == "values" and isinstance(element, str):
        return element
    return _number(element, "numbers" if order.over == "values" else "instants")


def _mixed(value: Any) -> tuple[bool, Any]:
    """Numbers before strings."""
    return isinstance(value, str), value


def score(query: F32, stored: F32, metric: Metric) -> float:
    """The score of a pair of vectors: summed in float64, rounded once to float32."""
    a, b = query.astype(np.float64), stored.astype(np.float64)
    if metric is Metric.L2:
        exact = 0.0 - math.dist(a, b)  # not -0.0
    elif metric is Metric.IP:
        exact = float(a @ b)
    else:
        exact = float(a @ b) / ((math.hypot(*a) * math.hypot(*b)) or 1.0)
    return float(np.float32(exact))


def _answer(collection: Collection, at: int, search: Search) -> Answer:
    if search.using not in collection.definition.vectors:
        raise UnknownVector(f"there is no vector named {search.using!r}")
    field_ = collection.definition.vectors[search.using]
    if field_.kind is not VectorKind.DENSE:
        raise InvalidQuery("the vector is not dense")
    expected = field_.dimension
    query = search.vector
    if not isinstance(query, np.ndarray):
        start = collection.points.get(query)
        if start is None:
            raise PointNotFound("there is no point of that id", pointer=f"/{at}/id")
        if search.using not in start.vectors:
            raise InvalidQuery("the point has no such vector", pointer=f"/{at}/id")
        search = search._replace(exclude=(query,))
        query = _searched(field_, start.vectors[search.using])
    if query.shape != (expected,):
        raise DimensionMismatch(expected=expected, received=query.size)
    metric = collection.definition.vectors[search.using].metric
    candidates = [
        point
        for point in _selected(collection, Selection(filter=search.filter))
        if search.using in point.vectors and point.id not in search.exclude
    ]
    scored = [
        (score(query, _searched(field_, p.vectors[search.using]), metric), p) for p in candidates
    ]
    scored.sort(key=lambda pair: (-pair[0], _order(pair[1].id)))
    least = -math.inf if search.score_threshold is None else search.score_threshold
    hits = [
        Hit(value, _record(point, search.projection))
        for value, point in scored[search.offset : search.offset + search.k]
        if value >= least
    ]
    plan = "exact" if candidates else "empty"
    explanation = {"plan": plan, "distances": len(candidates)} if search.explain else None
    return Answer(hits, len(candidates), plan, True, explanation)


def _selected(collection: Collection, selection: Selection) -> list[Point]:
    points = collection.points
    if selection.ids is not None:
        return [points[one] for one in dict.fromkeys(selection.ids) if one in points]
    wanted = selection.filter
    return [p for p in points.values() if passes(p, wanted, collection.definition.lexical)]


def passes(point: Point, filter: Filter | None, lexical: Lexical | None) -> bool:
    if filter is None:
        return True
    check_words(filter, lexical)
    return matches(filter, point.id, point.attributes, point.text, lexical)


def _order(point_id: PointId) -> tuple[bool, Any]:
    """Integers before strings, then by value."""
    return (isinstance(point_id, str), point_id)


def _record(point: Point, projection: Projection) -> Record:
    wanted = projection.fields
    return Record(
        id=point.id,
        attributes={k: v for k, v in point.attributes.items() if wanted is None or k in wanted},
        text=point.text if projection.with_text else None,
        vectors=dict(point.vectors) if projection.with_vectors else None,
        expires_at=point.expires_at,
    )
