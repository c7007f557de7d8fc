"""Readers and writers at once, each checking all that it can know.

What is known
-------------
A *set* is forty points that one writer writes as a whole, again and again: an upsert gives all of
them the next version (in an attribute and in both vectors), a patch by filter the next edition of
that version. So whatever shows more than one (version, edition) of a set, or not all forty points,
is torn. A reader remembers the latest that it saw of each set, by whatever kind of read, and never
sees an older one; and none older than what was acknowledged before it asked.

Beside the sets, in the same collection: points that come and go in *buckets*, each with one writer,
which counts its own after each write; points that only come, and are all there in the end; fields
of the schema that come and go, each by one thread. Other collections are made, filled, searched and
dropped meanwhile. One more, the *still* one, is written again and again with what it holds already:
its answers never change, while its segments decay and are built and covered anew. Heads are small
and nothing is ever called busy, so all of that goes on all the time, by processes as ever.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import math
import os
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from app.backends.local import LocalBackend
from app.encoders.registry import EncoderRegistry
from app.engine import builder, builds
from app.planner.costs import Costs
from tests.api.harness import settings
from tests.model.world import tiny
from tests.served import served

from .doors import Door, EngineDoor, Found, Gone, HttpDoor, Json, Seen

MEMBERS = 40
SETS = 3
STILL, GROUPS = 4000, 10
DEAR = Costs(code_scan_fixed_ns=300, code_visit_fixed_ns=85)  # small graphs are worth walking

State = tuple[int, int]


@dataclass
class Tally:
    """What was done and seen by all threads."""

    reads: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    acknowledged: dict[int, State] = field(default_factory=dict)
    built: Counter[str] = field(default_factory=Counter)
    near: int = 0
    left_folders: int = 0
    left_threads: int = 0
    left_descriptors: int = 0


class Watch(logging.Handler):
    """Keeps what is logged at WARNING and above, and counts the builds."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.INFO)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._tally.logged.append(self.format(record))
        elif record.name == "app.engine.builder" and record.msg == "a build ended well":
            self._tally.built[record.__dict__["facts"]["job"]] += 1


class Torn(AssertionError):
    """A read that shows what never was."""


def _still_points() -> list[Json]:
    drawn = random.Random(7)
    return [
        {
            "id": n,
            "vectors": {"a": [drawn.gauss(0, 50) for _ in range(4)]},
            "attributes": {"group": n % GROUPS},
        }
        for n in range(STILL)
    ]


def member(of: int, number: int, version: int, edition: int) -> Json:
    """A point of a set."""
    vector = [version, number, of, 1]
    attributes = {"set": of, "version": version, "edition": edition, "n": number}
    return {"id": f"{of}-{number}", "vectors": {"a": vector, "b": vector}, "attributes": attributes}


def state_of(seen: list[Seen], of: int, *, members: int = MEMBERS) -> State:
    """The one state that all members show. Raises Torn."""
    if len(seen) != members or len({one.id for one in seen}) != members:
        raise Torn(f"{len(seen)} of {members} members")
    states = {(one.attributes["version"], one.attributes["edition"]) for one in seen}
    if len(states) != 1:
        raise Torn(f"a mixture of {states}")
    for one in seen:
        if one.attributes["set"] != of or one.id != f"{of}-{one.attributes['n']}":
            raise Torn(f"not a member: {one}")
        for vector in one.vectors.values():
            if vector[:3] != [one.attributes["version"], one.attributes["n"], of]:
                raise Torn(f"a vector of another version: {one}")
    return states.pop()


