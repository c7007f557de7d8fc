"""Damaged segments under fitting checksums: refused, or searched without leaving their arrays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.backends.local import LocalBackend
from app.segments.cover_writer import write_covers
from app.segments.covers import Wish
from app.segments.segment import Segment
from app.types import Definition, Point, Sparse, VectorValue
from tests.builders import settle, upsert_all

from .cases import EXAMPLES, note
from .segment_worker import DENSE, FIELDS, described

POINTS = 400


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a segment of two dense fields, one partial, a sparse one, and its covers."""
    base = tmp_path_factory.mktemp("segments")
    random = np.random.default_rng(0)
    backend = LocalBackend(base / "data", sync=False, head_points=POINTS, build_threads=1)
    backend.create("c", Definition({field.name: field for field in FIELDS}))
    points = []
    for n in range(POINTS):
        a, b = (random.normal(size=field.dimension).astype(np.float32) for field in DENSE)
        indices = np.flatnonzero(random.random(40) < 0.2)
        terms = Sparse(indices, random.normal(size=indices.size).astype(np.float32))
        attributes = {
            "n": n,
            "group": n % 10,
            "tags": ["x", "y", "z"][: n % 4],
            "when": f"2020-01-{n % 28 + 1:02}T00:00:00Z",
            "share": n / 7,
            "odd": bool(n % 2),
        }
        vectors: dict[str, VectorValue] = {"a": a, "b": b} if n % 5 else {"a": a}
        vectors |= {"terms": terms} if n % 7 else {}
        points.append(Point(n if n % 3 else f"s{n}", vectors, attributes))
    upsert_all(backend, "c", points)
    settle(backend, "c")
    backend.close()
    (folder,) = (base / "data").glob("collections/*/segments/*")
    (base / "whole").mkdir()
    folder.rename(base / "whole" / "segment")
    described(base / "whole" / "segment", lambda value: value | {"folder": "segment"})
    segment = Segment.open(base / "whole" / "segment", fields=FIELDS)
    write_covers(
        base / "whole" / "covers",
        segment,
        [Wish(0, "group", "values"), Wish(1, "n", "numbers"), Wish(0, "n", "numbers")],
        [field.metric for field in FIELDS],
        16,
        least=20,
        budget=1 << 20,
        threads=1,
        progress=lambda *_: None,
    )
    return base


def test_a_damaged_segment_never_ends_the_process(whole: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.segment_worker", str(whole), "0", str(EXAMPLES)],
        capture_output=True,
        text=True,
        timeout=7200,
    )
    assert ran.returncode == 0, f"{ran.returncode} after {ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
    outcomes = json.loads(ran.stdout.splitlines()[-1])
    note("segments", EXAMPLES, **outcomes)
    # Ids that are no UTF-8 are decoded where they are shown: an error of one request.
    assert set(outcomes) <= {"refused", "served", "raised UnicodeDecodeError"}, ran.stdout[-6000:]
    assert outcomes["refused"] > EXAMPLES // 4
    assert outcomes["served"] > EXAMPLES // 20
