"""The report of `bench.filtered`: tables as Markdown, a file of everything, a plot."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.measures import Point, growth_exponent, operating_point, speed_at, table
from bench.worker import TARGET

OURS, TRUTH = "likewise", "numpy"
Results = dict[str, dict[str, Any]]
Lines = dict[str, dict[str, list[Point]]]
Cells = dict[str, dict[str, tuple[Point, bool]]]


def report(chosen: argparse.Namespace, results: Results, growth: list[dict[str, Any]]) -> None:
    """Print the tables and write the files."""
    done = {system: result for system, result in results.items() if "failed" not in result}
    lines = curves(done)
    cells = {
        label: {name: operating_point(swept, TARGET) for name, swept in rows.items()}
        for label, rows in lines.items()
    }
    title = (
        f"{chosen.points:,} papers × 384 float32, {chosen.queries} questions a workload; "
        f"Python {platform.python_version()}, {os.cpu_count()} cores ({processor()}), search on one"
    )
    speeds = [
        [label, *(speed(*row[name]) for name in chosen.workloads)] for label, row in cells.items()
    ]
    for system, result in results.items():
        if "failed" in result:
            speeds.append([system, f"not available: {result['failed']}"])
    shares = next(iter(done.values()))["selectivity"] if done else {}
    heads = [
        f"{name} ({shares[name]:.2g})" if name in shares else name for name in chosen.workloads
    ]
    print(f"{title}\n\n## Queries per second at recall@10 ≥ {TARGET:.2f}\n")
    print(
        "In brackets recall and, where swept, the smallest width that reached it. A miss shows its "
        "best recall. Prebuilt filters (†) cost nothing here; their cost is two tables below.\n"
    )
    print(table(["system", *heads], speeds))
    print("\n## Targets\n")
    print(table(["", *chosen.workloads], list(ratios(cells, lines, chosen.workloads))))
    print("\n## † Filters made outside the timing (numpy and inverted lists)\n")
    print(table(["system", *chosen.workloads], list(compiled(cells, chosen.workloads))))
    print("\n## Build and memory\n")
    print(
        "Build: data in memory to ready to search, payloads and durability included where a system "
        "has them, all cores. Memory: growth of the process's resident set by index and searches, "
        "after a rehearsal with 500 points; mapped files count, in the second figure they do not.\n"
    )
    raw_mb = chosen.points * 384 * 4 / 2**20
    print(
        table(
            ["system", "version", "build s", "÷ hnswlib", "memory MB", "÷ raw float32", "what"],
            list(footprints(done, raw_mb)),
        )
    )
    if any(result["beside"] for result in done.values()):
        print("\n## Threads, not pinned\n")
        print(
            "Searches per second with one and two threads; then one thread's latency alone and "
            "beside a thread that only computes in Python. Hot filters: the questions repeat.\n"
        )
        header = ["system", "workload", "1 thread", "2 threads", "scaling", "alone p50 / p99 ms"]
        print(table([*header, "beside busy Python p50 / p99 ms"], list(beside(done))))
    if growth:
        print("\n## Growth, ours at default settings\n")
        print(
            "Where the data ends the papers repeat, the copies with Gaussian noise of length .5 on "
            "their unit vectors. Medians per query; exponent e: cost ∝ points^e.\n"
        )
        heads = [f"{size:,}: QPS, distances, recall" for size in chosen.growth]
        print(table(["workload", *heads, "e time", "e distances"], grown_rows(growth)))
    chosen.results.mkdir(parents=True, exist_ok=True)
    kept = {"title": title, "systems": results, "growth": growth}
    (chosen.results / "filtered.json").write_text(json.dumps(kept, indent=1))
    plot(chosen, lines)


def curves(done: Results) -> Lines:
    """Every mode of every system as a line of the table: label → workload → points."""
    return {
        f"{system} {mode}".strip() + (" †" if result["compiles"] else ""): {
            name: [Point(**point) for point in swept] for name, swept in rows.items()
        }
        for system, result in done.items()
        for mode, rows in result["points"].items()
    }


def speed(point: Point, reached: bool) -> str:
    """Write a cell of the main table."""
    recall = f"{point.recall:.3f}".removeprefix("0")
    width = "" if point.width is None else f" @{point.width}"
    return f"{'' if reached else 'misses: '}{point.per_second:,.0f} ({recall}{width})"


def ratios(cells: Cells, lines: Lines, workloads: list[str]) -> Iterator[list[str]]:
    """Compare ours as it comes with itself unfiltered, and with the best peer."""
    if OURS not in cells:
        return
    ours = cells[OURS]
    if "no filter" in ours:
        base = ours["no filter"][0].per_second
        yield [
            "ours ÷ ours unfiltered",
            *(f"{ours[n][0].per_second / base:.2f}" for n in workloads),
        ]
    graphs = lines.get("hnswlib †", {})
    if graphs:
        yield [
            "ours ÷ hnswlib at our recall",
            *(
                f"{ours[n][0].per_second / speed_at(graphs[n], ours[n][0].recall):.2f}"
                for n in workloads
            ),
        ]
    peers = {label: row for label, row in cells.items() if not label.startswith((OURS, TRUTH))}
    for title, rate in (
        ("ours ÷ best peer, prebuilt filters free", lambda p: p.per_second),
        ("ours ÷ best peer, every filter counted", lambda p: p.per_second_with_compile),
    ):
        row = [title]
        for name in workloads:
            reached = {label: rate(c[name][0]) for label, c in peers.items() if c[name][1]}
            if reached:
                best = max(reached, key=reached.__getitem__)
                row.append(f"{ours[name][0].per_second / reached[best]:.2f} ({best})")
            else:
                row.append("no peer reaches it")
        yield row


def compiled(cells: Cells, workloads: list[str]) -> Iterator[list[str]]:
    """Write what the prebuilt filters cost: median µs, and queries per second with them."""
    for label, row in cells.items():
        if label.endswith("†"):
            points = [row[name][0] for name in workloads]
            yield [
                label,
                *(f"{p.compile_us:,.0f} µs → {p.per_second_with_compile:,.0f}" for p in points),
            ]


def footprints(done: Results, raw_mb: float) -> Iterator[list[str]]:
    """Write build times and memory."""
    plain = done.get("hnswlib", {}).get("build_s")
    for system, result in done.items():
        total, own = result["memory_mb"], result["anonymous_mb"]
        yield [
            system,
            result["version"],
            f"{result['build_s']:.1f}",
            f"{result['build_s'] / plain:.2f}" if plain else "–",
            f"{total:.0f} ({own:.0f})",
            f"{total / raw_mb:.2f} ({own / raw_mb:.2f})",
            result["what"],
        ]


def beside(done: Results) -> Iterator[list[str]]:
    """Write what threads did."""
    for system, result in done.items():
        for name, told in result["beside"].items():
            yield [
                system,
                name,
                f"{told['one']:,.0f}",
                f"{told['two']:,.0f}",
                f"{told['two'] / told['one']:.2f}",
                f"{told['alone_p50_ms']:.2f} / {told['alone_p99_ms']:.2f}",
                f"{told['busy_p50_ms']:.2f} / {told['busy_p99_ms']:.2f}",
            ]


def grown_rows(growth: list[dict[str, Any]]) -> list[list[str]]:
    """Write the median query's speed and distances at every size, and how they grow."""
    failed = [size["failed"] for size in growth if "failed" in size]
    if failed:
        return [[f"not available: {failed[0]}"]]
    rows = []
    for name in growth[0]["workloads"]:
        told = [size["workloads"][name] for size in growth]
        points = [size["points"] for size in growth]
        exponents = [
            growth_exponent(points, [max(one[cost], 1e-9) for one in told])
            for cost in ("p50_ms", "distances")
        ]
        cells = [
            f"{1000 / one['p50_ms']:,.0f}, {one['distances']:,.0f}, {one['recall']:.3f}"
            for one in told
        ]
        rows.append([name, *cells, *(f"{exponent:.2f}" for exponent in exponents)])
    rows.append(["build s", *(f"{size['build_s']:.1f}" for size in growth), "", ""])
    return rows


