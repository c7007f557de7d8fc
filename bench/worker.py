"""Measures one system in a process of its own: `python -m bench.worker SPEC RESULT`.

`bench.filtered` starts it, so that no system shares memory, threads or caches with another. The
searches run with every thread of the process pinned to one core: whatever pools a system keeps,
it gets one core, as the others do. Builds before that use all cores.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.measures import Point, found, operating_point, percentile_ms
from bench.papers import Clauses, Columns, Data, Truth, families, grown, load, truths
from bench.peers import SYSTEMS
from bench.peers.base import System
from bench.process import Memory, pinned

TARGET = 0.95
ENOUGH = 0.995  # a sweep ends here
WARM_UPS = 20
REHEARSAL = 500  # points of a first, small index: libraries' own memory is not the data's


@dataclass(frozen=True)
class Spec:
    """What to measure.

    task      "system", or "growth": ours alone, at `points` points made by `bench.papers.grown`
    budget_s  seconds a setting may take before it ends with the queries asked so far
    every     take every n-th width
    beside    workloads for the measurements with two threads, for systems that take part
    """

    task: str
    system: str
    folder: str
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

    def sweep(self, mode: str, name: str) -> list[Point]:
        """Widen the search until the recall is nearly whole."""
        points: list[Point] = []
        widths = list(self.system.modes[mode])
        step = self.spec.every
        while widths:
            points.append(self.point(mode, widths[0], name))
            cut_short = points[-1].queries < len(self.data.queries)
            if points[-1].recall >= (TARGET if cut_short else ENOUGH):
                break
            widths = widths[max(step, 3) if cut_short else step :]  # slow ones take big steps
        return points

    def point(self, mode: str, width: int | None, name: str) -> Point:
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

    def beside(self, name: str, width: int | None) -> dict[str, float]:
        """Search with two threads, and with one beside a thread that only computes in Python."""
        self.system.prepare("", width)
        workload = self.workloads[name]
        self.warm(workload)
        asked = [
            (query, self.system.form(clauses))
            for query, clauses in zip(self.data.queries, workload.filters, strict=True)
        ]
        alone = self.run([asked])
        both = self.run([asked[0::2], asked[1::2]])
        stop = threading.Event()
        computing = threading.Thread(target=compute, args=(stop,), daemon=True)
        computing.start()
        try:
            disturbed = self.run([asked])
        finally:
            stop.set()
            computing.join()
        return {
            "one": len(alone) / self.spec.beside_s,
            "two": len(both) / self.spec.beside_s,
            "alone_p50_ms": percentile_ms(alone, 50),
            "alone_p99_ms": percentile_ms(alone, 99),
            "busy_p50_ms": percentile_ms(disturbed, 50),
            "busy_p99_ms": percentile_ms(disturbed, 99),
        }

    def run(self, shares: list[list[tuple[Any, Any]]]) -> list[float]:
        """Search for some seconds with one thread per share; returns each search's seconds."""
        times: list[list[float]] = [[] for _ in shares]
        until = time.perf_counter() + self.spec.beside_s

        def work(share: list[tuple[Any, Any]], taken: list[float]) -> None:
            while True:
                for query, form in share:
                    begun = time.perf_counter()
                    if begun >= until:
                        return
                    self.system.search(query, form)
                    taken.append(time.perf_counter() - begun)

        threads = [
            threading.Thread(target=work, args=pair) for pair in zip(shares, times, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [one for taken in times for one in taken]


def compute(stop: threading.Event) -> None:
    """Keep the interpreter busy."""
    number = 0
    while not stop.is_set():
        for _ in range(1000):
            number = (number * 31 + 7) % 1_000_003


def measure_system(spec: Spec) -> dict[str, Any]:
    """Build, then sweep every mode over every workload."""
    data = load(Path(spec.folder), spec.points, spec.queries)
    columns = Columns(data.papers)
    module, name = SYSTEMS[spec.system].split(":")
    kind: type[System] = getattr(importlib.import_module(module), name)
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        small, real = Path(scratch, "small"), Path(scratch, "real")
        small.mkdir()
        real.mkdir()
        few = data.first(REHEARSAL)
        rehearsal = kind(few, Columns(few.papers), small, cores)
        rehearsal.prepare(next(iter(kind.modes)), next(iter(kind.modes.values()))[0])
        rehearsal.search(data.queries[0], rehearsal.form(()))
        rehearsal.close()
        del rehearsal

        before = Memory.now()
        begun = time.perf_counter()
        system = kind(data, columns, real, cores)
        build_s = time.perf_counter() - begun - getattr(system, "idle_s", 0.0)
        built = Memory.now().since(before)
        measurement = Measurement(spec, data, system, columns)
        ready = Memory.now()
        with pinned():
            points = {
                mode: {name: measurement.sweep(mode, name) for name in spec.workloads}
                for mode in kind.modes
            }
        searched = Memory.now().since(ready)
        beside = {}
        for name in spec.beside:
            first = next(iter(points.values()))[name]
            beside[name] = measurement.beside(name, operating_point(first, TARGET)[0].width)
        system.close()
    return {
        "version": importlib.metadata.version(kind.distribution),
        "what": kind.what,
        "compiles": kind.compiles,
        "build_s": build_s,
        "memory_mb": built.resident + searched.resident,
        "anonymous_mb": built.anonymous + searched.anonymous,
        "selectivity": {
            name: float(w.truth.matches.mean()) / len(data.papers)
            for name, w in measurement.workloads.items()
        },
        "points": {
            mode: {name: [asdict(p) for p in swept] for name, swept in rows.items()}
            for mode, rows in points.items()
        },
        "beside": beside,
    }


def measure_growth(spec: Spec) -> dict[str, Any]:
    """Build ours with `points` points; the median query's time and distances by workload."""
    from bench.peers.ours import Likewise

    data = grown(load(Path(spec.folder), None, spec.queries), spec.points)
    columns = Columns(data.papers)
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.perf_counter()
        system = Likewise(data, columns, Path(scratch), len(os.sched_getaffinity(0)))
        build_s = time.perf_counter() - begun - system.idle_s
        measurement = Measurement(spec, data, system, columns)
        workloads = {}
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
        system.close()
    return {"points": spec.points, "build_s": build_s, "workloads": workloads}


def main() -> None:
    """Read the specification, measure, write the result."""
    spec = Spec(**json.loads(Path(sys.argv[1]).read_text()))
    measure = {"system": measure_system, "growth": measure_growth}[spec.task]
    Path(sys.argv[2]).write_text(json.dumps(measure(spec)))


if __name__ == "__main__":
    main()
