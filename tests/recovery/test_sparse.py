"""Postings of sparse vectors are derived: damaged, lost or never built, answers stay exact."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.backends.base import Recall, Recalled, Selection
from app.backends.local import LocalBackend
from app.errors import CorruptFile
from app.keys import id_from_key
from app.segments.segment import Segment
from app.types import Definition, Metric, Point, Sparse, VectorField, VectorKind
from tests.builders import settle, vector

from .test_damage import DAMAGES

COUNT, INDICES = 300, 40
FIELDS = [
    VectorField("v", 2, Metric.IP),
    VectorField("terms", 0, Metric.IP, kind=VectorKind.SPARSE),
]
FILES = ["terms", "starts", "slots", "weights"]


def opened(folder: Path) -> LocalBackend:
    return LocalBackend(folder, sync=False, head_points=100)


def sparse(seed: int) -> Sparse:
    drawn = np.random.default_rng(seed)
    indices = np.sort(drawn.choice(INDICES, size=1 + seed % 8, replace=False))
    return Sparse(indices.astype(np.int64), drawn.integers(1, 9, indices.size).astype(np.float32))


def found(backend: LocalBackend, seed: int) -> tuple[int, list[Any]]:
    wanted = Recall(sparse(seed), "terms", k=20)

    def recall(view: Any) -> Recalled:
        recalled: Recalled = view.recall(wanted)
        return recalled

    recalled = backend.view("c", recall)
    ids = [id_from_key(key) for key in recalled.candidates.keys]
    return recalled.matches, [*zip(ids, recalled.candidates.scores.tolist(), strict=True)]


def answers(backend: LocalBackend) -> list[tuple[int, list[Any]]]:
    return [found(backend, 1000 + number) for number in range(6)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, list[Any]]]]:
    """A closed data directory: one segment, extended once, a tombstone in it, and a head."""
    folder = tmp_path_factory.mktemp("whole")
    backend = opened(folder)
    backend.create("c", Definition({field.name: field for field in FIELDS}))
    points = []
    for n in range(COUNT):
        own = {"v": vector(n, 1)} | ({"terms": sparse(n)} if n % 4 else {})
        points.append(Point(n, own, {}))
    for start, end in ((0, 150), (150, 290)):
        backend.upsert("c", points[start:end])
        settle(backend, "c")
    backend.upsert("c", points[290:])
    backend.delete("c", Selection(ids=(5, 77, 295)))
    expected = answers(backend)
    assert all(matches > 20 for matches, _ in expected)
    backend.close()
    return folder, expected


def segment(folder: Path) -> Path:
    (path,) = folder.glob("collections/*/segments/*")
    return path


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damage_to_postings_is_noticed(whole: Any, tmp_path: Path, damage: str) -> None:
    source = segment(whole[0])
    assert {f"v1.postings.{name}.npy" for name in FILES} == {
        path.name for path in source.glob("v1.postings.*")
    }
    for name in FILES:
        copy = tmp_path / source.name
        shutil.copytree(source, copy)
        Segment.open(copy, fields=FIELDS)
        DAMAGES[damage](copy / f"v1.postings.{name}.npy")
        with pytest.raises(CorruptFile):
            Segment.open(copy, fields=FIELDS)
        shutil.rmtree(copy)


@pytest.mark.parametrize("damage", ["middle", "deleted", "segment"])
def test_damaged_postings_are_answered_for_and_built_again(
    whole: Any, tmp_path: Path, damage: str
) -> None:
    source, expected = whole
    shutil.copytree(source, tmp_path / "data")
    folder = segment(tmp_path / "data")
    if damage == "segment":
        shutil.rmtree(folder)
    else:
        DAMAGES[damage](folder / "v1.postings.weights.npy")
    backend = opened(tmp_path / "data")
    assert answers(backend) == expected
    settle(backend, "c")
    assert answers(backend) == expected
    (statistics,) = backend.statistics().collections
    assert (statistics.segments, statistics.dead_slots) == (1, 0)
    names = {path.name for path in segment(tmp_path / "data").iterdir()}
    assert {f"v1.postings.{name}.npy" for name in FILES} <= names
    backend.close()


def test_a_snapshot_brings_sparse_vectors_back(whole: Any, tmp_path: Path) -> None:
    source, expected = whole
    shutil.copytree(source, tmp_path / "data")
    backend = opened(tmp_path / "data")
    assert backend.snapshots is not None
    backend.snapshots.take("c", "s")
    backend.drop("c")
    backend.snapshots.restore("s", "c", replace=False)
    assert answers(backend) == expected
    settle(backend, "c")
    assert answers(backend) == expected
    backend.close()


def test_postings_are_counted_among_the_bytes_of_segments(whole: Any, tmp_path: Path) -> None:
    shutil.copytree(whole[0], tmp_path / "data")
    backend = opened(tmp_path / "data")
    folder = segment(tmp_path / "data")
    (statistics,) = backend.statistics().collections
    files = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert statistics.segment_bytes >= files
    assert sum(path.stat().st_size for path in folder.glob("v1.postings.*")) > 8 * COUNT
    backend.close()
