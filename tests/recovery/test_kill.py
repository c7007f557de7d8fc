"""SIGKILL at random moments: what was acknowledged is there, nothing is half there.

The writer is a process of its own that prints a line after each acknowledged call; the test kills
it, reopens the directory, and holds it against the lines.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.backends.local import LocalBackend
from app.types import PointId, Projection
from tests.builders import everything, search

ROOT = Path(__file__).parents[2]

WRITER = """
import sys
from pathlib import Path
from app.backends.base import Selection
from app.backends.local import LocalBackend
from tests.builders import definition, point

backend = LocalBackend(Path(sys.argv[1]), head_points=60)
backend.create("c", definition())

def call(what, round_, work):
    print("begun", what, round_, flush=True)
    work()
    print("done", what, round_, flush=True)

round_ = int(sys.argv[2])
while True:
    round_ += 1
    # One call writes 20 points that all carry the round: seen together or not at all.
    twenty = [point(n, [round_, n, 1, 0], round=round_) for n in range(20)]
    five = [point(f"{round_}-{n}", [0, 0, n, 1], round=round_) for n in range(5)]
    old = Selection(ids=tuple(f"{round_ - 3}-{n}" for n in range(5)))
    call("move", round_, lambda: backend.upsert("c", twenty))
    call("add", round_, lambda: backend.upsert("c", five))
    call("delete", round_ - 3, lambda: backend.delete("c", old))
    # And one that keeps, in large pages of its own, or forgets.
    body = b"%d " % round_ * 5_000
    if round_ % 4:
        call("keep", round_, lambda: backend.keep("c", "kind", "key", body))
    else:
        call("forget", round_, lambda: backend.forget("c", "kind", "key"))
"""


@dataclass
class Model:
    """What the acknowledged calls say is stored, and the one call whose end is unknown."""

    moved: int = 0
    added: set[int] = field(default_factory=set)
    kept: bytes | None = None
    under_way: tuple[str, int] | None = None

    def read(self, lines: list[str]) -> None:
        for line in lines:
            if not line.endswith("\n"):
                break  # the writer was killed while it printed this
            state, what, number = line.split()
            self.under_way = (what, int(number))
            if state == "done":
                self.happened()

    def happened(self) -> None:
        assert self.under_way is not None
        what, number = self.under_way
        if what == "move":
            self.moved = number
        elif what == "add":
            self.added.add(number)
        elif what in ("keep", "forget"):
            self.kept = b"%d " % number * 5_000 if what == "keep" else None
        else:
            self.added.discard(number)
        self.under_way = None

    def expected(self) -> set[PointId]:
        fives: set[PointId] = {f"{number}-{n}" for number in self.added for n in range(5)}
        return fives | set(range(20))


@pytest.mark.parametrize("seed", range(4))
def test_nothing_acknowledged_is_lost_and_nothing_is_torn(tmp_path: Path, seed: int) -> None:
    moment = random.Random(seed)
    model = Model()
    for start in (0, 10_000, 20_000):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(start)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(2)]  # it is up and has written
        time.sleep(moment.uniform(0.0, 0.4))
        process.kill()
        rest = process.stdout.read()
        process.stdout.close()
        process.wait()
        model.read(first + rest.splitlines(keepends=True))

        backend = LocalBackend(tmp_path, head_points=60)
        points = everything(backend, "c")
        seen = {points[n]["round"] for n in range(20)}
        assert len(seen) == 1, f"a torn write (seed {seed})"
        value = backend.kept("c", "kind", "key")
        kept = None if value is None else value.body
        if (set(points), seen, kept) != (model.expected(), {model.moved}, model.kept):
            assert model.under_way is not None, f"acknowledged writes differ (seed {seed})"
            model.happened()  # then the call whose end we did not hear of happened, as a whole
        assert (set(points), seen) == (model.expected(), {model.moved})
        assert kept == model.kept
        model.under_way = None

        (answer,) = backend.search("c", [search([1, 0, 0, 0], k=20)])
        assert {hit.record.attributes["round"] for hit in answer.hits} == seen
        assert len(backend.get("c", list(points), Projection())) == len(points)
        backend.close()


def test_the_build_process_ends_with_its_service(tmp_path: Path) -> None:
    """Killed, the service leaves no process that goes on building."""
    program = """
import sys, time
from pathlib import Path
from app.backends.local import LocalBackend
from app.types import Metric
from tests.builders import definition, random_points, upsert_all
backend = LocalBackend(Path(sys.argv[1]), head_points=30000, sync=False)
backend.create("c", definition(32, Metric.L2))
upsert_all(backend, "c", random_points(30000, 32))
while backend._builder._running is None:
    time.sleep(0.01)
print(backend._builder._running[1].pid, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    builder = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 10
    while _runs(builder):
        assert time.monotonic() < deadline, "the build process outlives its service"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
