"""What the comparison is for: each target, the figure measured for it, and whether it is met.

A target that was not measured in a run says so. Recall counts: a speed below the recall meets
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.beside import SERVED_S
from bench.measures import CODED, RECALL, THEIRS, Point, growth_beside_log, speed_at

OURS, TRUTH = "likewise", "numpy"
WALK_FACTOR = 1.4
SCALING = 1.7
BUSY_P50_MS = 5.0
PLAIN_SHARE, WHOLE_SHARE, CODES_SHARE = 1.25, 1.6, 0.5
BUILD_FACTOR = 3.0
LOG_SLACK = 1.5
"""From the smallest size to the largest, cost ÷ log n may grow by so much: caches get colder."""

Cells = Mapping[str, Mapping[str, tuple[Point, bool]]]
"""Line of the main table → workload → its operating point, and whether that reached the recall."""


@dataclass
class Measured:
    """Everything a run measured, as it is kept in `filtered.json`."""

    title: str = ""
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
    walk: dict[str, Any] = field(default_factory=dict)
    growth: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """A target; `met` is None where nothing was measured."""

    name: str
    measured: str = ""
    met: bool | None = None

    @property
    def row(self) -> list[str]:
        """Write it as a row of a table."""
        verdict = {True: "met", False: "missed", None: "not measured"}[self.met]
        return [self.name, self.measured or "–", verdict]


def targets(measured: Measured, cells: Cells, raw_mb: float) -> list[Target]:
    """Hold what was measured against every target."""
    return [
        *speeds(cells),
        walk_speed(measured.walk),
        *lead(cells),
        *threads(measured.systems),
        *memory(measured.systems, raw_mb),
        *build(measured.systems),
        growth(measured.growth),
    ]


def speeds(cells: Cells) -> Iterator[Target]:
    """Compare each workload with ours without a filter, at default settings."""
    recall = f"1a default settings: recall@10 ≥ {RECALL} in every workload"
    speed = "1b every filtered workload ≥ 1.0 × our own unfiltered speed"
    ours = cells.get(OURS, {})
    yield _lowest(recall, {name: p.recall for name, (p, _) in ours.items()}, RECALL, "{:.3f}")
    base = ours.get("no filter")
    ratios = {
        name: point.per_second / base[0].per_second
        for name, (point, _) in ours.items()
        if base is not None and name != "no filter"
    }
    yield _lowest(speed, ratios, 1.0)


def walk_speed(walk: Mapping[str, Any]) -> Target:
    """Compare the walk with hnswlib's over the same graph, at equal recall."""
    name = f"2 unfiltered search ≥ {WALK_FACTOR} × hnswlib's at equal recall, same graph"
    if "points" not in walk:
        return Target(name)
    lines = walk_lines(walk)
    factor = walk_factor(lines, CODED, RECALL)
    further = walk_factor(lines, CODED, 0.98)
    told = f"{factor:.2f} × at recall {RECALL}, {further:.2f} × at .98"
    return Target(name, told, factor >= WALK_FACTOR)


def walk_lines(walk: Mapping[str, Any]) -> dict[str, list[Point]]:
    """Read the curves of `bench.walk`."""
    return {name: [Point(**point) for point in swept] for name, swept in walk["points"].items()}


def walk_factor(lines: Mapping[str, Sequence[Point]], name: str, recall: float) -> float:
    """Divide a system's speed by hnswlib's, each read off its curve at one recall."""
    return speed_at(lines[name], recall) / speed_at(lines[THEIRS], recall)


def lead(cells: Cells) -> Iterator[Target]:
    """Compare each workload with the best peer there."""
    for name, rate in (
        ("3a ahead of every peer in every workload, every filter counted", counted),
        ("3b the same, the peers' prebuilt filters (†) free", prebuilt),
    ):
        ratios: dict[str, float] = {}
        behind = []
        for workload, (point, _) in cells.get(OURS, {}).items():
            best = best_peer(cells, workload, rate)
            if best is not None:
                ratios[workload] = point.per_second / best[1]
                if ratios[workload] < 1:
                    behind.append(f"{workload}: {ratios[workload]:.2f} × {best[0]}")
        if not ratios:
            yield Target(name)
        elif behind:
            yield Target(name, "behind in " + "; ".join(behind), False)
        else:
            yield _lowest(name, ratios, 1.0)


def counted(point: Point) -> float:
    """Queries per second if each also prepares its filter."""
    return point.per_second_with_compile


def prebuilt(point: Point) -> float:
    """Queries per second with filters made beforehand."""
    return point.per_second


def best_peer(
    cells: Cells, workload: str, rate: Callable[[Point], float]
) -> tuple[str, float] | None:
    """Find the fastest peer that reaches the recall: (its line, queries per second)."""
    reached = {
        label: rate(row[workload][0])
        for label, row in cells.items()
        if not label.startswith((OURS, TRUTH)) and workload in row and row[workload][1]
    }
    return max(reached.items(), key=lambda pair: pair[1]) if reached else None


