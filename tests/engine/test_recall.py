"""Recall of graph answers at each stage of a segment's life; seeded, with a stated budget."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.attributes.filter import Filter
from app.backends.base import Selection
from app.backends.local import LocalBackend
from app.engine import builder, builds
from app.planner.costs import Costs
from app.types import F32, F64, Definition, Metric, Point, VectorField
from tests.builders import definition, point, random_points, search, settle, upsert_all, where

COUNT, DIMENSION = 12_000, 8
QUERIES = np.random.default_rng(99).normal(size=(40, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def points() -> list[Point]:
    return random_points(COUNT, DIMENSION)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    opened = LocalBackend(tmp_path, sync=False, head_points=COUNT, build_threads=2)
    opened.create("c", definition(DIMENSION, Metric.L2))
    yield opened
    opened.close()


def measure(backend: LocalBackend, filter: Filter | None = None) -> tuple[float, set[str]]:
    """Recall@10 of default answers against exact ones, and the plans that gave them."""
    hits = wanted = 0
    plans = set()
    for query in QUERIES:
        ours, truth = backend.search(
            "c", [search(query, filter), search(query, filter, exact=True)]
        )
        assert truth.exact
        assert ours.matches == truth.matches
        assert len(ours.hits) == len(truth.hits)
        plans.add(ours.plan)
        found = {hit.record.id for hit in ours.hits}
        hits += len(found & {hit.record.id for hit in truth.hits})
        wanted += len(truth.hits)
    return hits / wanted, plans


def test_recall_with_default_costs(backend: LocalBackend, points: list[Point]) -> None:
    upsert_all(backend, "c", points)
    settle(backend, "c")
    assert [part["kind"] for part in backend.describe("c").segments] == ["graph", "head"]
    recall, plans = measure(backend)
    assert plans == {"graph"}
    assert recall >= 0.98  # 1.0 when written
    for groups in ([1], [1, 2, 3], list(range(9))):
        recall, _ = measure(backend, where(group={"$in": groups}))
        assert recall >= 0.98
    _, plans = measure(backend, where(group={"$lt": 9}))
    assert plans == {"graph"}


def test_recall_after_inserts_into_a_built_segment(
    backend: LocalBackend, points: list[Point]
) -> None:
    upsert_all(backend, "c", points[: COUNT // 2] + points[: COUNT // 2])
    backend.close()
    folder = backend._folder.parent
    reopened = LocalBackend(folder, sync=False, head_points=COUNT // 2, build_threads=2)
    try:
        settle(reopened, "c")
        upsert_all(reopened, "c", points[COUNT // 2 :])
        settle(reopened, "c")
        segments = reopened.describe("c").segments
        assert segments == [
            {"kind": "graph", "points": COUNT, "deleted": 0},
            {"kind": "head", "points": 0, "deleted": 0},
        ]
        recall, plans = measure(reopened)
        assert plans == {"graph"}
        assert recall >= 0.98
    finally:
        reopened.close()


def test_recall_where_some_points_lack_the_vector(tmp_path: Path) -> None:
    """Such a graph stands over some of the slots, and is extended like any other."""
    fields = {name: VectorField(name, DIMENSION, Metric.L2) for name in ("v", "w")}
    backend = LocalBackend(tmp_path, sync=False, head_points=COUNT // 2, build_threads=2)
    backend.create("c", Definition(fields))
    every = random_points(COUNT, DIMENSION)
    mixed = [
        Point(p.id, {"w" if n % 7 == 0 else "v": p.vectors["v"]}, p.attributes)
        for n, p in enumerate(every)
    ]
    for half in (mixed[: COUNT // 2], mixed[COUNT // 2 :]):
        upsert_all(backend, "c", half)
        settle(backend, "c")
    recall, plans = measure(backend)
    assert plans == {"graph"}
    assert recall >= 0.98
    backend.close()


# ── one life, by selectivity ─────────────────────────────────────────────────────────────────

SHARES = {"half": 0.5, "third": 0.3, "tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}
FIRST, LATER, WIDE = 5000, 500, 24
DEAR = Costs(code_scan_fixed_ns=300, code_visit_fixed_ns=85)  # a few hundred rows are worth a graph

Case = tuple[str, str]
EVERYTHING: Case = ("", "")
CASES: tuple[Case, ...] = (
    EVERYTHING,
    *(("cluster", value) for value in SHARES),  # of vectors that lie together
    *(("chance", value) for value in SHARES),  # of vectors anywhere
)
STAGES = ("built", "grown", "thinned", "merged", "covered")


@dataclass(frozen=True)
class Plan:
    """How the segment was searched: by which plan, and over a graph of how many nodes."""

    name: str
    nodes: int


@dataclass(frozen=True)
class Observed:
    """What one stage showed: the parts, and of every case its matches, recall and plans."""

    segments: list[dict[str, Any]]
    matches: dict[Case, int]
    recall: dict[Case, float]
    plans: dict[Case, set[Plan]]


class Clusters:
    """Points in clusters of stated sizes, questions about each, and the answers that are due.

    `cluster` names a point's cluster; `chance` deals the same names out again at random.
    """

    def __init__(self, metric: Metric) -> None:
        rng = np.random.default_rng(7)
        self.metric = metric
        count = FIRST + LATER
        sizes = [round(share * count) for share in SHARES.values()]
        clusters = np.repeat([*SHARES, "rest"], [*sizes, count - sum(sizes)])
        self.labels = {"cluster": rng.permutation(clusters), "chance": rng.permutation(clusters)}
        names, near = np.unique(self.labels["cluster"], return_inverse=True)
        centres = rng.normal(size=(len(names), WIDE))
        self.vectors = (centres[near] + rng.normal(size=(count, WIDE))).astype(np.float32)
        asked = centres[np.arange(30) % len(names)] + rng.normal(size=(30, WIDE))
        self.queries: F32 = asked.astype(np.float32)
        self.distances = self._distances()
        self.alive = np.zeros(count, bool)

    def points(self, rows: Sequence[int]) -> list[Point]:
        """Make points, which are then alive."""
        self.alive[list(rows)] = True
        return [
            point(
                row,
                self.vectors[row],
                cluster=str(self.labels["cluster"][row]),
                chance=str(self.labels["chance"][row]),
            )
            for row in rows
        ]

    def passing(self, case: Case) -> NDArray[np.bool_]:
        """Mark the points that are alive and pass."""
        field, value = case
        return self.alive & (self.labels[field] == value) if field else self.alive

    def _distances(self) -> F64:
        """Compute every question's distance to every point."""
        rows, asked = self.vectors.astype(np.float64), self.queries.astype(np.float64)
        if self.metric is Metric.COSINE:
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            asked /= np.linalg.norm(asked, axis=1, keepdims=True)
        squares = (asked**2).sum(axis=1)[:, None] + (rows**2).sum(axis=1)
        return np.sqrt(squares - 2 * asked @ rows.T)  # of unit vectors it orders like the cosine

    def observe(self, backend: LocalBackend) -> Observed:
        """Ask every question under every filter."""
        told = Observed(backend.describe("c").segments, {}, {}, {})
        for case in CASES:
            field, value = case
            passing = self.passing(case)
            hits = wanted = 0
            plans = set()
            for query, distances in zip(self.queries, self.distances, strict=True):
                question = search(query, where(**{field: value}) if field else None, explain=True)
                (answer,) = backend.search("c", [question])
                found = [int(hit.record.id) for hit in answer.hits]
                assert answer.matches == passing.sum()
                assert len(set(found)) == len(found) == min(10, answer.matches)
                assert passing[found].all()
                last = np.sort(distances[passing])[len(found) - 1]
                hits += int((distances[found] <= last + 1e-6).sum())
                wanted += len(found)
                assert answer.explanation is not None
                part = answer.explanation["parts"][0]
                plans.add(Plan(part["plan"], part.get("nodes", 0)))
            told.matches[case] = int(passing.sum())
            told.recall[case] = hits / wanted
            told.plans[case] = plans
        return told


