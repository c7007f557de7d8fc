"""Measure what each stage of a query plan costs, at 100 candidates of a real collection.

    OPENBLAS_NUM_THREADS=1 python -m bench.stages FOLDER [--queries 200] [--diversity]

FOLDER holds `papers.jsonl.gz`, `papers.vectors.f16.npy` and `queries.vectors.f16.npy` (60,000 arXiv
papers × 384). The collection is an embedded one in a temporary directory; a second vector of each
paper, and 32 tokens of 128 numbers for the first 4,000, are drawn at random. Plans are read and run
as the service does, on one thread (the service itself keeps numpy's library to one: set it here); a
stage's time is what the account of a plan says of it. Beside medians over the queries stand the
times that a tenth of them stay below: what it takes when nobody else wants the core. `--diversity`
says besides how different the hits are that MMR and DPP choose.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from app.backends.base import View
from app.backends.local import LocalBackend
from app.query.pool import Pool
from app.query.read import Asked, PlanReader
from app.query.running import Running
from app.types import F32, Definition, Point, Projection, VectorField, VectorKind

WITH_TOKENS = 4000
TOKENS, WIDTH = 32, 128
NEAR = {"exp": "update_date", "origin": "2019-06-01", "scale": "365d"}
TOKEN_LEVEL = {"tokens": 0, "using": "tokens"}

PLANS: dict[str, dict[str, Any]] = {
    "recall 10": {},
    "recall 100": {"k": 100},
    "prefetch 2 × 100, fuse": {"prefetch": [{"vector": 0}, {"vector": 0, "using": "other"}],
                               "fuse": "rrf", "leaf": None},
    "using two vectors, weighted": {"using": {"v": 0.7, "other": 0.3}},
    "rescore by a dense vector": {"rescore": {"vector": 0, "using": "other"}},
    "rescore by tokens, MaxSim": {"rescore": TOKEN_LEVEL, "filter": {"tokens": True}},
    "rescore by tokens, attend": {"rescore": {**TOKEN_LEVEL, "aggregate": "attend"},
                                  "filter": {"tokens": True}},
    "boost by a filter": {"boost": [{"filter": {"primary_cat": "cs.LG"}, "weight": 2}]},
    "boost by number and time": {"boost": [NEAR, {"field": "n_authors", "modifier": "log1p"}]},
    "diversity mmr": {"diversity": {"method": "mmr", "using": "v"}},
    "diversity dpp": {"diversity": {"method": "dpp", "using": "v"}},
    "diversity mmr of 1000": {"diversity": {"method": "mmr", "using": "v", "candidates": 1000}},
    "at most 2 of a category": {"diversity": {"by": "primary_cat", "most": 2}},
    "order by year": {"order_by": "year"},
    "10 groups of 3 by category": {"group_by": "primary_cat"},
}  # fmt: skip


def papers(folder: Path, count: int) -> tuple[F32, list[dict[str, Any]]]:
    """Vectors at unit length, and attributes."""
    vectors = np.load(folder / "papers.vectors.f16.npy", mmap_mode="r")[:count].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    attributes = []
    with gzip.open(folder / "papers.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in zip(range(count), lines, strict=False):
            paper = json.loads(line)
            kept = ("title", "year", "primary_cat", "main_categories", "n_authors", "authors")
            own = {name: paper[name] for name in kept}
            own["update_date"] = f"{paper['year']}-{paper['month']:02}-01"
            attributes.append(own | {"tokens": number < WITH_TOKENS})
    return vectors, attributes


def filled(backend: LocalBackend, vectors: F32, attributes: list[dict[str, Any]]) -> None:
    """Write the collection and wait for its graphs."""
    dimension = vectors.shape[1]
    fields = {
        "v": VectorField("v", dimension),
        "other": VectorField("other", dimension),
        "tokens": VectorField("tokens", WIDTH, kind=VectorKind.TOKENS),
    }
    backend.create("c", Definition(fields))
    random = np.random.default_rng(0)
    for begin in range(0, len(vectors), 1000):
        noise = random.normal(scale=0.05, size=(1000, dimension)).astype(np.float32)
        points = []
        for number in range(begin, min(begin + 1000, len(vectors))):
            own: dict[str, Any] = {
                "v": vectors[number],
                "other": vectors[number] + noise[number - begin],
            }
            if number < WITH_TOKENS:
                own["tokens"] = random.normal(size=(TOKENS, WIDTH)).astype(np.float32)
            points.append(Point(number, own, attributes[number]))
        backend.upsert("c", points)
    while backend.describe("c").building:
        time.sleep(0.1)


class Bench:
    """Runs plans for queries, and keeps what their stages took."""

    def __init__(self, backend: LocalBackend, queries: F32) -> None:
        self._backend = backend
        self._queries = queries
        random = np.random.default_rng(1)
        self._tokens = random.normal(size=(len(queries), TOKENS, WIDTH)).astype(np.float32)

    def run(self, members: dict[str, Any], number: int) -> tuple[Pool, Running, float]:
        """Answer one query: its page, its run and the milliseconds, reading the page included."""
        members = dict(members)
        options = {
            name: members.pop(name) for name in ("k", "using", "filter", "leaf") if name in members
        }
        asked = Asked("", ("vector", 0, None), "v", None, 10, 0, members)._replace(**options)

        def work(view: View) -> tuple[Pool, Running, float]:
            begun = time.perf_counter()
            plan = PlanReader(10_000, 100, asked).plan()
            running = Running(view, {}, {}, plan.filter)
            fields, leaves = {}, {}
            for lookup in plan.lookups():
                fields[lookup.at] = view.definition.vectors[lookup.using or "v"]
                for leaf in lookup.expression.leaves():
                    own = self._tokens if leaf.kind == "tokens" else self._queries
                    leaves[leaf.at, lookup.using or "v"] = own[number]
            running.fields, running.leaves = fields, leaves
            pool = plan.run(running)
            view.records(pool.rows, Projection())
            return pool, running, (time.perf_counter() - begun) * 1e3

        return self._backend.view("c", work)

    def measure(
        self, members: dict[str, Any]
    ) -> tuple[list[float], dict[str, list[float]], dict[str, int]]:
        """Milliseconds of a plan, of each of its stages, and candidates that each took."""
        whole: list[float] = []
        stages: dict[str, list[float]] = defaultdict(list)
        taken: dict[str, int] = {}
        for number in range(min(10, len(self._queries))):
            self.run(members, number)
        for number in range(len(self._queries)):
            _, running, took_ms = self.run(members, number)
            whole.append(took_ms)
            for place, entry in enumerate(running.account):
                stages[f"{place}|{entry['stage']}"].append(entry["ms"])
                taken[f"{place}|{entry['stage']}"] = entry["in"]
        return whole, dict(stages), taken


def report(bench: Bench) -> None:
    """Print a line for each plan."""
    print("| plan | ms, median | ms, tenth | of the tenth, stage by stage |\n|---|---|---|---|")
    for name, members in PLANS.items():
        whole, stages, taken = bench.measure(members)
        parts = []
        for key, ms in stages.items():
            entering = f" ({taken[key]} in)" if taken[key] else ""
            parts.append(f"{key.split('|')[1]} {np.quantile(ms, 0.1):.2f}{entering}")
        print(
            f"| {name} | {median(whole):.2f} | {np.quantile(whole, 0.1):.2f} | {', '.join(parts)} |"
        )


def differences(bench: Bench, vectors: F32, attributes: list[dict[str, Any]], queries: F32) -> None:
    """Print relevance, likeness and categories of ten hits, chosen in several ways."""
    print("\n| hits | mean cosine to the query | mean cosine to each other | categories |")
    print("|---|---|---|---|")
    ways: dict[str, Any] = {"the nearest": None}
    ways |= {f"mmr, λ {x}": {"method": "mmr", "lambda": x} for x in (0.7, 0.5, 0.3)}
    ways |= {f"dpp, strength {x}": {"method": "dpp", "strength": x} for x in (0.2, 0.5, 0.8)}
    ways["at most 2 of a category"] = {"by": "primary_cat", "most": 2}
    for name, how in ways.items():
        told = []
        for number, query in enumerate(queries):
            members = {"diversity": how} if how else {"k": 10}
            rows, _ = _ids(bench.run(members, number)[0])
            chosen = vectors[rows]
            alike = chosen @ chosen.T
            between = (alike.sum() - np.trace(alike)) / (len(rows) * (len(rows) - 1))
            categories = {attributes[row]["primary_cat"] for row in rows}
            told.append((float((chosen @ query).mean()), float(between), len(categories)))
        relevance, between, categories = np.mean(told, axis=0)
        print(f"| {name} | {relevance:.3f} | {between:.3f} | {categories:.1f} |")


def _ids(pool: Pool) -> tuple[list[int], list[float]]:
    from app.keys import id_from_key

    return [int(id_from_key(key)) for key in pool.keys], pool.scores.tolist()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--papers", type=int, default=60_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--diversity", action="store_true")
    chosen = parser.parse_args()
    vectors, attributes = papers(chosen.folder, chosen.papers)
    queries = np.load(chosen.folder / "queries.vectors.f16.npy")[: chosen.queries].astype(
        np.float32
    )
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as folder:
        backend = LocalBackend(Path(folder), sync=False, build_threads=1)
        filled(backend, vectors, attributes)
        bench = Bench(backend, queries)
        report(bench)
        if chosen.diversity:
            differences(bench, vectors, attributes, queries)
        backend.close()


if __name__ == "__main__":
    main()