def threads(systems: Mapping[str, Mapping[str, Any]]) -> Iterator[Target]:
    """Look at two threads, and at one beside a busy one."""
    scaling = f"4a two threads ≥ {SCALING} × one"
    told = systems.get(OURS, {}).get("beside", {})
    yield _lowest(scaling, {name: one["two"] / one["one"] for name, one in told.items()}, SCALING)
    busy = f"4b beside a busy Python thread, as served: median ≤ {BUSY_P50_MS:.0f} ms"
    if not told:
        yield Target(busy)
        return
    worst, figure = max(served(told).items(), key=lambda pair: pair[1])
    text = f"{figure:.2f} ms ({worst})"
    theirs = served(systems.get("hnswlib", {}).get("beside", {}))
    if theirs:
        name, theirs_ms = max(theirs.items(), key=lambda pair: pair[1])
        text += f"; hnswlib's callback {theirs_ms:.1f} ms ({name})"
    yield Target(busy, text, figure <= BUSY_P50_MS)


def served(told: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Pick the medians beside a busy thread, with the service's switch interval."""
    return {
        name: busy["p50_ms"]
        for name, one in told.items()
        for busy in one["busy"]
        if busy["interval_ms"] == SERVED_S * 1000
    }


def memory(systems: Mapping[str, Mapping[str, Any]], raw_mb: float) -> Iterator[Target]:
    """Hold resident memory against the raw vectors."""
    ours = systems.get(OURS, {})
    stages = (
        ("5a memory ≤ {} × raw float32 with one unfiltered graph", ours.get("plain"), PLAIN_SHARE),
        ("5b memory ≤ {} × raw float32 with everything built for filters", ours, WHOLE_SHARE),
        ("5c memory ≤ {} × raw float32 with vectors on disk",
         systems.get(f"{OURS} vectors on disk"), CODES_SHARE),
    )  # fmt: skip
    for name, told, most in stages:
        if not told or "memory_mb" not in told:
            yield Target(name.format(most))
            continue
        share = told["memory_mb"] / raw_mb
        own = told["anonymous_mb"] / raw_mb
        text = f"{share:.2f} × ({own:.2f} without mapped files)"
        yield Target(name.format(most), text, share <= most)


def build(systems: Mapping[str, Mapping[str, Any]]) -> Iterator[Target]:
    """Hold build times against hnswlib's."""
    name = (
        f"6 build with everything ≤ {BUILD_FACTOR:.0f} × hnswlib's plain graph, plain graph first"
    )
    ours = systems.get(OURS, {})
    theirs = systems.get("hnswlib", {}).get("build_s")
    if not theirs or "build_s" not in ours:
        yield Target(name)
        return
    factor = ours["build_s"] / theirs
    text = f"{factor:.2f} ×"
    if ours.get("plain"):
        text += f"; searchable by the plain graph after {ours['plain']['build_s'] / theirs:.2f} ×"
    yield Target(name, text, factor <= BUILD_FACTOR)


def growth(sizes: Sequence[Mapping[str, Any]]) -> Target:
    """Look how the median query's time grows beside log n."""
    name = (
        f"7 cost per query grows like log n: at most {LOG_SLACK} × that from the smallest size to "
        "the largest, or no dearer than unfiltered"
    )
    told = [size for size in sizes if "workloads" in size]
    shared = [
        workload
        for workload in (told[0]["workloads"] if told else ())
        if all(workload in size["workloads"] for size in told)
    ]
    if len(told) < 2 or not shared:
        return Target(name)
    points = [size["points"] for size in told]
    factors: dict[str, float] = {}
    steep = []
    unfiltered = told[-1]["workloads"].get("no filter", {"p50_ms": 0.0})["p50_ms"]
    for workload in shared:
        times = [size["workloads"][workload]["p50_ms"] for size in told]
        factors[workload] = growth_beside_log(points, times)[-1]
        excused = workload != "no filter" and times[-1] <= unfiltered
        if factors[workload] > LOG_SLACK and not excused:
            steep.append(workload)
    if steep:
        text = "; ".join(f"{workload}: {factors[workload]:.2f} ×" for workload in steep)
        return Target(name, text, False)
    text = ", ".join(
        f"{workload} {factors[workload]:.2f} ×"
        for workload in sorted(factors, key=factors.__getitem__, reverse=True)[:3]
    )
    return Target(name, f"steepest: {text}", True)


def _lowest(
    name: str, figures: Mapping[str, float], least: float, form: str = "{:.2f} ×"
) -> Target:
    """Judge by the workload with the lowest figure."""
    if not figures:
        return Target(name)
    worst = min(figures, key=figures.__getitem__)
    reached = sum(figure >= least for figure in figures.values())
    text = f"{form.format(figures[worst])} at the lowest ({worst})"
    if reached < len(figures):
        text += f"; {reached} of {len(figures)} workloads reach it"
    return Target(name, text, figures[worst] >= least)
