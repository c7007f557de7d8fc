"""The report of `bench.filtered`: tables as Markdown, and the plot."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.beside import SERVED_S
from bench.measures import (
    CODED,
    FLOATS,
    RECALL,
    THEIRS,
    Point,
    growth_beside_log,
    growth_exponent,
    operating_point,
    speed_at,
    table,
)
from bench.peers import REOPENED
from bench.plot import draw
from bench.targets import (
    OURS,
    Cells,
    Measured,
    best_peer,
    counted,
    prebuilt,
    targets,
    walk_factor,
    walk_lines,
)

Results = Mapping[str, Mapping[str, Any]]
Lines = dict[str, dict[str, list[Point]]]
NONE = "–"


def report(chosen: argparse.Namespace, measured: Measured) -> None:
    """Print the tables and draw the plot."""
    done = {name: told for name, told in measured.systems.items() if "failed" not in told}
    lines = curves(done)
    cells = {
        label: {name: operating_point(swept, RECALL) for name, swept in rows.items()}
        for label, rows in lines.items()
    }
    shares = {name: share for told in done.values() for name, share in told["selectivity"].items()}
    heads = [
        f"{name} ({shares[name]:.2g})" if name in shares else name for name in chosen.workloads
    ]
    raw_mb = chosen.points * 384 * 4 / 2**20
    section(
        f"{measured.title}\n\n## Queries per second at recall@10 ≥ {RECALL:.2f}",
        "In brackets recall and, where swept, the smallest width that reached it. A miss shows its "
        "best recall. Prebuilt filters (†) cost nothing here; their cost is two tables below.",
        ["system", *heads],
        list(speeds(measured.systems, cells, chosen.workloads)),
    )
    section("## Ratios", "", ["", *chosen.workloads], list(ratios(cells, lines, chosen.workloads)))
    section(
        "## † Filters made outside the timing (numpy and inverted lists)",
        "",
        ["system", *chosen.workloads],
        list(compiled(cells, chosen.workloads)),
    )
    if "points" in measured.walk:
        walked(walk_lines(measured.walk))
    elif measured.walk:
        print(f"\n## The walk itself\n\nnot available: {measured.walk['failed']}")
    section(
        "## Build and memory",
        "Build: data in memory to ready to search, payloads and durability included where a system "
        "has them, all cores, waiting for nothing not counted. Memory: growth of the process's "
        "resident set by index and searches, after a rehearsal with 500 points; mapped files "
        "count, in brackets they do not. Of ours every page of every mapped file counts, whether "
        "a search came by or not, except with vectors on disk.",
        ["system", "version", "build s", "÷ hnswlib", "memory MB", "÷ raw float32", "what"],
        list(footprints(done, raw_mb)),
    )
    if any(told["beside"] for told in done.values()):
        section(
            "## Threads, not pinned",
            "Searches per second with one and two threads, in turns, the best rounds; then one "
            "thread's latency alone and beside a thread that only computes in Python, with "
            "Python's switch interval of 5 ms and with the one that `likewise serve` sets, "
            f"{SERVED_S * 1000:g} ms. Hot filters: the questions repeat.",
            [
                "system",
                "workload",
                "1 thread",
                "2 threads",
                "scaling",
                "alone p50 / p99 ms",
                "beside busy Python, 5 ms: p50 / p99 ms",
                f"as served, {SERVED_S * 1000:g} ms: p50 / p99 ms",
            ],
            list(beside(done)),
        )
    if measured.growth:
        sizes = [told for told in measured.growth if "workloads" in told]
        section(
            "## Growth, ours at default settings",
            "Where the data ends the papers repeat, the copies with Gaussian noise of length .5 on "
            "their unit vectors. Medians per query; exponent e: cost ∝ points^e; ÷ log₂ n: cost "
            "per query divided by log₂ of the points, beside that of the smallest size (1 "
            "throughout: cost grows like log n).",
            [
                "workload",
                *(f"{size['points']:,}: QPS, distances, recall" for size in sizes),
                "e time",
                "time ÷ log₂ n",
                "e distances",
                "distances ÷ log₂ n",
            ],
            grown_rows(sizes),
        )
        for told in measured.growth:
            if reason := told.get("failed", told.get("ended")):
                print(f"\nOne size is missing or not complete: {reason}")
    section(
        "## Targets",
        "",
        ["target", "measured", ""],
        [target.row for target in targets(measured, cells, raw_mb)],
    )
    walks = walk_lines(measured.walk) if "points" in measured.walk else {}
    draw(chosen.results / "filtered.png", chosen.workloads, lines, walks)


def walked(lines: Mapping[str, list[Point]]) -> None:
    """Print the table of `bench.walk`."""
    factors = (f"{walk_factor(lines, name, RECALL):.2f} × ({name})" for name in (CODED, FLOATS))
    section(
        "## The walk itself, over the same graph",
        "No filter, no engine: hnswlib's `knn_query` and our `walk`, called from Python with one "
        "query each, in turns in one process on one core, over the links of one index. In the last "
        "columns ours is divided by hnswlib's at the same `ef`, and both are read off their "
        f"curves at our recall there; at recall {RECALL} that is {' and '.join(factors)}.",
        [
            "ef",
            *(f"{name}: QPS (recall)" for name in (THEIRS, CODED, FLOATS)),
            *(f"{name} ÷ hnswlib, equal ef" for name in (CODED, FLOATS)),
            *(f"{name} ÷ hnswlib, equal recall" for name in (CODED, FLOATS)),
        ],
        list(walk_rows(lines)),
    )


def section(title: str, text: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print one table under its title."""
    print(f"\n{title}\n")
    if text:
        print(f"{text}\n")
    print(table(header, rows))