class Stress:
    """One run: `run` it once."""

    def __init__(self, door: Callable[[], Door], tally: Tally, seed: int = 0) -> None:
        self._door = door
        self._seed = seed
        self._over = threading.Event()
        self.tally = tally

    def run(self, seconds: float) -> None:
        """Begin all threads, let them work, end them."""
        first = self._door()
        first.create("c")
        for of in range(SETS):
            first.upsert("c", [member(of, n, 0, 0) for n in range(MEMBERS)])
            self.tally.acknowledged[of] = (0, 0)
        first.create("still")
        self._still = _still_points()
        for start in range(0, STILL, 1000):
            first.upsert("still", self._still[start : start + 1000])
        jobs: list[Callable[[Door, random.Random], None]] = [
            *(self._writes_set(of) for of in range(SETS)),
            *(self._writes_bucket(number) for number in range(2)),
            self._adds,
            *(self._alters(number) for number in range(2)),
            self._recreates,
            self._visits,
            self._repeats,
            self._asks,
            *[self._reads] * 4,
        ]
        threads = [
            threading.Thread(target=self._guarded, args=(job, number), name=f"stress-{number}")
            for number, job in enumerate(jobs)
        ]
        # Says where every thread hangs if they do not end, then the test's own limit ends them.
        faulthandler.dump_traceback_later(seconds + 90)
        try:
            for thread in threads:
                thread.start()
            time.sleep(seconds)
            self._over.set()
            for thread in threads:
                thread.join(60)
            alive = [thread.name for thread in threads if thread.is_alive()]
        finally:
            faulthandler.cancel_dump_traceback_later()
        if alive:
            self.tally.faults.append(f"threads that do not end: {alive}")
        else:
            with self._noted("the end"):
                added = first.count("c", {"kind": "added"})
                if added != self.tally.writes["added"]:
                    raise Torn(f"{added} of {self.tally.writes['added']} added points")
                for of in range(SETS):
                    state = state_of(first.scroll("c", {"set": of}, 100), of)
                    if state != self.tally.acknowledged[of]:
                        raise Torn(f"{state} is not the last, {self.tally.acknowledged[of]}")
        first.close()

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.tally.faults.append(f"{what}: {traceback.format_exc(limit=-4)}")
            self._over.set()

    def _guarded(self, job: Callable[[Door, random.Random], None], number: int) -> None:
        door = self._door()
        with self._noted(getattr(job, "__name__", "job")):
            job(door, random.Random(self._seed * 1000 + number))
        door.close()

    # ── writers ──────────────────────────────────────────────────────────────────────────────

    def _writes_set(self, of: int) -> Callable[[Door, random.Random], None]:
        def job(door: Door, drawn: random.Random) -> None:
            version = edition = 0
            while not self._over.is_set():
                if drawn.random() < 0.4:
                    edition += 1
                    if door.patch("c", {"set": of}, {"edition": edition}) != MEMBERS:
                        raise Torn("a patch found half a set")
                else:
                    version, edition = version + 1, 0
                    points = [member(of, n, version, 0) for n in range(MEMBERS)]
                    door.upsert("c", drawn.sample(points, MEMBERS))
                self.tally.acknowledged[of] = (version, edition)
                self.tally.writes["sets"] += 1
                seen = state_of(door.scroll("c", {"set": of}, 100), of)
                if seen != (version, edition):
                    raise Torn(f"wrote {(version, edition)}, and saw {seen}")

        return job

    def _writes_bucket(self, number: int) -> Callable[[Door, random.Random], None]:
        def job(door: Door, drawn: random.Random) -> None:
            own: dict[str, int] = {}
            while not self._over.is_set():
                if len(own) > 400 or drawn.random() < 0.3:
                    colour = drawn.randrange(3)
                    gone = {one for one, of in own.items() if of == colour}
                    if door.delete("c", {"bucket": number, "colour": colour}) != len(gone):
                        raise Torn("a delete found others than were written")
                    own = {one: of for one, of in own.items() if one not in gone}
                else:
                    new = {
                        f"bucket-{number}-{drawn.randrange(1000)}": drawn.randrange(3)
                        for _ in range(drawn.choice([1, 10, 60]))
                    }
                    door.upsert(
                        "c",
                        [
                            {
                                "id": one,
                                "vectors": {"a": [drawn.gauss(0, 50) for _ in range(4)]},
                                "attributes": {"bucket": number, "colour": colour},
                            }
                            for one, colour in new.items()
                        ],
                    )
                    own |= new
                self.tally.writes["buckets"] += 1
                colour = drawn.randrange(3)
                counted = door.count("c", {"bucket": number, "colour": colour})
                if counted != sum(of == colour for of in own.values()):
                    raise Torn("a writer does not find what it wrote")

        return job

    def _adds(self, door: Door, drawn: random.Random) -> None:
        while not self._over.is_set():
            number = self.tally.writes["added"]
            vectors = {"a": [drawn.gauss(0, 50) for _ in range(4)]}
            point = {"id": number, "vectors": vectors, "attributes": {"kind": "added"}}
            door.upsert("c", [point])
            self.tally.writes["added"] += 1
            if len(door.get("c", [number])) != 1:
                raise Torn("an added point is not there")

    def _alters(self, number: int) -> Callable[[Door, random.Random], None]:
        def job(door: Door, drawn: random.Random) -> None:
            field, kinds = f"field{number}", ["keyword", "integer", None]
            while not self._over.is_set():
                kind = drawn.choice(kinds)
                if door.alter("c", {field: kind}).get(field) != kind:
                    raise Torn("an alteration was undone by another one")
                self.tally.writes["alters"] += 1
                self._over.wait(0.02)

        return job

    def _recreates(self, door: Door, drawn: random.Random) -> None:
        while not self._over.is_set():
            door.create("side")
            if door.count("side", {}) != 0:
                raise Torn("a new collection holds something")
            size = drawn.choice([1, 50, 250])
            points = [member(0, n, self.tally.writes["drops"], 0) for n in range(size)]
            door.upsert("side", points)
            self._over.wait(drawn.choice([0, 0.05, 0.5]))  # a build may be anywhere
            if door.count("side", {}) != size:
                raise Torn("a collection lost something")
            door.drop("side")
            self.tally.writes["drops"] += 1

    def _repeats(self, door: Door, drawn: random.Random) -> None:
        while not self._over.is_set():
            door.upsert("still", drawn.sample(self._still, 150))
            self.tally.writes["repeated"] += 1
            self._over.wait(3.0)

    # ── readers ──────────────────────────────────────────────────────────────────────────────

    def _visits(self, door: Door, drawn: random.Random) -> None:
        """Read a collection that comes and goes: one generation of it, or none."""
        while not self._over.is_set():
            try:
                versions = {one.attributes["version"] for one in door.scroll("side", {}, 1000)}
                asked = {"using": "a", "vector": [1, 2, 3, 4], "filter": {}, "k": 300}
                (found,) = door.batch("side", [asked])
            except Gone:
                self._over.wait(0.005)
                continue
            finally:
                self.tally.reads["side"] += 1
            for seen in (versions, {one.attributes["version"] for one in found.hits}):
                if len(seen) > 1:
                    raise Torn("two generations of a collection")
            if found.matches != len(found.hits) or found.matches not in (0, 1, 50, 250):
                raise Torn("half of a collection")

    def _asks(self, door: Door, drawn: random.Random) -> None:
        """Ask the still collection by groups, exactly and not: the truth is always the same."""
        while not self._over.is_set():
            near = [drawn.gauss(0, 50) for _ in range(4)]
            group = drawn.randrange(GROUPS)
            asked: Json = {"using": "a", "vector": near, "filter": {"group": group}, "k": 10}
            exact, quick = door.batch("still", [asked | {"params": {"exact": True}}, asked])
            self.tally.reads["still"] += 1
            points = [one for one in self._still if one["attributes"]["group"] == group]
            truth = sorted(math.dist(near, one["vectors"]["a"]) for one in points)[:10]
            for found in (exact, quick):
                if found.matches != STILL // GROUPS or len(found.hits) != 10:
                    raise Torn("points of the still collection are missing")
                if {hit.attributes["group"] for hit in found.hits} != {group}:
                    raise Torn("a hit does not pass the filter")
            for hit, distance in zip(exact.hits, truth, strict=True):
                if abs(hit.score + distance) > 1e-3:
                    raise Torn("an exact answer is not the truth")
            self.tally.near += sum(-hit.score <= truth[-1] + 1e-3 for hit in quick.hits)

    def _reads(self, door: Door, drawn: random.Random) -> None:
        latest: dict[int, State] = dict.fromkeys(range(SETS), (0, 0))
        while not self._over.is_set():
            of = drawn.randrange(SETS)
            kind = drawn.choice(["get", "scroll", "count", "batch", "one", "pair", "pair"])
            least = max(latest[of], self.tally.acknowledged[of])
            state = getattr(self, f"_{kind}")(door, drawn, of)
            self.tally.reads[kind] += 1
            if state is None:
                continue
            if state < least:
                raise Torn(f"{kind}: {state} after {least}")
            latest[of] = state

    def _get(self, door: Door, drawn: random.Random, of: int) -> State:
        ids = [f"{of}-{n}" for n in range(MEMBERS)]
        return state_of(door.get("c", drawn.sample(ids, MEMBERS)), of)

    def _scroll(self, door: Door, drawn: random.Random, of: int) -> State:
        return state_of(door.scroll("c", {"set": of, "version": {"$gte": 0}}, 100), of)

    def _count(self, door: Door, drawn: random.Random, of: int) -> None:
        if door.count("c", {"set": of, "edition": {"$exists": True}}) != MEMBERS:
            raise Torn("a count saw half a write")

    def _one(self, door: Door, drawn: random.Random, of: int) -> State | None:
        """One short query: those run on the event loop of the server."""
        asked = {"using": "a", "vector": [0, 0, 0, 0], "filter": {"set": of}, "k": 100}
        (found,) = door.batch("c", [asked])
        return self._state(found, of)

    def _pair(self, door: Door, drawn: random.Random, of: int) -> State:
        """Two kinds of read with nothing between them: a small point first, and then the whole."""
        (first,) = door.get("c", [f"{of}-{drawn.randrange(MEMBERS)}"])
        state = self._scroll(door, drawn, of)
        before = (first.attributes["version"], first.attributes["edition"])
        if state < before:
            raise Torn(f"a scroll shows {state} after a get showed {before}")
        return state

    def _batch(self, door: Door, drawn: random.Random, of: int) -> State:
        """By both vectors, with all matches and the nearest few, and from a point of the set."""
        near = [drawn.randrange(100) for _ in range(4)]
        start = drawn.randrange(MEMBERS)
        where: Json = {"filter": {"set": of}}
        whole, other, few, by_id = door.batch(
            "c",
            [
                {"using": "a", "vector": near, "k": 100, **where},
                {"using": "b", "vector": near, "k": 100, "params": {"exact": True}, **where},
                {"using": "b", "vector": near, "k": 5, **where},
                {"using": "a", "id": f"{of}-{start}", "k": 100, **where},
            ],
        )
        states = {self._state(found, of) for found in (whole, other)}
        states.add(state_of(few.hits, of, members=5))
        states.add(state_of(by_id.hits, of, members=MEMBERS - 1))
        if len(states) != 1:
            raise Torn(f"a batch over {states}")
        for hit in by_id.hits:  # of one version, they stand in a row
            if abs(hit.score + abs(hit.attributes["n"] - start)) > 1e-4:
                raise Torn("searched from a vector of another version")
        return states.pop()

    def _state(self, found: Found, of: int) -> State:
        if found.matches != MEMBERS:
            raise Torn(f"{found.matches} matches of {MEMBERS}")
        return state_of(found.hits, of)