@pytest.fixture(scope="module", params=[Metric.COSINE, Metric.L2], ids=["cosine", "l2"])
def life(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Observed]:
    """Live through every stage once, and observe each."""
    known = Clusters(request.param)
    backend = LocalBackend(
        tmp_path_factory.mktemp("life"),
        sync=False,
        head_points=FIRST,
        build_threads=1,  # the same graph every time
        cover_share=50,  # links weigh much beside 24 numbers
        costs=DEAR,
    )
    observed = {}
    try:
        backend.create("c", definition(WIDE, request.param))
        upsert_all(backend, "c", known.points(range(FIRST)))
        settle(backend, "c")
        observed["built"] = known.observe(backend)

        upsert_all(backend, "c", known.points(range(FIRST, FIRST + LATER)))
        observed["grown"] = known.observe(backend)

        delete(backend, known, {3, 13})
        observed["thinned"] = known.observe(backend)

        delete(backend, known, {5, 8, 11})
        settle(backend, "c")
        observed["merged"] = known.observe(backend)

        with pytest.MonkeyPatch.context() as patch:  # what was asked so far gets its covers
            patch.setattr(builder, "_IDLE_S", 0.0)
            patch.setattr(builder, "_TICK_S", 0.02)
            patch.setattr(builds, "WORTH_COVERS_NS", 1.0)
            wait_for_covers(backend, known)
        observed["covered"] = known.observe(backend)
    finally:
        backend.close()
    return observed


