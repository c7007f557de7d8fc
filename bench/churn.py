"""A collection rewritten ten times, beside a fresh one of the same final points.

Each is made, measured, closed and opened again in a process of its own, so that nothing is shared.
The data are made here: vectors around a few hundred centres, so that neighbourhoods mean something.
One rewriting is as many upserts as there are points, at random, with deletes, patches and short
lives among them; what is left at the end is written to the fresh collection in random order.

    resident   megabytes of the process after the same queries; "grown" is less those of one that
               has loaded everything but opened nothing
    disk       bytes allocated in the collection's folder
    recall     share of the ten nearest that default queries find, over points and queries
    found      share of the live points that are the first hit of a search for their own vector,
               through the graph: plans that scan are made too dear
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.backends.base import Lifetime, Search, Selection
from app.backends.local import LocalBackend
from app.kernels import warm
from app.planner.costs import Costs
from app.types import F32, Definition, Point, Projection, VectorField
from bench.process import Memory

NAME = "c"
BATCH = 500
CENTRES = 300
QUERIES = 500
QUIET_S = 12.0  # after which upkeep has seen an idle collection and done what it would
LIMIT = 1.3
_SCANNED_NEVER = Costs(scan_fixed_ns=1e9, code_scan_fixed_ns=1e9)


@dataclass
class Measured:
    """One collection, while its process lived on and after it was opened anew."""

    points: int
    disk: int
    running_mb: float
    running_grown_mb: float
    running_anonymous_mb: float
    resident_mb: float = 0.0
    grown_mb: float = 0.0
    anonymous_mb: float = 0.0
    disk_reopened: int = 0
    recall: float = 0.0
    found: float = 0.0
    segments: int = 0


class Data:
    """Vectors that anybody can make again: of a point's number and how often it was written."""

    def __init__(self, dimension: int, seed: int) -> None:
        self._dimension = dimension
        self._seed = seed
        self._centres = np.random.default_rng(seed).normal(size=(CENTRES, dimension))

    def vector(self, number: int, version: int) -> F32:
        """Make one vector, float32[dimension]."""
        rng = np.random.default_rng((self._seed, number, version))
        centre = self._centres[int(rng.integers(CENTRES))]
        return np.asarray(centre + 0.7 * rng.normal(size=self._dimension), dtype=np.float32)

    def point(self, number: int, version: int, expires_at: int | None = None) -> Point:
        """Make one point."""
        attributes = {"number": number, "version": version, "group": number % 17}
        text = f"the text of point {number} as written the {version}. time"
        return Point(number, {"v": self.vector(number, version)}, attributes, text, expires_at)


