"""Measures one system in a process of its own: `python -m bench.worker SPEC RESULT`.

`bench.filtered` starts it, so that no system shares memory, threads or caches with another. The
searches run with every thread of the process pinned to one core: whatever pools a system keeps,
it gets one core, as the others do. Builds before that use all cores.

The result is written again whenever there is more of it, so that a process that is ended for
taking too long leaves what it measured.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.beside import measure_beside
from bench.measures import RECALL, Point, found, operating_point, percentile_ms
from bench.papers import Clauses, Columns, Data, Truth, families, grown, load, truths
from bench.peers import REOPENED, SYSTEMS
from bench.peers.base import System
from bench.process import Memory, pinned

ENOUGH = 0.995  # a sweep ends here
WARM_UPS = 20
PASSES = 3  # over the questions, while they are quick: the fastest counts
REHEARSAL = 500  # points of a first, small index: libraries' own memory is not the data's
WALK_ROUNDS = 5

Write = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Spec:
    """What to measure.

    task      "system"; "growth": ours alone, at `points` points made by `bench.papers.grown`;
              "walk": `bench.walk`
    scratch   a folder that stays for as long as processes may follow that open the same files
    budget_s  seconds a setting may take before it ends with the queries asked so far
    every     take every n-th width
    beside    workloads for the measurements with two threads, for systems that take part
    """

    task: str
    system: str
    folder: str
    scratch: str
    points: int
    queries: int
    workloads: list[str]
    budget_s: float
    every: int = 1
    beside: tuple[str, ...] = ()
    beside_s: float = 3.0


@dataclass(frozen=True)
class Workload:
    """The questions of one family, others to warm up with, and what is due."""

    filters: list[Clauses]
    others: list[Clauses]
    truth: Truth


class Measurement:
    """One system on one data set."""

    def __init__(self, spec: Spec, data: Data, system: System, columns: Columns) -> None:
        self.spec = spec
        self.data = data
        self.system = system
        self.columns = columns
        drawn, others = families(data), families(data, seed=2)
        due = truths(data, columns, {name: drawn[name] for name in spec.workloads})
        self.workloads = {
            name: Workload(drawn[name], others[name], due[name]) for name in spec.workloads
        }

    def selectivity(self, name: str) -> float:
        """Tell which share of the points passes, on average."""
        return float(self.workloads[name].truth.matches.mean()) / len(self.data.papers)

    def sweep(self, mode: str, name: str) -> list[Point]:
        """Widen the search until the recall is nearly whole."""
        points: list[Point] = []
        widths = list(self.system.modes[mode])
        step = self.spec.every
        while widths:
            points.append(self.point(mode, widths[0], name))
            cut_short = points[-1].queries < len(self.data.queries)
            if points[-1].recall >= (RECALL if cut_short else ENOUGH):
                break
            widths = widths[max(step, 3) if cut_short else step :]  # slow ones take big steps
        return points

    def point(self, mode: str, width: int | None, name: str) -> Point:
        """Measure one width; where that takes moments only, some times over, the fastest counts."""
        until = time.perf_counter() + self.spec.budget_s / 2
        best = self.asked(mode, width, name)
        for _ in range(PASSES - 1):
            if time.perf_counter() < until:
                again = self.asked(mode, width, name)
                best = max(best, again, key=lambda point: point.per_second)
        return best

    def asked(self, mode: str, width: int | None, name: str) -> Point:
        """Ask one question after the other at one width."""
        workload = self.workloads[name]
        self.system.prepare(mode, width)
        self.warm(workload)
        times: list[float] = []
        compiles: list[float] = []
        hits = wanted = 0
        spent = 0.0
        for at, (query, clauses) in enumerate(
            zip(self.data.queries, workload.filters, strict=True)
        ):
            begun = time.perf_counter()
            form = self.system.form(clauses)
            formed = time.perf_counter()
            rows = self.system.search(query, form)
            ended = time.perf_counter()
            compiles.append(formed - begun)
            times.append(ended - formed)
            spent += ended - begun
            hits += self.hits(at, clauses, workload.truth, rows)
            wanted += int(workload.truth.wanted[at])
            if spent > self.spec.budget_s and at + 1 >= min(20, len(self.data.queries)):
                break
        return Point(
            width=width,
            recall=hits / max(1, wanted),
            per_second=len(times) / sum(times),
            p50_ms=percentile_ms(times, 50),
            p99_ms=percentile_ms(times, 99),
            queries=len(times),
            compile_us=float(np.median(compiles)) * 1e6 if self.system.compiles else 0.0,
        )

    def warm(self, workload: Workload) -> None:
        """Ask questions whose filters are of the same family but drawn apart."""
        begun = time.perf_counter()
        for query, clauses in zip(self.data.queries[:WARM_UPS], workload.others, strict=False):
            self.system.search(query, self.system.form(clauses))
            if time.perf_counter() - begun > self.spec.budget_s / 4:
                break

    def hits(self, at: int, clauses: Clauses, truth: Truth, rows: Sequence[int]) -> int:
        """Count right answers to question `at`; a point that does not pass is no small error."""
        distinct = np.unique(np.asarray(rows, np.int64))
        if clauses and not self.columns.mask(clauses)[distinct].all():
            raise AssertionError(f"returned a point that does not pass {clauses}")
        right = found(self.data.vectors[distinct] @ self.data.queries[at], truth.last[at])
        return min(right, int(truth.wanted[at]))

    def beside(self, name: str, width: int | None) -> dict[str, Any]:
        """Search with other threads beside."""
        self.system.prepare("", width)
        workload = self.workloads[name]
        self.warm(workload)
        asked = [
            (query, self.system.form(clauses))
            for query, clauses in zip(self.data.queries, workload.filters, strict=True)
        ]
        return measure_beside(self.system.search, asked, self.spec.beside_s)


def measure_system(spec: Spec, write: Write) -> None:
    """Build, then sweep every mode over every workload."""
    data = load(Path(spec.folder), spec.points, spec.queries)
    columns = Columns(data.papers)
    kind = system_class(spec.system)
    cores = len(os.sched_getaffinity(0))
    rehearse(kind, data.first(REHEARSAL), Path(spec.scratch, "small"), cores)

    folder = Path(spec.scratch, "real")
    folder.mkdir(exist_ok=True)
    before = Memory.now()
    begun = time.perf_counter()
    system = kind(data, columns, folder, cores)
    build_s = time.perf_counter() - begun - system.idle_s
    built = Memory.now().since(before)
    points: dict[str, dict[str, Any]] = {}
    result: dict[str, Any] = {
        "version": importlib.metadata.version(kind.distribution),
        "what": kind.what,
        "compiles": kind.compiles,
        "build_s": build_s,
        "memory_mb": built.resident,
        "anonymous_mb": built.anonymous,
        "plain": None,
        "selectivity": {},
        "points": points,
        "beside": {},
    }
    if system.plain is not None:
        used = system.plain.memory.since(before)
        result["plain"] = {
            "build_s": system.plain.build_s,
            "memory_mb": used.resident,
            "anonymous_mb": used.anonymous,
        }
    write(result)

    measurement = Measurement(spec, data, system, columns)
    result["selectivity"] = {name: measurement.selectivity(name) for name in spec.workloads}
    ready = Memory.now()
    with pinned():
        for mode in kind.modes:
            points[mode] = {}
            for name in spec.workloads:
                points[mode][name] = [asdict(point) for point in measurement.sweep(mode, name)]
                searched = Memory.now().since(ready)
                result["memory_mb"] = built.resident + searched.resident
                result["anonymous_mb"] = built.anonymous + searched.anonymous
                write(result)
    for name in spec.beside:
        swept = [Point(**point) for point in points[next(iter(kind.modes))][name]]
        width = operating_point(swept, RECALL)[0].width
        result["beside"][name] = measurement.beside(name, width)
        write(result)
    system.close()


def system_class(system: str) -> type[System]:
    """Import a system."""
    every = SYSTEMS | {name: place for again in REOPENED.values() for name, place in again.items()}
    module, name = every[system].split(":")
    kind: type[System] = getattr(importlib.import_module(module), name)
    return kind


def rehearse(kind: type[System], few: Data, folder: Path, cores: int) -> None:
    """Build a small index and search it, so that libraries are loaded and have what they keep."""
    folder.mkdir(exist_ok=True)
    rehearsal = kind(few, Columns(few.papers), folder, cores)
    rehearsal.prepare(next(iter(kind.modes)), next(iter(kind.modes.values()))[0])
    rehearsal.search(few.queries[0], rehearsal.form(()))
    rehearsal.close()


def measure_growth(spec: Spec, write: Write) -> None:
    """Build ours with `points` points; the median query's time and distances by workload."""
    from bench.peers.ours import Likewise

    data = grown(load(Path(spec.folder), None, spec.queries), spec.points)
    columns = Columns(data.papers)
    begun = time.perf_counter()
    system = Likewise(data, columns, Path(spec.scratch), len(os.sched_getaffinity(0)))
    build_s = time.perf_counter() - begun - system.idle_s
    measurement = Measurement(spec, data, system, columns)
    workloads: dict[str, Any] = {}
    result = {"points": spec.points, "build_s": build_s, "workloads": workloads}
    with pinned():
        for name in spec.workloads:
            point = measurement.point("", None, name)
            asked = zip(data.queries, measurement.workloads[name].filters, strict=True)
            told = [system.distances(query, system.form(clauses)) for query, clauses in asked]
            workloads[name] = {
                "recall": point.recall,
                "p50_ms": point.p50_ms,
                "distances": float(np.median([distances for distances, _ in told])),
                "graph_share": sum(plan == "graph" for _, plan in told) / len(told),
            }
            write(result)
    system.close()


def measure_walk(spec: Spec, write: Write) -> None:
    """Compare the walk with hnswlib's over the same graph."""
    from bench import walk

    data = load(Path(spec.folder), spec.points, spec.queries)
    due = truths(data, Columns(data.papers), {"": families(data)["no filter"]})[""]
    cores = len(os.sched_getaffinity(0))
    folder = Path(spec.scratch)
    write({"points": walk.measure_walk(data, due, folder, cores=cores, rounds=WALK_ROUNDS)})


def main() -> None:
    """Read the specification, measure, write the result."""
    spec = Spec(**json.loads(Path(sys.argv[1]).read_text()))
    told = Path(sys.argv[2])

    def write(result: dict[str, Any]) -> None:
        whole = told.with_suffix(".part")
        whole.write_text(json.dumps(result))
        whole.replace(told)

    tasks = {"system": measure_system, "growth": measure_growth, "walk": measure_walk}
    tasks[spec.task](spec, write)


if __name__ == "__main__":
    main()