def processor() -> str:
    """Name the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def plot(chosen: argparse.Namespace, lines: Lines) -> None:
    """Draw queries per second against recall, a panel a workload, a line a system."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(chosen.workloads) // 2)
    figure, panels = pyplot.subplots(rows, 2, figsize=(13, 4 * rows), squeeze=False)
    colors = pyplot.get_cmap("tab20")(np.linspace(0, 1, 20))
    for panel, name in zip(panels.flat, chosen.workloads, strict=False):
        for color, (label, swept) in zip(colors, lines.items(), strict=False):
            points = swept[name]
            single = len(points) == 1
            panel.plot(
                [point.recall for point in points],
                [point.per_second for point in points],
                color=color,
                label=label,
                marker="*" if label == OURS else "o",
                markersize=13 if label == OURS else 6 if single else 3,
                linewidth=2 if label.startswith(OURS) else 1,
                zorder=3 if label.startswith(OURS) else 2,
            )
        panel.axvline(TARGET, color="grey", linewidth=0.7, linestyle=":")
        panel.set(
            title=name, xlim=(0.6, 1.01), yscale="log", xlabel="recall@10", ylabel="queries/s"
        )
        panel.grid(alpha=0.3)
    for panel in panels.flat[len(chosen.workloads) :]:
        panel.axis("off")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=5)
    figure.tight_layout(rect=(0, 0.4 / rows / 2, 1, 1))
    figure.savefig(chosen.results / "filtered.png", dpi=110)
    pyplot.close(figure)
