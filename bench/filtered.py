"""Filtered search beside every peer that runs in process: speed at equal recall, build, memory.

    python -m bench.filtered FOLDER [--quick] [--points N] [--queries N] [--systems a,b]
                                    [--workloads "no filter,EM year ="] [--budget SECONDS]

Each system runs alone in a process of its own (`bench.worker`), on the same vectors, attributes,
filters and questions; search runs on one core, builds on all. Its search width is swept, and the
smallest width that reaches a recall@10 of .95 gives its speed; ours is also measured as it comes,
with no width chosen. The rest is about ours: two threads, a busy thread beside it, growth.

Prints Markdown; writes `filtered.json` and `filtered.png` into bench/results.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.peers import SYSTEMS
from bench.report import OURS, Results, report
from bench.worker import Spec

ROOT = Path(__file__).parents[1]
WORKLOADS = (
    "no filter",
    "R year between",
    "EM n_categories =",
    "EMIS main_categories contains",
    "EM year =",
    "year = and main_categories contains",
    "EM primary_cat =",
    "authors contains",
)
BESIDE = {"likewise", "hnswlib"}  # measured with threads beside them
BESIDE_WORKLOADS = ("no filter", "R year between", "EM year =")
GROWTH_QUERIES = 200


def main() -> None:
    """Measure everything, then print the report."""
    chosen = arguments()
    results: Results = {}
    for system in chosen.systems:
        beside = BESIDE_WORKLOADS if system in BESIDE and not chosen.no_beside else ()
        spec = Spec(
            "system",
            system,
            str(chosen.folder),
            chosen.points,
            chosen.queries,
            chosen.workloads,
            chosen.budget,
            every=chosen.every,
            beside=tuple(name for name in beside if name in chosen.workloads),
            beside_s=chosen.beside_seconds,
        )
        results[system] = measured(spec)
    growth = []
    if OURS in chosen.systems:
        for points in chosen.growth:
            queries = min(chosen.queries, GROWTH_QUERIES)
            growth.append(
                measured(
                    Spec(
                        "growth",
                        OURS,
                        str(chosen.folder),
                        points,
                        queries,
                        chosen.workloads,
                        chosen.budget,
                    )
                )
            )
    report(chosen, results, growth)


def arguments() -> argparse.Namespace:
    """Read the command line; --quick changes what is not given."""

    def names(known: tuple[str, ...]) -> Any:
        def split(text: str) -> list[str]:
            chosen = [name.strip() for name in text.split(",")]
            for name in chosen:
                if name not in known:
                    raise argparse.ArgumentTypeError(f"{name!r} is none of: {', '.join(known)}")
            return chosen

        return split

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="a small run of about three minutes")
    parser.add_argument("--points", type=int, help="papers (60,000; --quick: 5,000)")
    parser.add_argument("--queries", type=int, help="questions (500; --quick: 50)")
    parser.add_argument("--systems", type=names(tuple(SYSTEMS)), default=list(SYSTEMS))
    parser.add_argument("--workloads", type=names(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--budget", type=float, help="most seconds a setting takes (10; .4)")
    parser.add_argument("--every", type=int, help="take every n-th width (1; --quick: 3)")
    parser.add_argument("--no-beside", action="store_true", help="leave out the thread tests")
    parser.add_argument("--no-growth", action="store_true", help="leave out the growth test")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    chosen = parser.parse_args()
    quick = chosen.quick
    chosen.points = chosen.points or (5_000 if quick else 60_000)
    chosen.queries = chosen.queries or (50 if quick else 500)
    chosen.budget = chosen.budget or (0.4 if quick else 10.0)
    chosen.every = chosen.every or (3 if quick else 1)
    chosen.beside_seconds = 1.0 if quick else 5.0
    sizes = [chosen.points // 6, chosen.points, chosen.points * 4]
    chosen.growth = [] if chosen.no_growth else sizes
    return chosen


def measured(spec: Spec) -> dict[str, Any]:
    """Run one measurement in a process; a failure is a result too: {"failed": reason}."""
    print(f"measuring {spec.system}, {spec.points:,} points, {spec.task}", file=sys.stderr)
    # Only the numeric libraries' own pools: what else a system starts is pinned while it searches.
    threads = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in threads}
    with tempfile.TemporaryDirectory() as scratch:
        asked, told = Path(scratch, "spec.json"), Path(scratch, "result.json")
        asked.write_text(json.dumps(asdict(spec)))
        ended = subprocess.run(
            [sys.executable, "-m", "bench.worker", str(asked), str(told)],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        if ended.returncode == 0:
            result: dict[str, Any] = json.loads(told.read_text())
            return result
    if ended.returncode < 0:
        return {"failed": f"ended by signal {-ended.returncode}"}
    print(ended.stderr, file=sys.stderr)
    return {"failed": ended.stderr.strip().splitlines()[-1][:200]}


if __name__ == "__main__":
    main()
