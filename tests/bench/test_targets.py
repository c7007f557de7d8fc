"""The verdicts of `bench.filtered`: what is measured is judged, what is not says so."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from bench.measures import CODED, FLOATS, THEIRS, Point
from bench.targets import Cells, Measured, Target, targets

RAW_MB = 100.0


def point(per_second: float, recall: float = 0.97, compile_us: float = 0.0) -> Point:
    return Point(None, recall, per_second, 1.0, 2.0, 50, compile_us)


def cells(**peers: tuple[float, float]) -> Cells:
    """Ours at 1000 and 1200 a second; peers' speeds without a filter and with one."""
    rows = {"likewise": (1000.0, 1200.0), **peers}
    return {
        label: {"no filter": (point(plain), True), "year": (point(filtered), True)}
        for label, (plain, filtered) in rows.items()
    }


def judged(measured: Measured, compared: Cells) -> dict[str, Target]:
    """The targets by their number."""
    return {target.name.split()[0]: target for target in targets(measured, compared, RAW_MB)}


def beside(two: float, busy_ms: float) -> dict[str, Any]:
    busy = [
        {"interval_ms": 5.0, "p50_ms": 99.0, "p99_ms": 99.0},
        {"interval_ms": 0.5, "p50_ms": busy_ms, "p99_ms": 9.0},
    ]
    return {"year": {"one": 100.0, "two": two, "busy": busy}}


def system(build_s: float = 0.0, memory_mb: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"build_s": build_s, "memory_mb": memory_mb, "anonymous_mb": 1.0, **more}


def grown(*costs: tuple[float, float]) -> list[dict[str, Any]]:
    """Sizes with the median times of an unfiltered and of a filtered query."""
    return [
        {"points": points, "workloads": {"no filter": {"p50_ms": a}, "year": {"p50_ms": b}}}
        for points, (a, b) in zip((10_000, 60_000, 240_000), costs, strict=True)
    ]


def test_nothing_measured_is_nothing_judged() -> None:
    assert {target.met for target in targets(Measured(), {}, RAW_MB)} == {None}


def test_a_filtered_workload_that_is_slower_than_unfiltered_is_a_miss() -> None:
    assert judged(Measured(), cells())["1b"].met
    slower = {"likewise": {"no filter": (point(1000), True), "year": (point(990), True)}}
    assert judged(Measured(), slower)["1b"].met is False


def test_a_recall_that_is_too_low_is_a_miss() -> None:
    low = {"likewise": {"no filter": (point(1000, recall=0.949), False)}}
    assert judged(Measured(), low)["1a"].met is False


def test_one_peer_ahead_in_one_workload_is_a_miss_and_is_named() -> None:
    ahead = judged(Measured(), cells(usearch=(999, 1100)))
    assert ahead["3a"].met
    assert ahead["3b"].met
    behind = judged(Measured(), cells(usearch=(999, 1201)))["3a"]
    assert behind.met is False
    assert "year" in behind.measured
    assert "usearch" in behind.measured


def test_a_peer_below_the_recall_is_not_ahead() -> None:
    compared = {**cells(), "fast †": {"year": (point(9999, recall=0.5), False)}}
    assert judged(Measured(), compared)["3a"].met is None


def test_filters_made_beforehand_count_in_one_verdict_only() -> None:
    compared = {**cells(), "flat †": {"year": (point(1300, compile_us=500), True)}}
    told = judged(Measured(), compared)
    assert told["3a"].met
    assert told["3b"].met is False


@pytest.mark.parametrize(("ours", "met"), [(1410, True), (1390, False)])
def test_the_walk_is_judged_at_equal_recall(ours: float, met: bool) -> None:
    curves = {
        THEIRS: [point(2000, 0.90), point(1000, 0.95), point(500, 0.99)],
        CODED: [point(5000, 0.90), point(ours, 0.95), point(600, 0.99)],
        FLOATS: [point(900, 0.95)],
    }
    walk = {"points": {name: [asdict(one) for one in swept] for name, swept in curves.items()}}
    assert judged(Measured(walk=walk), {})["2"].met is met


def test_threads_are_judged_as_the_service_runs_them() -> None:
    told = judged(Measured(systems={"likewise": {"beside": beside(171, busy_ms=4.9)}}), {})
    assert told["4a"].met
    assert told["4b"].met
    told = judged(Measured(systems={"likewise": {"beside": beside(169, busy_ms=5.1)}}), {})
    assert told["4a"].met is False
    assert told["4b"].met is False


def test_memory_and_build_are_judged_at_each_stage() -> None:
    systems = {
        "likewise": system(build_s=29, memory_mb=170, plain=system(build_s=12, memory_mb=120)),
        "likewise vectors on disk": system(memory_mb=40),
        "hnswlib": system(build_s=10),
    }
    told = judged(Measured(systems=systems), {})
    assert (told["5a"].met, told["5b"].met, told["5c"].met) == (True, False, True)
    assert told["6"].met
    systems["hnswlib"]["build_s"] = 9
    assert judged(Measured(systems=systems), {})["6"].met is False


def test_growth_is_judged_beside_log_n_unless_a_query_stays_below_unfiltered() -> None:
    level = grown((1.0, 0.1), (1.2, 0.5), (1.4, 1.3))
    assert judged(Measured(growth=level), {})["7"].met
    steep = grown((1.0, 0.1), (1.2, 0.5), (1.4, 1.5))
    assert judged(Measured(growth=steep), {})["7"].met is False
    unfiltered = grown((1.0, 1.0), (2.0, 1.0), (4.0, 1.0))
    assert judged(Measured(growth=unfiltered), {})["7"].met is False


def test_a_size_that_failed_leaves_the_others_to_be_judged() -> None:
    sizes = [*grown((1.0, 1.0), (1.1, 1.1), (9.0, 9.0))[:2], {"failed": "ended after 9 s"}]
    assert judged(Measured(growth=sizes), {})["7"].met
