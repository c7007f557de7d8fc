"""The lexical index across kills, damage, restarts and snapshots: derived, so made again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.attributes.filter import parse_filter
from app.backends.local import LocalBackend
from app.errors import InvalidSnapshot, LexicalUnavailable
from app.types import TEXT_FIELD, Lexical
from tests.builders import definition, point, settle
from tests.snapshots.making import content, forged, receive
from tests.snapshots.making import opened as opened_backend

ROOT = Path(__file__).parents[2]
LEXICAL = Lexical({TEXT_FIELD: 1.0, "title": 2.0}, "english")
RARE, COMMON = parse_filter({"$match": "rare*"}), parse_filter({"title": {"$match": "paper"}})
COUNT = 4000

PROGRAM = """
import sys, time
from pathlib import Path
from app.backends.local import LocalBackend
from tests.builders import definition, settle
from tests.recovery.test_words import LEXICAL, filled

backend = filled(Path(sys.argv[1]))
settle(backend, "c")
backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
print("altered", flush=True)
settle(backend, "c")
print("indexed", flush=True)
time.sleep(60)
"""


def filled(folder: Path) -> LocalBackend:
    """A collection of `COUNT` texts without a lexical index; 60 of them have a rare word."""
    backend = LocalBackend(folder, sync=False, head_points=1000)
    backend.create("c", definition(2))
    points = [
        point(n, [n, 1], f"words of text {n}" + " rarely" * (n % 100 == 0), title=f"paper {n}")
        for n in range(COUNT)
    ]
    for start in range(0, COUNT, 1000):
        backend.upsert("c", points[start : start + 1000])
    return backend


def waited(backend: LocalBackend, seconds: float = 30.0) -> int:
    """How many points have the rare word, as soon as the index can tell."""
    until = time.monotonic() + seconds
    while True:
        try:
            return backend.count("c", RARE)
        except LexicalUnavailable:
            assert time.monotonic() < until, "the words are not indexed"
            time.sleep(0.01)


@pytest.mark.parametrize("after_s", [0.0, 0.3])
def test_an_index_that_was_acknowledged_is_there_after_a_kill(
    tmp_path: Path, after_s: float
) -> None:
    """Killed while the words are indexed in the background: the next start goes on."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "altered\n"
    time.sleep(after_s)
    process.kill()
    rest = process.stdout.read()
    process.stdout.close()
    process.wait()
    if after_s == 0.0:
        assert rest == "", "the words were indexed before the kill: nothing was tested"
    backend = LocalBackend(tmp_path, sync=False, head_points=1000)
    assert backend.definition("c").lexical == LEXICAL
    assert waited(backend) == COUNT // 100
    assert backend.count("c", COMMON) == COUNT
    backend.close()


def _broken(folder: Path) -> None:
    damaged = next(folder.glob("**/*.words.*/stream.npy"))
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)


def _removed(folder: Path) -> None:
    for file in next(folder.glob("**/*.words.*")).iterdir():
        file.unlink()


@pytest.mark.parametrize("damage", [_broken, _removed])
def test_damaged_words_are_made_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    backend = filled(tmp_path)
    backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
    settle(backend, "c")
    backend.close()
    damage(tmp_path)
    backend = LocalBackend(tmp_path, sync=False, head_points=1000)
    assert waited(backend) == COUNT // 100
    settle(backend, "c")
    backend.close()


def test_words_that_serve_no_index_any_more_leave_the_disk(tmp_path: Path) -> None:
    backend = filled(tmp_path)
    backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
    settle(backend, "c")
    before = set(tmp_path.glob("**/*.words.*"))
    assert before
    plain = Lexical(LEXICAL.fields, None)
    backend.alter("c", schema=None, index=None, lexical=lambda present: plain)
    assert waited(backend) == COUNT // 100
    settle(backend, "c")
    assert before.isdisjoint(tmp_path.glob("**/*.words.*"))
    backend.alter("c", schema=None, index=None, lexical=lambda present: None)
    settle(backend, "c")
    assert not list(tmp_path.glob("**/*.words.*"))
    backend.close()


def test_what_is_written_while_words_are_indexed_is_found(tmp_path: Path) -> None:
    backend = filled(tmp_path)
    settle(backend, "c")
    backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
    backend.upsert("c", [point("new", [1, 1], "rare"), point(0, [1, 1], "common")])
    assert waited(backend) == COUNT // 100
    backend.upsert("c", [point("newer", [1, 1], "rarest")])
    assert backend.count("c", RARE) == COUNT // 100 + 1
    backend.close()


def test_a_snapshot_brings_its_lexical_index_along(tmp_path: Path) -> None:
    backend = opened_backend(tmp_path)
    backend.create("c", definition(2))
    backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
    backend.upsert("c", [point(n, [n, 1], "rarely" if n % 7 == 0 else "often") for n in range(50)])
    assert backend.snapshots is not None
    backend.snapshots.take("c", "s")
    backend.drop("c")
    backend.snapshots.restore("s", "c", replace=False)
    assert backend.definition("c").lexical == LEXICAL
    assert waited(backend) == 8
    backend.close()


@pytest.mark.parametrize(
    "lexical",
    [
        {"fields": {"a": "x"}, "language": None},
        {"fields": {"a": -1.0}, "language": None},
        {"fields": {}, "language": "english"},
        {"fields": {"$id": 1.0}, "language": "english"},
        {"fields": {"a": 1.0}, "language": "../english"},
        {"fields": ["a"], "language": "english"},
        True,
    ],
)
def test_a_forged_definition_of_an_index_is_refused(tmp_path: Path, lexical: object) -> None:
    backend = opened_backend(tmp_path)
    backend.create("c", definition(2))
    backend.upsert("c", [point(1, [1, 1])])
    assert backend.snapshots is not None
    backend.snapshots.take("c", "s")

    def forge(manifest: dict[str, Any]) -> None:
        manifest["definition"]["lexical"] = lexical

    octets = forged(content(backend, "s"), tmp_path, manifest=forge)
    with pytest.raises(InvalidSnapshot):
        receive(backend, "forged", octets)
    backend.close()
