"""Filtered search beside every peer that runs in process: speed at equal recall, build, memory.

    python -m bench.filtered FOLDER [--quick] [--points N] [--queries N] [--systems a,b]
                                    [--workloads "no filter,EM year ="] [--budget SECONDS]
                                    [--limit SECONDS]

Each system runs alone in a process of its own (`bench.worker`), on the same vectors, attributes,
filters and questions; search runs on one core, builds on all. Its search width is swept, and the
smallest width that reaches a recall@10 of .95 gives its speed; ours is also measured as it comes,
with no width chosen. The rest is about ours: its files opened again, its walk beside hnswlib's over
one graph (`bench.walk`), two threads, a busy thread beside it, growth.

Prints Markdown; writes `filtered.json` (after every system) and `filtered.png` into bench/results.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.peers import REOPENED, SYSTEMS
from bench.report import headline, report
from bench.targets import OURS, Measured
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
EPILOG = (
    "A run with the defaults takes about half an hour on two cores: half of it is the peers' "
    "builds and sweeps, a sixth our growth to four times the data, and milvus-lite runs into the "
    "limit. --quick takes about five minutes, and its figures mean little."
)


def main() -> None:
    """Measure everything, then print the report."""
    chosen = arguments()
    measured = Measured(headline(chosen.points, chosen.queries))

    def keep() -> None:
        chosen.results.mkdir(parents=True, exist_ok=True)
        kept = json.dumps(asdict(measured), indent=1)
        (chosen.results / "filtered.json").write_text(kept)

    for system in chosen.systems:
        beside = BESIDE_WORKLOADS if system in BESIDE and not chosen.no_beside else ()
        with tempfile.TemporaryDirectory() as scratch:
            spec = Spec(
                task="system",
                system=system,
                folder=str(chosen.folder),
                scratch=scratch,
                points=chosen.points,
                queries=chosen.queries,
                workloads=chosen.workloads,
                budget_s=chosen.budget,
                every=chosen.every,
                beside=tuple(name for name in beside if name in chosen.workloads),
                beside_s=chosen.beside_seconds,
            )
            measured.systems[system] = run(spec, chosen.limit)
            keep()
            if "failed" in measured.systems[system]:
                continue
            for again in REOPENED.get(system, ()):
                told = run(replace(spec, system=again, beside=()), chosen.limit)
                measured.systems[again] = told
                keep()
    own = Spec(
        task="walk",
        system=OURS,
        folder=str(chosen.folder),
        scratch="",
        points=chosen.points,
        queries=chosen.queries,
        workloads=chosen.workloads,
        budget_s=chosen.budget,
    )
    if not chosen.no_walk:
        with tempfile.TemporaryDirectory() as scratch:
            measured.walk = run(replace(own, scratch=scratch), chosen.limit)
    queries = min(chosen.queries, GROWTH_QUERIES)
    for points in chosen.growth:
        with tempfile.TemporaryDirectory() as scratch:
            spec = replace(own, task="growth", scratch=scratch, points=points, queries=queries)
            limit = chosen.limit * max(1, points / chosen.points)
            measured.growth.append(run(spec, limit))
        keep()
    keep()
    report(chosen, measured)


def arguments() -> argparse.Namespace:
    """Read the command line; --quick changes what is not given."""

    def names(known: tuple[str, ...]) -> Any:
        def split(text: str) -> list[str]:
            chosen = [name.strip() for name in text.split(",") if name.strip()]
            for name in chosen:
                if name not in known:
                    raise argparse.ArgumentTypeError(f"{name!r} is none of: {', '.join(known)}")
            return chosen

        return split

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], epilog=EPILOG)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="a small run")
    parser.add_argument("--points", type=int, help="papers (60,000; --quick: 5,000)")
    parser.add_argument("--queries", type=int, help="questions (300; --quick: 50)")
    parser.add_argument("--systems", type=names(tuple(SYSTEMS)), default=list(SYSTEMS))
    parser.add_argument("--workloads", type=names(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--budget", type=float, help="most seconds a setting takes (4; .4)")
    parser.add_argument("--every", type=int, help="take every n-th width (2; --quick: 3)")
    parser.add_argument(
        "--limit",
        type=float,
        help="seconds after which a system is ended; what it has measured is kept; growth to n "
        "times the points gets n times as many (300; --quick: 60)",
    )
    parser.add_argument("--no-walk", action="store_true", help="leave out the walk by itself")
    parser.add_argument("--no-beside", action="store_true", help="leave out the thread tests")
    parser.add_argument("--no-growth", action="store_true", help="leave out the growth test")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    chosen = parser.parse_args()
    quick = chosen.quick
    chosen.points = chosen.points or (5_000 if quick else 60_000)
    chosen.queries = chosen.queries or (50 if quick else 300)
    chosen.budget = chosen.budget or (0.4 if quick else 4.0)
    chosen.every = chosen.every or (3 if quick else 2)
    chosen.limit = chosen.limit or (60.0 if quick else 300.0)
    chosen.beside_seconds = 0.5 if quick else 1.5
    sizes = [chosen.points // 6, chosen.points, chosen.points * 4]
    chosen.growth = [] if chosen.no_growth or OURS not in chosen.systems else sizes
    return chosen


def run(spec: Spec, limit_s: float) -> dict[str, Any]:
    """Run one measurement in a process group of its own, for at most some seconds.

    Returns what it measured; where it did not come to its end, that has "ended": the reason, and
    where there is nothing at all, it is {"failed": the reason}.
    """
    print(f"measuring {spec.system}, {spec.points:,} points, {spec.task}", file=sys.stderr)
    # Only the numeric libraries' own pools: what else a system starts is pinned while it searches.
    threads = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in threads}
    with tempfile.TemporaryDirectory() as folder:
        asked, told, said = (Path(folder, name) for name in ("spec.json", "result.json", "said"))
        asked.write_text(json.dumps(asdict(spec)))
        with said.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.worker", str(asked), str(told)],
                cwd=ROOT,
                env=environment,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
            reason = ""
            try:
                process.wait(limit_s)
            except subprocess.TimeoutExpired:
                reason = f"ended after {limit_s:g} s"
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if not reason and process.returncode:
            lines = said.read_text(errors="replace").strip().splitlines()
            print("\n".join(lines), file=sys.stderr)
            reason = f"ended with status {process.returncode}"
            if process.returncode > 0 and lines:
                reason = lines[-1][:200]
        if not told.exists():
            return {"failed": reason or "no result"}
        result: dict[str, Any] = json.loads(told.read_text())
        return result | ({"ended": reason} if reason else {})


if __name__ == "__main__":
    main()
