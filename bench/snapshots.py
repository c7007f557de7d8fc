"""How long a snapshot takes, to be taken, verified and restored: `python -m bench.snapshots`."""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from app.backends.base import Search
from app.backends.local import LocalBackend
from app.types import Definition, Metric, Point, VectorField

BATCH = 2_000
TEXT = "A text of about the length that an abstract's first sentence has, or a product's title. "


def points(rng: np.random.Generator, start: int, dimension: int) -> list[Point]:
    """A batch of points with a text and three attributes."""
    vectors = rng.standard_normal((BATCH, dimension), dtype=np.float32)
    return [
        Point(n, {"v": vectors[n - start]}, {"year": n % 100, "tags": [f"t{n % 7}"], "n": n}, TEXT)
        for n in range(start, start + BATCH)
    ]


def main() -> None:
    """Measure once, with writes going on while the snapshot is taken, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--folder", type=Path, default=None, help="where; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        # No builds: they would take turns with what is measured.
        backend = LocalBackend(Path(folder), sync=False, head_points=10**9)
        backend.create("c", Definition({"v": VectorField("v", options.dimension, Metric.COSINE)}))
        rng = np.random.default_rng(0)
        for start in range(0, options.points, BATCH):
            backend.upsert("c", points(rng, start, options.dimension))

        over, slowest, writes = threading.Event(), 0.0, 0

        def write() -> None:
            nonlocal slowest, writes
            few = points(rng, 0, options.dimension)[:10]
            while not over.is_set():
                begun = time.perf_counter()
                backend.upsert("c", few)
                slowest = max(slowest, time.perf_counter() - begun)
                writes += 1
                time.sleep(0.01)

        writer = threading.Thread(target=write)
        writer.start()
        begun = time.perf_counter()
        info = backend.snapshots.take("c", "s")
        took_s = time.perf_counter() - begun
        over.set()
        writer.join()
        print(f"{info.points} points of {options.dimension} numbers, {info.size / 1e6:.0f} MB")
        worst_ms = slowest * 1e3
        print(f"take     {took_s:6.1f} s; {writes} writes meanwhile, the slowest {worst_ms:.0f} ms")

        incoming = backend.snapshots.receive(info.size)
        _, file = backend.snapshots.open("s")
        with file:
            while piece := file.read(1 << 20):
                incoming.write(piece)
        begun = time.perf_counter()
        incoming.keep("t", sha256=info.sha256)
        print(f"verify   {time.perf_counter() - begun:6.1f} s, as after an upload")
        incoming.discard()

        begun = time.perf_counter()
        backend.snapshots.restore("s", "d", replace=False)
        print(f"restore  {time.perf_counter() - begun:6.1f} s, until it answers")
        begun = time.perf_counter()
        query = Search(rng.standard_normal(options.dimension, dtype=np.float32), "v", None, 10)
        backend.search("d", [query])
        print(f"query    {(time.perf_counter() - begun) * 1e3:6.1f} ms, exact, before any build")
        backend.close()


if __name__ == "__main__":
    main()