def headline(points: int, queries: int) -> str:
    """Say what was measured, and where."""
    return (
        f"{points:,} papers × 384 float32, {queries} questions a workload; "
        f"Python {platform.python_version()}, {os.cpu_count()} cores ({processor()}), search on one"
    )


def curves(done: Results) -> Lines:
    """Every mode of every system as a line of the table: label → workload → points."""
    return {
        f"{system} {mode}".strip() + (" †" if told["compiles"] else ""): {
            name: [Point(**point) for point in swept] for name, swept in rows.items()
        }
        for system, told in done.items()
        for mode, rows in told["points"].items()
    }


def speeds(systems: Results, cells: Cells, workloads: list[str]) -> Iterator[list[str]]:
    """Write the main table; what was ended shows what it had measured."""
    for label, row in cells.items():
        yield [label, *(speed(*row[name]) if name in row else NONE for name in workloads)]
    for system, told in systems.items():
        if "failed" in told:
            yield [system, f"not available: {told['failed']}"]
        elif "ended" in told:
            had = sum(len(rows) for rows in told["points"].values())
            yield [system, f"{told['ended']}, after {had} workloads"]


def speed(point: Point, reached: bool) -> str:
    """Write a cell of the main table."""
    recall = f"{point.recall:.3f}".removeprefix("0")
    width = "" if point.width is None else f" @{point.width}"
    return f"{'' if reached else 'misses: '}{point.per_second:,.0f} ({recall}{width})"


def ratios(cells: Cells, lines: Lines, workloads: list[str]) -> Iterator[list[str]]:
    """Compare ours as it comes with itself unfiltered, and with the best peer."""
    ours = {name: point for name, (point, _) in cells.get(OURS, {}).items()}

    def row(title: str, cell: Any) -> list[str]:
        return [title, *(cell(name, ours[name]) if name in ours else NONE for name in workloads)]

    if "no filter" in ours:
        base = ours["no filter"].per_second
        yield row("ours ÷ ours unfiltered", lambda _, point: f"{point.per_second / base:.2f}")
    graphs = lines.get("hnswlib †", {})

    def beside_hnswlib(name: str, point: Point) -> str:
        if name not in graphs:
            return NONE
        return f"{point.per_second / speed_at(graphs[name], point.recall):.2f}"

    if graphs:
        yield row("ours ÷ hnswlib at our recall", beside_hnswlib)
    for title, rate in (
        ("ours ÷ best peer, prebuilt filters free", prebuilt),
        ("ours ÷ best peer, every filter counted", counted),
    ):

        def beside_best(name: str, point: Point, rate: Any = rate) -> str:
            best = best_peer(cells, name, rate)
            if best is None:
                return "no peer reaches it"
            return f"{point.per_second / best[1]:.2f} ({best[0]})"

        yield row(title, beside_best)


