"""Two ways to the same collections: calls of the engine, and requests over sockets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import httpx
import numpy as np

from app.attributes.filter import parse_filter
from app.backends.base import Search, Selection
from app.backends.local import LocalBackend
from app.errors import CollectionNotFound
from app.types import Definition, Metric, Point, Projection, VectorField

Json = dict[str, Any]

FIELDS = {"a": 4, "b": 4}


class Gone(Exception):
    """The collection does not exist."""


class Seen(NamedTuple):
    """A point as a read showed it."""

    id: Any
    attributes: Json
    vectors: dict[str, list[float]]
    score: float = 0.0


class Found(NamedTuple):
    """What one query of a batch found."""

    matches: int
    hits: list[Seen]


class Door(Protocol):
    """What the stress does to collections; each method raises Gone. One instance a thread."""

    def create(self, name: str) -> None: ...
    def drop(self, name: str) -> None: ...
    def alter(self, name: str, schema: Json) -> Json: ...
    def upsert(self, name: str, points: Sequence[Json]) -> None: ...
    def delete(self, name: str, filter: Json) -> int: ...
    def patch(self, name: str, filter: Json, set_: Json) -> int: ...
    def get(self, name: str, ids: Sequence[Any]) -> list[Seen]: ...
    def count(self, name: str, filter: Json) -> int: ...
    def scroll(self, name: str, filter: Json, limit: int) -> list[Seen]: ...
    def batch(self, name: str, queries: Sequence[Json]) -> list[Found]: ...
    def close(self) -> None: ...


class EngineDoor:
    """Straight to the backend; every other batch asks not to wait, as the event loop does."""

    def __init__(self, backend: LocalBackend) -> None:
        self._backend = backend
        self._turn = itertools.cycle([True, False])

    def create(self, name: str) -> None:
        fields = {one: VectorField(one, size, Metric.L2) for one, size in FIELDS.items()}
        self._backend.create(name, Definition(fields))

    def drop(self, name: str) -> None:
        with _gone():
            self._backend.drop(name)

    def alter(self, name: str, schema: Json) -> Json:
        with _gone():
            return dict(self._backend.alter(name, schema=schema, index=None).definition.schema)

    def upsert(self, name: str, points: Sequence[Json]) -> None:
        made = [
            Point(
                one["id"],
                {field: np.array(v, np.float32) for field, v in one["vectors"].items()},
                one["attributes"],
            )
            for one in points
        ]
        with _gone():
            self._backend.upsert(name, made, self._backend.definition(name).mark)

    def delete(self, name: str, filter: Json) -> int:
        with _gone():
            return self._backend.delete(name, Selection(filter=parse_filter(filter)))

    def patch(self, name: str, filter: Json, set_: Json) -> int:
        with _gone():
            selection = Selection(filter=parse_filter(filter))
            return self._backend.patch(name, selection, set_=set_, unset=())

    def get(self, name: str, ids: Sequence[Any]) -> list[Seen]:
        with _gone():
            return [_seen(one) for one in self._backend.get(name, ids, _WHOLE)]

    def count(self, name: str, filter: Json) -> int:
        with _gone():
            return self._backend.count(name, parse_filter(filter))

    def scroll(self, name: str, filter: Json, limit: int) -> list[Seen]:
        with _gone():
            page = self._backend.scroll(
                name, filter=parse_filter(filter), limit=limit, after=None, projection=_WHOLE
            )
        return [_seen(one) for one in page.records]

    def batch(self, name: str, queries: Sequence[Json]) -> list[Found]:
        searches = [
            Search(
                one["id"] if "id" in one else np.array(one["vector"], np.float32),
                one["using"],
                parse_filter(one["filter"]),
                one["k"],
                exact=one.get("params", {}).get("exact", False),
            )
            for one in queries
        ]
        with _gone():
            answers = self._backend.search_now(name, searches) if next(self._turn) else None
            if answers is None:
                answers = self._backend.search(name, searches)
        return [
            Found(answer.matches, [_seen(hit.record, hit.score) for hit in answer.hits])
            for answer in answers
        ]

    def close(self) -> None:
        """Nothing is kept."""


class HttpDoor:
    """Requests to a server."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=60)

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(
            method, f"/v1/collections/{path}", **({} if body is None else {"json": body})
        )
        if answer.status_code == 404 and "collection-not-found" in answer.text:
            raise Gone
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def create(self, name: str) -> None:
        vectors = {one: {"dimension": size, "metric": "l2"} for one, size in FIELDS.items()}
        self._send("PUT", name, {"vectors": vectors})

    def drop(self, name: str) -> None:
        self._send("DELETE", name)

    def alter(self, name: str, schema: Json) -> Json:
        return dict(self._send("PATCH", name, {"schema": schema})["schema"])

    def upsert(self, name: str, points: Sequence[Json]) -> None:
        self._send("PUT", f"{name}/points", {"points": points})

    def delete(self, name: str, filter: Json) -> int:
        return int(self._send("POST", f"{name}/points/delete", {"filter": filter})["deleted"])

    def patch(self, name: str, filter: Json, set_: Json) -> int:
        body = {"filter": filter, "set": set_}
        return int(self._send("PATCH", f"{name}/points", body)["updated"])

    def get(self, name: str, ids: Sequence[Any]) -> list[Seen]:
        body = {"ids": ids, "with_vectors": True}
        return [_seen_json(one) for one in self._send("POST", f"{name}/points/get", body)["points"]]

    def count(self, name: str, filter: Json) -> int:
        return int(self._send("POST", f"{name}/points/count", {"filter": filter})["count"])

    def scroll(self, name: str, filter: Json, limit: int) -> list[Seen]:
        body = {"filter": filter, "limit": limit, "with_vectors": True}
        page = self._send("POST", f"{name}/points/scroll", body)
        return [_seen_json(one) for one in page["points"]]

    def batch(self, name: str, queries: Sequence[Json]) -> list[Found]:
        found = self._send("POST", f"{name}/query:batch", {"queries": queries})["results"]
        return [Found(one["matches"], [_seen_json(hit) for hit in one["points"]]) for one in found]

    def close(self) -> None:
        self._client.close()


_WHOLE = Projection(with_vectors=True)


class _gone:  # noqa: N801  # reads as what it does
    """Tell an unknown collection as Gone."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if isinstance(error, CollectionNotFound):
            raise Gone from None


def _seen(record: Any, score: float = 0.0) -> Seen:
    vectors = {name: one.tolist() for name, one in (record.vectors or {}).items()}
    return Seen(record.id, dict(record.attributes), vectors, score)


def _seen_json(one: Json) -> Seen:
    return Seen(one["id"], one["attributes"], one.get("vectors") or {}, one.get("score", 0.0))
