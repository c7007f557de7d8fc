"""Queries over HTTP: ours beside chromadb's own server and FastAPI routes that do nothing.

    python -m bench.http FOLDER [--quick] [--unpinned] [--points N] [--queries N] [--seconds S]
                                [--rounds N] [--connections N] [--workloads a,b] [--no-chroma]

All servers hold the same papers and run at the same time, idle but for the one that is asked: ours
and the routes that do nothing take turns, so that whatever else the machine does falls on both. The
servers are kept on one core and the load generator (`bench.load`, this process) on another. Each
figure is the best of some rounds.

A route that does nothing reads the same bodies and answers as many bytes as ours does on average.

Prints Markdown; writes `http.json` into bench/results. Ends with status 1 if our recall is poor.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.filtered import WORKLOADS
from bench.load import Load, answers, closed_loop, open_loop, request
from bench.measures import found, table
from bench.papers import Clauses, Columns, Data, Truth, families, load, truths
from bench.process import pin
from bench.report import processor
from bench.servers.base import Process, Server, Way
from bench.servers.chroma import Chroma
from bench.servers.likewise import Likewise
from bench.servers.noop import NoOp

ROOT = Path(__file__).parents[1]
BATCH = 100
OPEN_SHARE = 0.6  # of the capacity that was measured just before
OPEN_CONNECTIONS = 32
LEAST_RECALL = 0.95
WAYS = tuple(
    Way(encoding, shown) for shown in ("default", "ids") for encoding in ("JSON", "base64")
)

Kind = TypeVar("Kind", bound=Process)


@dataclass
class Figures:
    """What was measured of one workload; loads by way of asking, "JSON default" and so on.

    one      ours on a single connection
    open     ours, requests due at random at a fixed rate
    batch    ours, `BATCH` questions a request
    noop, parsed    the routes that do nothing, without and with FastAPI reading the JSON
    """

    recall: float = 0.0
    chroma_recall: float = 0.0
    selectivity: float = 0.0
    ours: dict[str, Load] = field(default_factory=dict)
    one: dict[str, Load] = field(default_factory=dict)
    open: dict[str, Load] = field(default_factory=dict)
    batch: dict[str, Load] = field(default_factory=dict)
    noop: dict[str, Load] = field(default_factory=dict)
    parsed: dict[str, Load] = field(default_factory=dict)
    chroma: dict[str, Load] = field(default_factory=dict)
    chroma_batch: dict[str, Load] = field(default_factory=dict)


def main() -> None:
    """Start and load the servers, measure, report."""
    chosen = arguments()
    data = load(chosen.folder, chosen.points, chosen.queries)
    columns = Columns(data.papers)
    drawn = {name: families(data)[name] for name in chosen.workloads}
    due = truths(data, columns, drawn)
    with contextlib.ExitStack() as running, tempfile.TemporaryDirectory() as scratch:

        def started(process: Kind) -> Kind:
            running.callback(process.close)
            process.wait_until_open()
            if isinstance(process, Server):
                tell(f"loading {process.name}")
                process.load(data)
            return process

        ours = started(Likewise(Path(scratch)))
        noop = started(NoOp(Path(scratch)))
        chroma = None if chosen.no_chroma else started(Chroma(Path(scratch)))
        cores = sorted(os.sched_getaffinity(0))
        pinned = len(cores) > 1 and not chosen.unpinned
        if pinned:
            for process in (ours, noop, chroma):
                if process is not None:
                    process.pin({cores[0]})
            pin(os.getpid(), {cores[-1]})
        measured = {}
        for name, filters in drawn.items():
            tell(f"measuring {name}")
            run = Run(chosen, data, columns, filters, due[name])
            measured[name] = run.figures(ours, noop, chroma)
    report(chosen, measured, pinned)
    if min(figures.recall for figures in measured.values()) < LEAST_RECALL:
        raise SystemExit(1)


class Run:
    """The measurements of one workload."""

    def __init__(
        self,
        chosen: argparse.Namespace,
        data: Data,
        columns: Columns,
        filters: list[Clauses],
        truth: Truth,
    ) -> None:
        self.chosen = chosen
        self.data = data
        self.columns = columns
        self.filters = filters
        self.truth = truth

    def figures(self, ours: Server, noop: Process, chroma: Server | None) -> Figures:
        """Measure everything."""
        kept = Figures(selectivity=float(self.truth.matches.mean()) / len(self.data.papers))
        kept.recall, sizes = self.recall(ours, len(self.filters))
        for way in WAYS:
            key = f"{way.encoding} {way.shown}"
            asked = self.singles(ours, way)
            bodies = [one.partition(b"\r\n\r\n")[2] for one in asked]
            size = sizes[way.shown]
            nothing = {
                route: [request(noop.address, "POST", f"/{route}/{size}", b) for b in bodies]
                for route in ("bytes", "parsed")
            }
            warm(ours, asked)
            for _ in range(self.chosen.rounds):
                keep(kept.ours, key, self.closed(ours, asked))
                keep(kept.noop, key, self.closed(noop, nothing["bytes"]))
            keep(kept.batch, key, self.closed(ours, self.batches(ours, way)))
            if way == WAYS[0]:
                keep(kept.parsed, key, self.closed(noop, nothing["parsed"]))
                keep(kept.one, key, self.closed(ours, asked, connections=1))
                kept.open[key] = open_loop(
                    ours.address,
                    asked,
                    connections=OPEN_CONNECTIONS,
                    rate=OPEN_SHARE * kept.ours[key].per_second,
                    seconds=2 * self.chosen.seconds,
                )
            if chroma is not None and way.encoding == "JSON":
                asked = self.singles(chroma, way)
                warm(chroma, asked[:2])
                keep(kept.chroma, key, self.closed(chroma, asked, seconds=self.chosen.budget))
                if batches := self.batches(chroma, way):
                    keep(kept.chroma_batch, key, self.closed(chroma, batches))
        if chroma is not None:
            kept.chroma_recall, _ = self.recall(chroma, min(20, len(self.filters)))
        return kept

    def closed(
        self,
        server: Process,
        asked: Sequence[bytes],
        *,
        connections: int | None = None,
        seconds: float | None = None,
    ) -> Load:
        return closed_loop(
            server.address,
            asked,
            connections=connections or self.chosen.connections,
            seconds=seconds or self.chosen.seconds,
        )

    def singles(self, server: Server, way: Way) -> list[bytes]:
        """Every question of the workload as a request."""
        asked = zip(self.data.queries, self.filters, strict=True)
        return [one for question in asked if (one := server.single(*question, way)) is not None]

    def batches(self, server: Server, way: Way) -> list[bytes]:
        """The questions in requests of `BATCH`; the last ones are left over."""
        made = []
        for start in range(0, len(self.filters) - BATCH + 1, BATCH):
            some = slice(start, start + BATCH)
            one = server.batch(self.data.queries[some], self.filters[some], way)
            made += [] if one is None else [one]
        return made

    def recall(self, server: Server, questions: int) -> tuple[float, dict[str, int]]:
        """Recall@10 of the first questions, and the mean size of an answer by what it shows."""
        sizes = {}
        hits = wanted = 0
        for way in (Way("JSON", "ids"), Way("JSON", "default")):
            told = answers(server.address, self.singles(server, way)[:questions])
            sizes[way.shown] = round(float(np.mean([len(body) for _, body in told])))
        for at, (status, body) in enumerate(told):
            if status != 200:
                raise RuntimeError(f"{server.name} answered {status}: {body[:300]!r}")
            rows = np.unique(np.array(server.ids(body), np.int64))
            clauses = self.filters[at]
            if clauses and not self.columns.mask(clauses)[rows].all():
                raise AssertionError(f"{server.name}: a point that does not pass {clauses}")
            hits += found(self.data.vectors[rows] @ self.data.queries[at], self.truth.last[at])
            wanted += int(self.truth.wanted[at])
        return hits / max(1, wanted), sizes


def warm(server: Process, asked: Sequence[bytes]) -> None:
    """Ask everything once."""
    for status, body in answers(server.address, asked):
        if status != 200:
            raise RuntimeError(f"{server.name} answered {status}: {body[:300]!r}")


def keep(best: dict[str, Load], key: str, taken: Load) -> None:
    """Keep the better of two rounds; none may have failed."""
    if taken.failed:
        raise RuntimeError(f"{taken.failed} of {taken.answered} requests failed")
    if key not in best or taken.per_second > best[key].per_second:
        best[key] = taken


def report(chosen: argparse.Namespace, measured: dict[str, Figures], pinned: bool) -> None:
    """Print the tables and write the file."""
    where = "servers on one core, load generator on another" if pinned else "not pinned"
    title = (
        f"{chosen.points:,} papers × 384, {chosen.queries} questions a workload, "
        f"{chosen.connections} connections; Python {platform.python_version()}, "
        f"{os.cpu_count()} cores ({processor()}), {where}"
    )
    names = list(measured)
    print(f"{title}\n")
    for heading, note, rows in sections(measured):
        print(f"#### {heading}\n\n{note}\n")
        heads = [f"{name} ({measured[name].selectivity:.2g})" for name in names]
        print(table(["", *heads], rows) + "\n")
    chosen.results.mkdir(parents=True, exist_ok=True)
    kept = {"title": title, "workloads": {name: asdict(one) for name, one in measured.items()}}
    (chosen.results / "http.json").write_text(json.dumps(kept, indent=1))


def sections(measured: dict[str, Figures]) -> Iterator[tuple[str, str, list[list[str]]]]:
    """Make the tables: heading, what to know, rows."""
    all_figures = list(measured.values())

    def row(title: str, cell: Callable[[Figures], str]) -> list[str]:
        return [title, *(cell(figures) for figures in all_figures)]

    def rate(loads: dict[str, Load], key: str, times: int = 1) -> str:
        if key not in loads:
            return "–"
        per_second = loads[key].per_second * times
        return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.1f}"

    def ratio(one: dict[str, Load], other: dict[str, Load], key: str) -> str:
        if key not in one or key not in other:
            return "–"
        found = one[key].per_second / other[key].per_second
        return f"{found:.0f}" if found >= 20 else f"{found:.2f}"

    def times(loads: dict[str, Load], key: str) -> str:
        if key not in loads:
            return "–"
        return f"{loads[key].p50_ms:.2f} / {loads[key].p99_ms:.2f}"

    keys = [f"{way.encoding} {way.shown}" for way in WAYS]
    yield (
        "Queries per second, closed loop",
        "Answers with texts and attributes by default, or ids only; vectors as JSON numbers or "
        f"base64. Batches are of {BATCH}; chromadb takes one filter for a whole batch.",
        [
            *(row(f"likewise, {key}", lambda f, key=key: rate(f.ours, key)) for key in keys),  # type: ignore[misc]
            *(
                row(f"likewise, batch, {key}", lambda f, key=key: rate(f.batch, key, BATCH))  # type: ignore[misc]
                for key in keys
            ),
            *(
                row(f"chromadb, {key}", lambda f, key=key: rate(f.chroma, key))  # type: ignore[misc]
                for key in keys
                if "JSON" in key
            ),
            row("chromadb, batch, JSON ids", lambda f: rate(f.chroma_batch, "JSON ids", BATCH)),
            *(
                row(f"nothing, {key}", lambda f, key=key: rate(f.noop, key))  # type: ignore[misc]
                for key in keys
            ),
            row("nothing, JSON read by FastAPI", lambda f: rate(f.parsed, keys[0])),
            row("likewise recall@10", lambda f: f"{f.recall:.3f}"),
            row("chromadb recall@10", lambda f: f"{f.chroma_recall:.3f}"),
        ],
    )
    yield (
        "p50 / p99 ms",
        f"Open loop: requests due at random at {OPEN_SHARE:.0%} of the closed loop's rate, latency "
        "from the moment a request was due.",
        [
            row("likewise, closed loop", lambda f: times(f.ours, keys[0])),
            row("likewise, one connection", lambda f: times(f.one, keys[0])),
            row("likewise, open loop", lambda f: times(f.open, keys[0])),
            row("nothing, closed loop", lambda f: times(f.noop, keys[0])),
            row("chromadb, closed loop", lambda f: times(f.chroma, keys[0])),
        ],
    )
    yield (
        "Targets",
        "Likewise ÷ chromadb: 4 unfiltered, 50 filtered. ÷ nothing: .65. p99 ÷ p50 at most 3. A "
        "batch at most .35 of as many single requests.",
        [
            row("likewise ÷ chromadb", lambda f: ratio(f.ours, f.chroma, keys[0])),
            *(
                row(f"likewise ÷ nothing, {key}", lambda f, key=key: ratio(f.ours, f.noop, key))  # type: ignore[misc]
                for key in keys
            ),
            row("likewise ÷ JSON read by FastAPI", lambda f: ratio(f.ours, f.parsed, keys[0])),
            row("p99 ÷ p50", lambda f: f"{f.ours[keys[0]].p99_ms / f.ours[keys[0]].p50_ms:.1f}"),
            *(
                row(
                    f"batch ÷ singles, {key}",
                    lambda f, key=key: (  # type: ignore[misc]
                        f"{f.ours[key].per_second / (f.batch[key].per_second * BATCH):.2f}"
                        if key in f.batch
                        else "–"
                    ),
                )
                for key in keys
            ),
        ],
    )


def arguments() -> argparse.Namespace:
    """Read the command line; --quick changes what is not given."""

    def names(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",")]
        for name in chosen:
            if name not in WORKLOADS:
                raise argparse.ArgumentTypeError(f"{name!r} is none of: {', '.join(WORKLOADS)}")
        return chosen

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="a small run of about a minute")
    parser.add_argument("--unpinned", action="store_true", help="let everything run anywhere")
    parser.add_argument("--points", type=int, help="papers (60,000; --quick: 5,000)")
    parser.add_argument("--queries", type=int, help="questions (500; --quick: 100)")
    parser.add_argument("--seconds", type=float, help="of each round (0.6; --quick: 0.1)")
    parser.add_argument("--budget", type=float, help="seconds for chromadb (2.5; --quick: 0.3)")
    parser.add_argument("--rounds", type=int, default=2, help="of which the best counts")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--workloads", type=names, help="all; --quick: every other one")
    parser.add_argument("--no-chroma", action="store_true", help="leave chromadb out")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    chosen = parser.parse_args()
    quick = chosen.quick
    chosen.workloads = chosen.workloads or list(WORKLOADS[:: 2 if quick else 1])
    chosen.points = chosen.points or (5_000 if quick else 60_000)
    chosen.queries = chosen.queries or (100 if quick else 500)
    chosen.seconds = chosen.seconds or (0.1 if quick else 0.6)
    chosen.budget = chosen.budget or (0.3 if quick else 2.5)
    return chosen


def tell(what: str) -> None:
    """Say on standard error what is being done."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