def churn(backend: LocalBackend, data: Data, points: int, rounds: int) -> dict[int, int]:
    """Write every point, then as many again for each round; returns what is left: its version."""
    rng = np.random.default_rng(1)
    version = dict.fromkeys(range(points), 0)
    for start in range(0, points, BATCH):
        numbers = range(start, min(start + BATCH, points))
        backend.upsert(NAME, [data.point(number, 0) for number in numbers])
    for round_ in range(1, rounds + 1):
        for _ in range(0, points, BATCH):
            chosen: list[int] = rng.choice(points, BATCH, replace=False).tolist()
            lives, gone, patched = (
                set(part.tolist())
                for part in np.split(
                    rng.choice(chosen, BATCH // 4, replace=False), [BATCH // 20, BATCH // 8]
                )
            )
            soon = int(time.time() * 1000) + 1000
            backend.upsert(
                NAME,
                [data.point(n, round_, soon if n in lives else None) for n in chosen],
            )
            version |= dict.fromkeys(chosen, round_)
            backend.delete(NAME, Selection(ids=tuple(gone)))
            backend.patch(NAME, Selection(ids=tuple(patched)), set_={"patched": True}, unset=[])
            for number in lives | gone:
                version.pop(number, None)
        print(f"round {round_} of {rounds}", file=sys.stderr, flush=True)
    # Half of what is left goes at the end, and most of that comes back: the last word of a churn.
    left = rng.permutation(sorted(version))
    for start in range(0, len(left) // 2, BATCH):
        some: list[int] = left[start : min(start + BATCH, len(left) // 2)].tolist()
        backend.patch(NAME, Selection(ids=tuple(some)), set_={}, unset=[], lifetime=Lifetime(0))
        for number in some:
            del version[number]
    return version


def settle(backend: LocalBackend, limit_s: float = 900.0) -> None:
    """Wait until builds and upkeep have done what they would."""
    until = time.monotonic() + limit_s
    quiet = time.monotonic()
    before = None
    while time.monotonic() < until and time.monotonic() - quiet < QUIET_S:
        info = backend.describe(NAME)
        now = (info.building, [segment["points"] for segment in info.segments])
        if info.building or now != before:
            quiet, before = time.monotonic(), now
        time.sleep(0.2)


def disk(folder: Path) -> int:
    """Add up what a folder's files take, in bytes of whole blocks."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def ask(backend: LocalBackend, data: Data) -> float:
    """Ask the same queries of every collection; returns the recall of ten results."""
    hits = wanted = 0
    for number in range(QUERIES):
        query = data.vector(number, 10**6)
        ours, truth = backend.search(NAME, [Search(query, "v"), Search(query, "v", exact=True)])
        nearest = {hit.record.id for hit in truth.hits}
        hits += len(nearest & {hit.record.id for hit in ours.hits})
        wanted += len(nearest)
    return hits / max(1, wanted)


def reach(folder: Path, data: Data, version: dict[int, int]) -> float:
    """Search for every point's own vector through the graph; returns the share that is found."""
    backend = LocalBackend(folder, costs=_SCANNED_NEVER, cover_share=0)
    only_ids = Projection(fields=frozenset(), with_text=False)
    found = 0
    for number, written in version.items():
        (answer,) = backend.search(
            NAME, [Search(data.vector(number, written), "v", projection=only_ids)]
        )
        assert answer.plan != "exact", "nothing was walked"
        found += bool(answer.hits) and answer.hits[0].record.id == number
    backend.close()
    return found / max(1, len(version))


def made(folder: Path, data: Data, points: int, rounds: int, left: Path) -> Measured:
    """Make a collection, by churn or (rounds 0) from what a churn left."""
    warm()
    empty = Memory.now()
    # The default at the default number of points; fewer must have graphs as well.
    backend = LocalBackend(folder, head_points=min(4096, points // 7))
    backend.create(NAME, Definition({"v": VectorField("v", data.vector(0, 0).size)}))
    if rounds:
        version = churn(backend, data, points, rounds)
        left.write_text(json.dumps(list(version.items())))
    else:
        version = dict(json.loads(left.read_text()))
        order = np.random.default_rng(2).permutation(sorted(version)).tolist()
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            backend.upsert(NAME, [data.point(n, version[n]) for n in batch])
    settle(backend)
    ask(backend, data)
    settled = disk(folder)
    now = Memory.now()
    memory = now.since(empty)
    count = backend.count(NAME, None)
    assert count == len(version), f"{count} points, not {len(version)}"
    backend.close()
    return Measured(count, settled, now.resident, memory.resident, memory.anonymous)


def opened(folder: Path, data: Data, measured: Measured, version: dict[int, int]) -> Measured:
    """Measure a collection that another process made."""
    warm()
    empty = Memory.now()
    backend = LocalBackend(folder)
    measured.segments = len(backend.describe(NAME).segments)
    measured.recall = ask(backend, data)
    now = Memory.now()
    memory = now.since(empty)
    measured.resident_mb = now.resident
    measured.grown_mb, measured.anonymous_mb = memory.resident, memory.anonymous
    backend.close()
    measured.disk_reopened = disk(folder)
    measured.found = reach(folder, data, version)
    return measured


def _apart(order: dict[str, Any]) -> Measured:
    """Carry out an order in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.churn", "--order", json.dumps(order)],
        stdout=subprocess.PIPE,
        check=True,
    )
    return Measured(**json.loads(done.stdout))


def _carry_out(order: dict[str, Any]) -> Measured:
    folder, left = Path(order["folder"]), Path(order["left"])
    data = Data(order["dimension"], seed=7)
    if "measured" not in order:
        return made(folder, data, order["points"], order["rounds"], left)
    version = dict(json.loads(left.read_text()))
    return opened(folder, data, Measured(**order["measured"]), version)


def compare(points: int, dimension: int, rounds: int) -> dict[str, Measured]:
    """Make and measure both collections."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, of_rounds in (("churned", rounds), ("fresh", 0)):
            order: dict[str, Any] = {
                "folder": f"{scratch}/{name}",
                "left": f"{scratch}/left.json",
                "points": points,
                "dimension": dimension,
                "rounds": of_rounds,
            }
            begun = time.monotonic()
            measured = _apart(order)
            found[name] = _apart(order | {"measured": asdict(measured)})
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return found


def report(found: dict[str, Measured]) -> list[str]:
    """Write the table, and what it says of the targets."""
    churned, fresh = found["churned"], found["fresh"]
    lines = ["| figure | churned | fresh | ratio |", "|---|---|---|---|"]
    for label, name, unit, scale in (
        ("points", "points", "", 1.0),
        ("disk, settled", "disk", " MB", 1e-6),
        ("disk, after closing", "disk_reopened", " MB", 1e-6),
        ("resident, same process", "running_mb", " MB", 1.0),
        ("… grown by", "running_grown_mb", " MB", 1.0),
        ("… of that anonymous", "running_anonymous_mb", " MB", 1.0),
        ("resident, fresh process", "resident_mb", " MB", 1.0),
        ("… grown by", "grown_mb", " MB", 1.0),
        ("… of that anonymous", "anonymous_mb", " MB", 1.0),
        ("segments and heads", "segments", "", 1.0),
    ):
        ours, theirs = (getattr(one, name) * scale for one in (churned, fresh))
        ratio = ours / max(theirs, 1e-9)
        lines.append(f"| {label} | {ours:,.1f}{unit} | {theirs:,.1f}{unit} | {ratio:.2f} |")
    for label, name in (("recall@10", "recall"), ("found by own vector", "found")):
        ours, theirs = (getattr(one, name) for one in (churned, fresh))
        lines.append(f"| {label} | {ours:.4f} | {theirs:.4f} | {ours - theirs:+.4f} |")
    checks = {
        f"disk within {LIMIT} ×": churned.disk <= LIMIT * fresh.disk,
        f"memory of the same process within {LIMIT} ×": churned.running_mb
        <= LIMIT * fresh.running_mb,
        f"memory of a fresh process within {LIMIT} ×": churned.resident_mb
        <= LIMIT * fresh.resident_mb,
        "recall within .01": churned.recall >= fresh.recall - 0.01,
        "every live point found": churned.found == 1.0,
    }
    return [*lines, "", *(f"{'met' if met else 'MISSED'}: {what}" for what, met in checks.items())]


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a sixth of the points, half as wide")
    parser.add_argument("--points", type=int, default=30_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--order", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.order is not None:
        print(json.dumps(asdict(_carry_out(json.loads(given.order)))))
        return
    points, dimension = given.points, given.dimension
    if given.quick:
        points, dimension = points // 6, dimension // 2
    print(f"{points:,} points × {dimension}, rewritten {given.rounds} times\n")
    print("\n".join(report(compare(points, dimension, given.rounds))))


if __name__ == "__main__":
    main()