def delete(backend: LocalBackend, known: Clusters, twentieths: set[int]) -> None:
    """Delete some twentieths of all points, whatever their attributes."""
    gone = [row for row in range(FIRST + LATER) if row % 20 in twentieths]
    known.alive[gone] = False
    backend.delete("c", Selection(ids=tuple(gone)))


def wait_for_covers(backend: LocalBackend, known: Clusters) -> None:
    deadline = time.monotonic() + 30
    waiting = [("cluster", "tenth"), ("chance", "tenth")]
    while waiting:
        assert time.monotonic() < deadline, "no cover is built"
        field, value = waiting[-1]
        question = search(known.queries[0], where(**{field: value}), explain=True)
        (answer,) = backend.search("c", [question])
        assert answer.explanation is not None
        if answer.explanation["parts"][0]["plan"] == "graph":
            waiting.pop()
        else:
            time.sleep(0.02)


@pytest.mark.parametrize("stage", STAGES)
def test_recall_of_every_selectivity(life: dict[str, Observed], stage: str) -> None:
    """Whatever the share that passes, and wherever its vectors lie."""
    recall = life[stage].recall
    for case in CASES:
        assert recall[case] >= 0.9, case  # .94 at the lowest when written, .99 on average
        if plan_names(life[stage], case) == {"exact"}:
            assert recall[case] == 1, case
    assert np.mean(list(recall.values())) >= 0.97


def test_the_life_goes_through_its_stages(life: dict[str, Observed]) -> None:
    def parts(stage: str) -> list[tuple[int, int]]:
        return [(part["points"], part["deleted"]) for part in life[stage].segments]

    assert parts("built") == [(FIRST, 0), (0, 0)]
    assert parts("grown") == [(FIRST, 0), (LATER, 0)]
    assert parts("thinned") == [(FIRST * 9 // 10, FIRST // 10), (LATER * 9 // 10, LATER // 10)]
    left = (FIRST + LATER) * 3 // 4
    assert parts("merged") == parts("covered") == [(left, 0), (0, 0)]


@pytest.mark.parametrize("stage", ["built", "grown", "thinned", "merged"])
def test_what_is_common_is_walked_and_what_is_rare_is_scanned(
    life: dict[str, Observed], stage: str
) -> None:
    whole = FIRST if stage != "merged" else (FIRST + LATER) * 3 // 4
    assert life[stage].plans[EVERYTHING] == {Plan("graph", whole)}
    for field in ("cluster", "chance"):
        for value in ("half", "third"):
            assert life[stage].plans[field, value] == {Plan("graph", whole)}
        for value in ("tenth", "hundredth", "thousandth"):
            assert life[stage].plans[field, value] == {Plan("exact", 0)}


def test_what_was_asked_is_walked_over_its_own_points_unless_it_is_rare(
    life: dict[str, Observed],
) -> None:
    covered = life["covered"]
    for field in ("cluster", "chance"):
        for value in ("half", "third", "tenth"):
            case = field, value
            assert covered.plans[case] == {Plan("graph", covered.matches[case])}
        for value in ("hundredth", "thousandth"):
            assert covered.plans[field, value] == {Plan("exact", 0)}


def plan_names(observed: Observed, case: Case) -> set[str]:
    return {plan.name for plan in observed.plans[case]}