def run(folder: Path, *, over_http: bool, seconds: float, seed: int = 0) -> Tally:
    """Run the whole on a fresh directory, and look at what it leaves."""
    tally = Tally()
    watch = Watch(tally)
    encoders = tiny() if over_http else None
    gc.collect()
    threads, descriptors = threading.active_count(), _descriptors()
    ours = logging.getLogger("app")
    level = ours.level
    ours.setLevel(logging.INFO)
    logging.getLogger().addHandler(watch)
    try:
        with (
            mock.patch.object(builder, "_IDLE_S", 0.0),
            mock.patch.object(builder, "_TICK_S", 0.05),
            mock.patch.object(builds, "WORTH_COVERS_NS", 1.0),
        ):
            _work(folder, encoders, tally, seconds, seed)
    finally:
        logging.getLogger().removeHandler(watch)
        ours.setLevel(level)
    gc.collect()
    tally.left_folders = sum(1 for _ in (folder / "collections").iterdir()) - 2
    tally.left_threads = threading.active_count() - threads
    tally.left_descriptors = _descriptors() - descriptors
    if encoders is not None:
        encoders.end()
    return tally


def _work(
    folder: Path, encoders: EncoderRegistry | None, tally: Tally, seconds: float, seed: int
) -> None:
    """Open, run, close. In a function of its own, so that nothing is held after it."""
    backend = LocalBackend(
        folder, sync=False, head_points=200, build_threads=1, costs=DEAR, cover_share=100
    )
    if encoders is None:
        Stress(lambda: EngineDoor(backend), tally, seed).run(seconds)
        backend.close()
    else:
        chosen = settings(folder.parent, search_threads=2)
        with served(chosen, backend, encoders) as server:
            Stress(lambda: HttpDoor(server.url), tally, seed).run(seconds)


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident_bytes() -> int:
    """Memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


__all__ = ["Stress", "Tally", "resident_bytes", "run"]
