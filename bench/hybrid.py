"""Measure how well words, vectors and both together find what is relevant: nDCG@10.

    python -m bench.hybrid DATA [--encoder NAME] [--lexical JSON] [--tasks …] [--methods …]

DATA holds `scifact` and `cranfield`: corpus.jsonl[.gz] (_id, title, text), queries.jsonl,
qrels*.tsv. Everything goes through a real service and the SDK. Each document is one point: its
title and text are the point's text, which the default encoder reads and the lexical index holds;
the title alone is an attribute, indexed as well.

`hybrid` is asked with its defaults, and then every fusion there is at several weights. Where a
weight is chosen, that is done on other queries than those it is judged by: SciFact's training
queries, and for Cranfield, which has none, the four fifths of the queries that a query is not in.
Differences are of the same queries, with the interval that holds 95 of 100 bootstrap means.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from likewise import Client, Collection
from numpy.typing import NDArray

from app.evaluation.measures import ndcg
from app.ranking.fusion import METHODS, NORMALISATIONS, POSITIVE
from bench.arxiv import answers, server, wait_until
from bench.servers.base import free_port

K = 10
WEIGHTS = tuple(round(0.1 * tenths, 1) for tenths in range(1, 10))
FOLDS = 5
RESAMPLED = 10_000
TEXT = ["$text"]

F64 = NDArray[np.float64]
Judged = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Task:
    """A collection of documents, its queries, and which documents are relevant to them.

    test, dev   judgements by query; `dev` is empty where there is no set to choose weights on
    """

    name: str
    documents: list[dict[str, str]]
    queries: dict[str, str]
    test: Judged
    dev: Judged = field(default_factory=dict)


def lines(path: Path) -> Iterator[dict[str, str]]:
    """Read JSON lines, compressed or not."""
    packed = path.with_name(f"{path.name}.gz")
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    for line in text.splitlines():
        yield json.loads(line)


def judgements(path: Path) -> Judged:
    """Read qrels: the largest gain that a document was given; queries without any are left out."""
    judged: Judged = defaultdict(dict)
    for line in path.read_text().splitlines()[1:]:
        query, document, gain = line.split("\t")
        judged[query][document] = max(float(gain), judged[query].get(document, 0.0))
    return {query: gains for query, gains in judged.items() if any(g > 0 for g in gains.values())}


def tasks(data: Path) -> Iterator[Task]:
    """Load both."""
    for name in ("scifact", "cranfield"):
        folder = data / name
        documents = list(lines(folder / "corpus.jsonl"))
        queries = {one["_id"]: one["text"] for one in lines(folder / "queries.jsonl")}
        if (folder / "qrels_test.tsv").exists():
            test, dev = (judgements(folder / f"qrels_{part}.tsv") for part in ("test", "train"))
            yield Task(name, documents, queries, test, dev)
        else:
            yield Task(name, documents, queries, judgements(folder / "qrels.tsv"))


def text_of(document: Mapping[str, str]) -> str:
    """Give title and text, the title once: some corpora repeat it at the beginning of the text."""
    title, text = document["title"].strip(), document["text"].strip()
    return text if text.startswith(title) else f"{title}. {text}"


def filled(client: Client, task: Task, encoder: str, lexical: Any) -> Collection:
    """Store a task's documents, and wait until they are indexed."""
    collection = client.create_collection(task.name, encoder=encoder, lexical=lexical)
    collection.upsert(
        {
            "id": one["_id"],
            "text": text_of(one) or "(empty)",
            "attributes": {"title": one["title"]},
        }
        for one in task.documents
    )
    wait_until(lambda: not collection.describe().building)
    return collection


class Asking:
    """Asks all judged queries of a task, and keeps nDCG@10 of each."""

    def __init__(self, collection: Collection, task: Task) -> None:
        self._collection = collection
        self._task = task

    def dense(self, query: str) -> dict[str, Any]:
        """By vector alone."""
        return {"text": self._task.queries[query]}

    def words(self, query: str, fields: Any = None) -> dict[str, Any]:
        """By words alone."""
        return {"query": {"lexical": {"text": self._task.queries[query], "fields": fields}}}

    def hybrid(self, query: str) -> dict[str, Any]:
        """By both, as the service does it unless it is told how."""
        return {"text": self._task.queries[query], "hybrid": {"fields": TEXT}}

    def fused(self, query: str, how: Mapping[str, Any], weight: float) -> dict[str, Any]:
        """By both, with some fusion."""
        hybrid = {"fields": TEXT, "weight": weight, **how}
        return {"text": self._task.queries[query], "hybrid": hybrid}

    def measured(self, question: Any, judged: Judged, *more: Any) -> F64:
        """Ask, and give nDCG@10 of each query in the order of `judged`."""
        found: list[float] = []
        queries = list(judged)
        for start in range(0, len(queries), 50):
            some = queries[start : start + 50]
            asked = [
                {**question(one, *more), "k": K, "fields": [], "with_text": False} for one in some
            ]
            for query, answer in zip(some, self._collection.query_batch(asked), strict=True):
                found.append(ndcg([hit.id for hit in answer], judged[query], K))
        return np.array(found)