def compiled(cells: Cells, workloads: list[str]) -> Iterator[list[str]]:
    """Write what the prebuilt filters cost: median µs, and queries per second with them."""
    for label, row in cells.items():
        if label.endswith("†"):
            points = [row[name][0] if name in row else None for name in workloads]
            yield [
                label,
                *(
                    NONE if p is None else f"{p.compile_us:,.0f} µs → {counted(p):,.0f}"
                    for p in points
                ),
            ]


def walk_rows(lines: Mapping[str, list[Point]]) -> Iterator[list[str]]:
    """Write one row for every `ef`."""
    reach = [point.recall for point in lines[THEIRS]]
    for at, base in enumerate(lines[THEIRS]):
        ours = [lines[name][at] for name in (CODED, FLOATS)]
        yield [
            str(base.width),
            *(f"{point.per_second:,.0f} ({point.recall:.3f})" for point in (base, *ours)),
            *(f"{point.per_second / base.per_second:.2f}" for point in ours),
            *(
                f"{walk_factor(lines, name, point.recall):.2f}"
                if min(reach) <= point.recall <= max(reach)
                else NONE
                for name, point in zip((CODED, FLOATS), ours, strict=True)
            ),
        ]


def footprints(done: Results, raw_mb: float) -> Iterator[list[str]]:
    """Write build times and memory; ours also as it was when its whole graph was ready."""
    plain = done.get("hnswlib", {}).get("build_s")
    again = {name for names in REOPENED.values() for name in names}

    def row(name: str, version: str, told: Mapping[str, Any], what: str) -> list[str]:
        total, own, build_s = (told[key] for key in ("memory_mb", "anonymous_mb", "build_s"))
        return [
            name,
            version,
            NONE if name in again else f"{build_s:.1f}",
            f"{build_s / plain:.2f}" if plain and name not in again else NONE,
            f"{total:.0f} ({own:.0f})",
            f"{total / raw_mb:.2f} ({own / raw_mb:.2f})",
            what,
        ]

    for system, told in done.items():
        if told["plain"] is not None:
            what = "as it was with one graph over everything, before any filter was asked"
            yield row(f"{system}, plain graph", told["version"], told["plain"], what)
        yield row(system, told["version"], told, told["what"])


def beside(done: Results) -> Iterator[list[str]]:
    """Write what threads did."""
    for system, told in done.items():
        for name, one in told["beside"].items():
            yield [
                system,
                name,
                f"{one['one']:,.0f}",
                f"{one['two']:,.0f}",
                f"{one['two'] / one['one']:.2f}",
                f"{one['alone_p50_ms']:.2f} / {one['alone_p99_ms']:.2f}",
                *(f"{busy['p50_ms']:.2f} / {busy['p99_ms']:.2f}" for busy in one["busy"]),
            ]


def grown_rows(sizes: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Write the median query's speed and distances at every size, and how they grow."""
    if not sizes:
        return []
    rows = []
    for name in sizes[0]["workloads"]:
        measured = [size for size in sizes if name in size["workloads"]]
        told = [size["workloads"][name] for size in measured]
        points = [size["points"] for size in measured]
        growth: list[str] = []
        for cost in ("p50_ms", "distances"):
            costs = [max(one[cost], 1e-9) for one in told]
            if len(costs) < 2:
                growth += [NONE, NONE]
                continue
            logs = growth_beside_log(points, costs)
            growth += [
                f"{growth_exponent(points, costs):.2f}",
                " → ".join(f"{log:.2f}" for log in logs),
            ]
        cells = [
            f"{1000 / one['p50_ms']:,.0f}, {one['distances']:,.0f}, {one['recall']:.3f}"
            for one in told
        ]
        rows.append([name, *cells, *[NONE] * (len(sizes) - len(cells)), *growth])
    builds = [f"{size['build_s']:.1f}" for size in sizes]
    rows.append(["build s", *builds, "", "", "", ""])
    return rows


def processor() -> str:
    """Name the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
