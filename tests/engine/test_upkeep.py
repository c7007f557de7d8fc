"""What a collection does when nobody asks: space and expired points go, live points stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.backends.base import Lifetime, Selection
from app.backends.local import LocalBackend
from app.engine import keeper
from app.engine.upkeep import DEAD_HEAD
from app.planner.costs import Costs
from app.storage.store import Store
from app.types import Metric, Point, Projection
from tests.builders import (
    Clock,
    definition,
    everything,
    point,
    random_points,
    search,
    settle,
    upsert_all,
)

DIMENSION = 64


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalBackend]:
    """Open a database whose upkeep is left to the tests."""
    monkeypatch.setattr(keeper, "_TICK_S", 3600)
    opened = LocalBackend(tmp_path, sync=False, head_points=2000, clock=clock)
    opened.create("c", definition(DIMENSION))
    yield opened
    opened.close()


def keep(backend: LocalBackend, *, idle: bool = True) -> int:
    """Do all the upkeep that is due; returns how many steps it took."""
    steps = 0
    while backend._collection("c").upkeep.step(idle=idle):
        steps += 1
        assert steps < 10_000, "upkeep does not end"
    return steps


def store_of(backend: LocalBackend) -> Store:
    return backend._collection("c")._store


def bytes_of(backend: LocalBackend) -> int:
    """What the store takes on disk, its log included."""
    store = store_of(backend)
    return store.path.stat().st_size + store.log_bytes


def rewrite(backend: LocalBackend, points: int, times: int) -> dict[int, Point]:
    """Write as many points anew as there are, at random, several times; returns what is stored."""
    rng = np.random.default_rng(1)  # another than that of the first points
    stored = {int(one.id): one for one in random_points(points, DIMENSION)}
    upsert_all(backend, "c", stored.values())
    for _ in range(times):
        for _ in range(0, points, 250):
            chosen = rng.choice(points, 250, replace=False).tolist()
            news = [point(n, rng.normal(size=DIMENSION).astype(np.float32), n=n) for n in chosen]
            backend.upsert("c", news)
            stored |= {int(one.id): one for one in news}
            gone = chosen[:20]
            backend.delete("c", Selection(ids=tuple(gone)))
            for n in gone:
                del stored[n]
    return stored


def test_a_store_that_was_rewritten_is_as_small_as_a_fresh_one(
    backend: LocalBackend, tmp_path: Path
) -> None:
    stored = rewrite(backend, 3000, times=4)
    settle(backend, "c")
    before = bytes_of(backend)
    assert keep(backend) > 1
    fresh = LocalBackend(tmp_path / "fresh", sync=False, head_points=10_000)
    fresh.create("c", definition(DIMENSION))
    upsert_all(fresh, "c", stored.values())
    settle(fresh, "c")
    keep(fresh)
    keep(backend)  # again, if a build has written to it meanwhile
    assert bytes_of(backend) <= 1.2 * bytes_of(fresh) < before / 1.5
    assert everything(backend, "c") == everything(fresh, "c")
    fresh.close()


def test_a_store_can_be_read_and_written_between_any_two_steps(backend: LocalBackend) -> None:
    stored = rewrite(backend, 1500, times=2)
    steps = 0
    while backend._collection("c").upkeep.step(idle=True):
        steps += 1
        number = steps % 1500
        new = point(number, np.full(DIMENSION, steps, dtype=np.float32), n=number, step=steps)
        backend.upsert("c", [new])
        stored[number] = new
        (record,) = backend.get("c", [number], Projection(with_vectors=True))
        assert record.attributes == new.attributes
        assert backend.count("c", None) == len(stored)
    assert steps >= 3
    assert everything(backend, "c") == {n: dict(one.attributes) for n, one in stored.items()}


def test_an_emptied_collection_takes_next_to_nothing(backend: LocalBackend) -> None:
    fresh = bytes_of(backend)
    upsert_all(backend, "c", random_points(3000, DIMENSION))
    settle(backend, "c")
    backend.delete("c", Selection(filter=None, ids=tuple(range(3000))))
    settle(backend, "c")
    keep(backend)
    assert bytes_of(backend) < fresh + 200_000  # 128 KB of free pages are left alone
    (head,) = backend._collection("c")._parts.snapshot.parts
    assert head.part.slots == 0
    assert list((store_of(backend).path.parent / "segments").iterdir()) == []


def test_points_that_are_written_again_and_again_do_not_fill_the_head(
    backend: LocalBackend,
) -> None:
    for step in range(DEAD_HEAD // 50 + 2):
        backend.upsert("c", [point(n, np.full(DIMENSION, step), step=step) for n in range(50)])
    backend.delete("c", Selection(ids=(3,)))
    (before,) = backend._collection("c")._parts.snapshot.parts
    assert before.part.slots > DEAD_HEAD
    keep(backend, idle=False)
    (after,) = backend._collection("c")._parts.snapshot.parts
    assert (after.part.slots, after.dead) == (49, 0)
    assert backend.count("c", None) == 49
    backend.upsert("c", [point(3, np.ones(DIMENSION))])
    (answer,) = backend.search("c", [search(np.ones(DIMENSION), k=50)])
    assert len({hit.record.id for hit in answer.hits}) == 50


def test_expired_rows_are_deleted_in_several_writes(backend: LocalBackend, clock: Clock) -> None:
    upsert_all(backend, "c", random_points(1200, DIMENSION))
    backend.patch(
        "c", Selection(ids=tuple(range(1100))), set_={}, unset=[], lifetime=Lifetime(clock.in_ms(9))
    )
    assert keep(backend, idle=False) == 0
    clock.now_s += 9
    assert backend.count("c", None) == 100
    assert store_of(backend).rows().size == 1200
    assert keep(backend, idle=False) >= 3
    assert store_of(backend).rows().size == 100
    assert backend.count("c", None) == 100
    assert backend._collection("c")._parts.snapshot.due_ms == float("inf")


def test_points_that_expired_while_nobody_ran_are_gone_at_the_start(
    tmp_path: Path, clock: Clock
) -> None:
    for seconds in (0, 10):
        clock.now_s += seconds
        backend = LocalBackend(tmp_path, sync=False, clock=clock)
        backend.create("c", definition(DIMENSION))
        if not seconds:
            one, two = random_points(2, DIMENSION)
            backend.upsert("c", [one, Point(2, two.vectors, {}, None, clock.in_ms(5))])
        assert backend.count("c", None) == (1 if seconds else 2)
        backend.close()


def test_a_search_on_the_loop_gives_up_when_a_point_is_due(
    backend: LocalBackend, clock: Clock
) -> None:
    one, two = random_points(2, DIMENSION)
    backend.upsert("c", [one, Point(2, two.vectors, {}, None, clock.in_ms(5))])
    question = search(np.ones(DIMENSION))
    (answer,) = backend.search_now("c", [question]) or []
    assert answer.matches == 2
    clock.now_s += 5
    assert backend.search_now("c", [question]) is None
    (answer,) = backend.search("c", [question])
    assert answer.matches == 1
    keep(backend)
    (answer,) = backend.search_now("c", [question]) or []
    assert answer.matches == 1


def test_a_store_that_cannot_shrink_is_copied_into_one_that_can(
    backend: LocalBackend, tmp_path: Path
) -> None:
    upsert_all(backend, "c", random_points(3000, DIMENSION))
    store = store_of(backend)
    store._writes.connection.execute("PRAGMA auto_vacuum = NONE")
    store._writes.connection.execute("VACUUM")
    assert not store.space().shrinks
    backend.delete("c", Selection(ids=tuple(range(2900))))
    before = bytes_of(backend)
    keep(backend, idle=False)
    assert not store.space().shrinks
    keep(backend)
    assert store.space().shrinks
    assert bytes_of(backend) < before / 4
    assert everything(backend, "c").keys() == set(range(2900, 3000))


def test_every_live_point_is_found_through_the_graph_after_churn(tmp_path: Path) -> None:
    costs = Costs(scan_fixed_ns=1e9, code_scan_fixed_ns=1e9)
    backend = LocalBackend(tmp_path, sync=False, head_points=1000, costs=costs)
    backend.create("c", definition(DIMENSION, Metric.COSINE))
    stored = rewrite(backend, 3000, times=2)
    settle(backend, "c")
    lost = []
    for number, one in stored.items():
        (answer,) = backend.search("c", [search(one.vectors["v"], k=1)])
        assert answer.plan == "graph"
        if number not in {hit.record.id for hit in answer.hits}:
            lost.append(number)
    backend.close()
    assert lost == []