def fusions() -> dict[str, dict[str, Any]]:
    """Name every fusion of the service, but for calibrated ones, which need a stored calibration:
    `bench.fusion` measures those."""
    named: dict[str, dict[str, Any]] = {
        "rrf": {"fuse": "rrf"},
        "rrf, constant 10": {"fuse": {"method": "rrf", "rank_constant": 10}},
    }
    for method in METHODS:
        for how in NORMALISATIONS:
            if how in ("none", "calibrated") or method == "rrf":
                continue
            if method == "product" and how not in POSITIVE:
                continue
            if method == "max" and how != "minmax":
                continue  # the larger of two numbers of different scales says nothing
            named[f"{method}, {how}"] = {"fuse": method, "normalise": how}
    return named


def chosen(by_weight: Mapping[float, F64], dev: Mapping[float, F64] | None) -> tuple[F64, str]:
    """Take for each query the weight that is best on others: (nDCG of each, the weights in words).

    dev   of the development set by weight; None chooses in folds
    """
    if dev is not None:
        best = max(dev, key=lambda weight: float(dev[weight].mean()))
        return by_weight[best], f"{best:g}"
    count = next(iter(by_weight.values())).size
    fold = np.random.default_rng(0).permutation(count) % FOLDS
    result = np.zeros(count)
    taken = []
    for number in range(FOLDS):
        inside = fold == number
        best = max(by_weight, key=lambda weight: float(by_weight[weight][~inside].mean()))
        result[inside] = by_weight[best][inside]
        taken.append(f"{best:g}")
    return result, " ".join(sorted(set(taken)))


def interval(difference: F64) -> tuple[float, float]:
    """Bound the mean of paired differences: the middle 95 % of bootstrap means."""
    drawn = np.random.default_rng(0).integers(difference.size, size=(RESAMPLED, difference.size))
    low, high = np.quantile(difference[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def row(name: str, scores: F64, best: F64, weight: str = "") -> str:
    """Write a row of the table; `best` is the better of words and vectors alone."""
    low, high = interval(scores - best)
    gain = float((scores - best).mean())
    return f"| {name} | {weight} | {scores.mean():.4f} | {gain:+.4f} [{low:+.4f}, {high:+.4f}] |"


def measured(
    client: Client, task: Task, encoder: str, lexical: Any, only: Sequence[str]
) -> Iterator[str]:
    """Measure one task, as a table."""
    asking = Asking(filled(client, task, encoder, lexical), task)
    words = asking.measured(asking.words, task.test, TEXT)
    titled = asking.measured(asking.words, task.test)
    dense = asking.measured(asking.dense, task.test)
    best = max(words, dense, key=lambda scores: float(scores.mean()))
    yield f"\n**{task.name}**: {len(task.documents)} documents, {len(task.test)} queries\n"
    yield "| system | weight of vectors | nDCG@10 | over the better single one [95 %] |"
    yield "|---|---|---|---|"
    yield row("words", words, best)
    yield row("words, title beside", titled, best)
    yield row("vectors", dense, best)
    yield row("**hybrid: true**", asking.measured(asking.hybrid, task.test), best, "default")
    for name, fuse in fusions().items():
        if only and name.partition(",")[0] not in only:
            continue
        by_weight = {
            weight: asking.measured(asking.fused, task.test, fuse, weight) for weight in WEIGHTS
        }
        dev = None
        if task.dev:
            dev = {
                weight: asking.measured(asking.fused, task.dev, fuse, weight) for weight in WEIGHTS
            }
        yield row(name, by_weight[0.5], best, "0.5")
        scores, weights = chosen(by_weight, dev)
        yield row(name, scores, best, f"chosen: {weights}")


def main() -> None:
    """Measure both tasks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument(
        "--lexical",
        type=json.loads,
        default={"fields": ["title", "$text"]},
        help="the definition of the lexical index",
    )
    parser.add_argument("--tasks", nargs="*", default=["scifact", "cranfield"])
    parser.add_argument("--methods", nargs="*", default=[], help="of fusions; all without it")
    asked = parser.parse_args()
    os.environ["LIKEWISE_EMBEDDING_CACHE_MB"] = "64"  # each query is asked many times
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), port),
        Client(f"http://127.0.0.1:{port}", timeout=600) as client,
    ):
        wait_until(lambda: answers(client) and client.ready().status == "ready")
        for task in tasks(asked.data):
            if task.name not in asked.tasks:
                continue
            for line in measured(client, task, asked.encoder, asked.lexical, asked.methods):
                print(line, flush=True)


if __name__ == "__main__":
    main()
