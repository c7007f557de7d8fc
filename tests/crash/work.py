"""What writers do, and what they know to be stored.

A *part* is the points of one writer in one collection: nobody else touches them, so a writer's
history is a plain sequence, and at most its last call has an end that nobody knows. After a crash
the part must be what it was before that call, or what it is after it, as a whole. Some writers
share collections; others own one, which they drop, create again and alter as well, and of which
they take, restore and remove snapshots.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from app.types import F32, PointId
from tests.crash.service import SPARSE, Client, Dead, Service, vector_to_wire

GROUPS = 6
_MOST = 400  # points of a part: then it is deleted from
_SNAPSHOTS = 3  # of one collection: then one is removed


@dataclass(frozen=True, slots=True)
class Kind:
    """What a collection is: vectors by name → (dimension, metric), or (`VOCABULARY`, `SPARSE`)."""

    vectors: Mapping[str, tuple[int, str]]

    def body(self, links: int) -> dict[str, Any]:
        named = {
            n: {"kind": SPARSE} if metric == SPARSE else {"dimension": d, "metric": metric}
            for n, (d, metric) in self.vectors.items()
        }
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


@dataclass(frozen=True, slots=True)
class World:
    """All that one writer knows; but for `own`, only who owns a collection has any of it."""

    own: State = None
    copy: State = None  # restored under another name
    snapshots: Mapping[str, Part] = field(default_factory=dict)  # as the part was when taken


@dataclass(slots=True)
class Counts:
    """What came of the calls."""

    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    points: int = 0
    snapshots: Counter[str] = field(default_factory=Counter)  # of these calls: by what was done
    cut: Counter[str] = field(default_factory=Counter)  # and those that were cut off

    def add(self, other: Counts) -> None:
        self.acknowledged += other.acknowledged
        self.refused += other.refused
        self.unknown += other.unknown
        self.points += other.points
        self.snapshots.update(other.snapshots)
        self.cut.update(other.cut)


@dataclass(frozen=True, slots=True)
class Call:
    """A request, the world that it leads to, and the counts that its answer must tell."""

    method: str
    path: str
    body: Any
    after: World
    answer: Mapping[str, int] = field(default_factory=dict)
    written: int = 0
    what: str = ""  # where it is about snapshots: take, restore, replace, remove
    snapshot: str = ""


class Writer:
    """Writes to one part. `before` and `after` differ while a call's end is unknown."""

    def __init__(
        self, number: int, collection: str, kind: Kind, *, alone: bool, dice: random.Random
    ) -> None:
        self.number = number
        self.collection = collection
        self.kind = kind
        self.alone = alone
        self.copy = f"{collection}-copy"
        self.before = World(None if alone else Part())
        self.after = self.before
        self.digests: dict[str, str] = {}  # of acknowledged snapshots
        self.restoring = False  # hardly do anything else, where there are snapshots
        self.counts = Counts()
        self.faults: list[str] = []
        self._dice = dice

    def owns(self, id_: PointId) -> bool:
        """Tell whose point it is: by the number, or by the word before the dash."""
        if isinstance(id_, int):
            return id_ // 1000 == self.number
        return id_.partition("-")[0] == str(self.number)

    def took(self, snapshot: str) -> bool:
        """Tell whose snapshot it is."""
        return self.alone and snapshot.rpartition("-")[0] == self.collection

    def settled(self, world: World) -> None:
        """Take note of what the unknown call came to."""
        self.before = self.after = world

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
        if call.snapshot not in call.after.snapshots:
            self.digests.pop(call.snapshot, None)
        try:
            status, answer = client.call(call.method, call.path, call.body)
        except Dead:
            self.counts.unknown += 1
            self.counts.cut.update([call.what] if call.what else [])
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
        self.counts.snapshots.update([call.what] if call.what else [])
        if call.what == "take":
            self.digests[call.snapshot] = answer["sha256"]
        told = {name: answer[name] for name in call.answer}
        if told != call.answer:
            self.faults.append(f"{call.method} {call.path}: told {told}, not {call.answer}")

    # ── the calls ────────────────────────────────────────────────────────────────────────────

    def _next(self, world: World) -> Call:
        path = f"/v1/collections/{self.collection}"
        state = world.own
        if self.restoring and world.snapshots:
            return self._restore(world, own=True)
        if self.alone and (self.restoring or self._dice.random() < 0.1) and world != World():
            return self._about_snapshots(world)
        if state is None:
            links = self._dice.choice((8, 10))
            return self._call("PUT", path, self.kind.body(links), Part(links=links))
        chance = self._dice.random()
        if self.alone and chance < 0.02:
            return self._call("DELETE", path, None, None)
        if self.alone and chance < 0.06:
            return self._alter(path, state)
        if len(state.points) > _MOST or chance < 0.2:
            return self._delete(f"{path}/points/delete", state)
        if chance < 0.4:
            return self._patch(f"{path}/points", state)
        return self._upsert(f"{path}/points", state)

    def _call(
        self,
        method: str,
        path: str,
        body: Any,
        own: State,
        answer: Mapping[str, int] = MappingProxyType({}),
        written: int = 0,
    ) -> Call:
        return Call(method, path, body, replace(self.before, own=own), answer, written)

    def _about_snapshots(self, world: World) -> Call:
        full = len(world.snapshots) == _SNAPSHOTS
        chance = self._dice.random()
        if world.own is not None and not full and (chance < 0.5 or not world.snapshots):
            free = {f"{self.collection}-{n}" for n in range(2 * _SNAPSHOTS)} - set(world.snapshots)
            name = self._dice.choice(sorted(free))
            path = f"/v1/collections/{self.collection}/snapshots"
            after = replace(world, snapshots={**world.snapshots, name: world.own})
            told = {"points": len(world.own.points)}
            return Call("POST", path, {"name": name}, after, told, 0, "take", name)
        if world.copy is not None and chance < 0.1:
            after = replace(world, copy=None)
            return Call("DELETE", f"/v1/collections/{self.copy}", None, after)
        if not world.snapshots:
            return self._call(
                "PUT", f"/v1/collections/{self.collection}", self.kind.body(8), Part()
            )
        if full or chance < 0.6:
            name = self._dice.choice(sorted(world.snapshots))
            left = {other: part for other, part in world.snapshots.items() if other != name}
            after = replace(world, snapshots=left)
            return Call("DELETE", f"/v1/snapshots/{name}", None, after, {}, 0, "remove", name)
        return self._restore(world, own=chance < 0.85)

    def _restore(self, world: World, *, own: bool) -> Call:
        name = self._dice.choice(sorted(world.snapshots))
        part = world.snapshots[name]
        after = replace(world, own=part) if own else replace(world, copy=part)
        exists = (world.own if own else world.copy) is not None
        body = {"collection": self.collection if own else self.copy, "replace": exists}
        path = f"/v1/snapshots/{name}/restore"
        told = {"points": len(part.points)}
        what = "replace" if exists else "restore"
        return Call("POST", path, body, after, told, 0, what, name)

    def _alter(self, path: str, state: Part) -> Call:
        if "rev" in state.schema:
            return self._call("PATCH", path, {"schema": {"rev": None}}, replace(state, schema={}))
        links = self._dice.choice((8, 10))
        body = {"schema": {"rev": "integer"}, "index": {"m": links}}
        return self._call("PATCH", path, body, Part(state.points, {"rev": "integer"}, links))

    def _upsert(self, path: str, state: Part) -> Call:
        points = dict(state.points)
        body = []
        for number in self._dice.sample(range(1000), self._dice.randint(1, 25)):
            id_ = self.number * 1000 + number if number % 2 else f"{self.number}-{number}"
            vectors = {
                name: np.array(
                    [
                        0.0 if metric == SPARSE and self._dice.random() < 0.7 else number
                        for number in (self._dice.gauss(0, 1) for _ in range(d))
                    ],
                    dtype=np.float32,
                )
                for name, (d, metric) in self.kind.vectors.items()
            }
            attributes = {
                "writer": self.number,
                "group": number % GROUPS,
                "rev": self._dice.randrange(10**6),
                "note": "n" * self._dice.randrange(60),
            }
            points[id_] = Stored({n: v.tobytes() for n, v in vectors.items()}, attributes)
            sent = {n: vector_to_wire(v, self.kind.vectors[n][1]) for n, v in vectors.items()}
            body.append({"id": id_, "vectors": sent, "attributes": attributes})
        after = replace(state, points=points)
        told = {"upserted": len(body)}
        return self._call("PUT", path, {"points": body}, after, told, len(body))

    def _delete(self, path: str, state: Part) -> Call:
        chosen, body = self._selected(state)
        kept = {id_: point for id_, point in state.points.items() if id_ not in chosen}
        told = {"deleted": len(chosen)}
        return self._call("POST", path, body, replace(state, points=kept), told)

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
        return self._call("PATCH", path, body, after, {"updated": len(chosen)}, len(chosen))

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
