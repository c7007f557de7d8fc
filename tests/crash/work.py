"""What writers do, and what they know to be stored.

A *part* is the points of one writer in one collection: nobody else touches them, so a writer's
history is a plain sequence, and at most its last call has an end that nobody knows. After a crash
the part must be what it was before that call, or what it is after it, as a whole. Some writers
share collections; others own one, which they drop, create again and alter as well.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from app.types import F32, PointId
from tests.crash.service import Client, Dead, Service, vector_to_wire

GROUPS = 6
_MOST = 400  # points of a part: then it is deleted from


@dataclass(frozen=True, slots=True)
class Kind:
    """What a collection is: vectors by name → (dimension, metric)."""

    vectors: Mapping[str, tuple[int, str]]

    def body(self, links: int) -> dict[str, Any]:
        named = {n: {"dimension": d, "metric": metric} for n, (d, metric) in self.vectors.items()}
        return {"vectors": named, "index": {"m": links, "ef_construction": 40}}


@dataclass(frozen=True, slots=True)
class Stored:
    """One point as it must come back: bytes of its vectors by name, and its attributes."""

    vectors: Mapping[str, bytes]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """The points of one writer; for one who owns the collection, its definition too."""

    points: Mapping[PointId, Stored] = field(default_factory=dict)
    schema: Mapping[str, str] = field(default_factory=dict)
    links: int = 8


State = Part | None
"""None: the collection does not exist."""


@dataclass(slots=True)
class Counts:
    """What came of the calls."""

    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    points: int = 0

    def add(self, other: Counts) -> None:
        self.acknowledged += other.acknowledged
        self.refused += other.refused
        self.unknown += other.unknown
        self.points += other.points


@dataclass(frozen=True, slots=True)
class Call:
    """A request, the state that it leads to, and the counts that its answer must tell."""

    method: str
    path: str
    body: Any
    after: State
    answer: Mapping[str, int] = field(default_factory=dict)
    written: int = 0


class Writer:
    """Writes to one part. `before` and `after` differ while a call's end is unknown."""

    def __init__(
        self, number: int, collection: str, kind: Kind, *, alone: bool, dice: random.Random
    ) -> None:
        self.number = number
        self.collection = collection
        self.kind = kind
        self.alone = alone
        self.before: State = None if alone else Part()
        self.after: State = self.before
        self.counts = Counts()
        self.faults: list[str] = []
        self._dice = dice

    def owns(self, id_: PointId) -> bool:
        """Tell whose point it is: by the number, or by the word before the dash."""
        if isinstance(id_, int):
            return id_ // 1000 == self.number
        return id_.partition("-")[0] == str(self.number)

    def settled(self, state: State) -> None:
        """Take note of what the unknown call came to."""
        self.before = self.after = state

    def write(self, service: Service, stop: threading.Event) -> None:
        """Write until told to stop, or until the service is dead."""
        client = service.client()
        try:
            while not stop.is_set() and not self.faults:
                self._once(client)
        except Dead:
            return
        except Exception as exc:  # a thread's exception must not get lost
            self.faults.append(f"writer {self.number}: {exc!r}")
        finally:
            client.close()

    def _once(self, client: Client) -> None:
        call = self._next(self.before)
        self.after = call.after
        try:
            status, answer = client.call(call.method, call.path, call.body)
        except Dead:
            self.counts.unknown += 1
            raise
        if status >= 300:
            self.after = self.before
            self.counts.refused += 1
            if status not in (503, 507):
                self.faults.append(f"{call.method} {call.path}: {status} {answer}")
            return
        self.before = call.after
        self.counts.acknowledged += 1
        self.counts.points += call.written
        told = {name: answer[name] for name in call.answer}
        if told != call.answer:
            self.faults.append(f"{call.method} {call.path}: told {told}, not {call.answer}")

    # ── the calls ────────────────────────────────────────────────────────────────────────────

    def _next(self, state: State) -> Call:
        path = f"/v1/collections/{self.collection}"
        if state is None:
            links = self._dice.choice((8, 10))
            return Call("PUT", path, self.kind.body(links), Part(links=links))
        chance = self._dice.random()
        if self.alone and chance < 0.02:
            return Call("DELETE", path, None, None)
        if self.alone and chance < 0.06:
            return self._alter(path, state)
        if len(state.points) > _MOST or chance < 0.2:
            return self._delete(f"{path}/points/delete", state)
        if chance < 0.4:
            return self._patch(f"{path}/points", state)
        return self._upsert(f"{path}/points", state)

    def _alter(self, path: str, state: Part) -> Call:
        if "rev" in state.schema:
            return Call("PATCH", path, {"schema": {"rev": None}}, replace(state, schema={}))
        links = self._dice.choice((8, 10))
        body = {"schema": {"rev": "integer"}, "index": {"m": links}}
        return Call("PATCH", path, body, Part(state.points, {"rev": "integer"}, links))

    def _upsert(self, path: str, state: Part) -> Call:
        points = dict(state.points)
        body = []
        for number in self._dice.sample(range(1000), self._dice.randint(1, 25)):
            id_ = self.number * 1000 + number if number % 2 else f"{self.number}-{number}"
            vectors = {
                name: np.array([self._dice.gauss(0, 1) for _ in range(d)], dtype=np.float32)
                for name, (d, _) in self.kind.vectors.items()
            }
            attributes = {
                "writer": self.number,
                "group": number % GROUPS,
                "rev": self._dice.randrange(10**6),
                "note": "n" * self._dice.randrange(60),
            }
            points[id_] = Stored({n: v.tobytes() for n, v in vectors.items()}, attributes)
            sent = {n: vector_to_wire(v) for n, v in vectors.items()}
            body.append({"id": id_, "vectors": sent, "attributes": attributes})
        after = replace(state, points=points)
        return Call("PUT", path, {"points": body}, after, {"upserted": len(body)}, len(body))

    def _delete(self, path: str, state: Part) -> Call:
        chosen, body = self._selected(state)
        kept = {id_: point for id_, point in state.points.items() if id_ not in chosen}
        return Call("POST", path, body, replace(state, points=kept), {"deleted": len(chosen)})

    def _patch(self, path: str, state: Part) -> Call:
        chosen, body = self._selected(state)
        rev = self._dice.randrange(10**6)
        points = dict(state.points)
        for id_ in chosen:
            patched = {**points[id_].attributes, "rev": rev}
            patched.pop("note", None)
            points[id_] = replace(points[id_], attributes=patched)
        body |= {"set": {"rev": rev}, "unset": ["note"]}
        after = replace(state, points=points)
        return Call("PATCH", path, body, after, {"updated": len(chosen)}, len(chosen))

    def _selected(self, state: Part) -> tuple[set[PointId], dict[str, Any]]:
        """Choose points by id, some of which do not exist, or by a filter."""
        if self._dice.random() < 0.5:
            group = self._dice.randrange(GROUPS)
            wanted = {"writer": self.number, "group": group}
            chosen = {id_ for id_, p in state.points.items() if p.attributes["group"] == group}
            return chosen, {"filter": wanted}
        known = self._dice.sample(sorted(state.points, key=str), min(len(state.points), 10))
        return set(known), {"ids": [*known, f"{self.number}-none"]}


class Reader(threading.Thread):
    """Queries with filters while others write: so that covers are wished for, and answers sane."""

    def __init__(
        self, service: Service, collection: str, kind: Kind, stop: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._client = service.client()
        self._collection = collection
        self._kind = kind
        self._stop_reading = stop
        self.faults: list[str] = []

    def run(self) -> None:
        dice = np.random.default_rng(self._kind.vectors.__len__())
        try:
            while not self._stop_reading.wait(0.01) and not self.faults:
                self._ask(dice)
        except Dead:
            return
        except Exception as exc:  # a thread's exception must not get lost
            self.faults.append(f"reader: {exc!r}")
        finally:
            self._client.close()

    def _ask(self, dice: np.random.Generator) -> None:
        using, (dimension, _) = next(iter(self._kind.vectors.items()))
        vector: F32 = dice.normal(size=dimension).astype(np.float32)
        group = int(dice.integers(GROUPS))
        body = {
            "vector": vector_to_wire(vector),
            "using": using,
            "k": 5,
            "filter": {"group": group},
        }
        path = f"/v1/collections/{self._collection}/query"
        status, answer = self._client.call("POST", path, body)
        if status != 200:
            self.faults.append(f"query: {status} {answer}")
            return
        scores = [point["score"] for point in answer["points"]]
        groups = {point["attributes"]["group"] for point in answer["points"]}
        if scores != sorted(scores, reverse=True) or groups - {group}:
            self.faults.append(f"query: {scores} of groups {groups} for group {group}")
