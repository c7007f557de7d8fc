"""The texts that are encoded, and what people say of them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs and how alike people found them (the STS benchmark, Cer et al. 2017)."""

    first: list[str]
    second: list[str]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Retrieval:
    """Documents, queries and which are relevant, as BEIR lays them out (Thakur et al. 2021)."""

    documents: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, dict[str, int]]


def sentence_pairs(folder: Path) -> Pairs:
    """Read the test part of the STS benchmark."""
    rows = list(_lines(folder / "stsb" / "stsb-en-test.jsonl"))
    return Pairs(
        [row["s1"] for row in rows],
        [row["s2"] for row in rows],
        np.array([float(row["score"]) for row in rows]),
    )


def short_texts(folder: Path, count: int) -> list[str]:
    """Sentences of the STS benchmark, each once, in their order."""
    pairs = sentence_pairs(folder)
    both = [text for pair in zip(pairs.first, pairs.second, strict=True) for text in pair]
    return list(dict.fromkeys(both))[:count]


def long_texts(folder: Path, count: int) -> list[str]:
    """Titles and abstracts of papers, evenly drawn from those there are."""
    rows = [
        f"{row['title']}. {row['abstract']}"
        for row in _lines(folder / "arxiv" / "papers.jsonl.gz", most=20_000)
    ]
    return rows[:: max(1, len(rows) // count)][:count]


def scifact(folder: Path) -> Retrieval:
    """Read SciFact: title and abstract, the claims of the test part."""
    place = folder / "scifact"
    documents = {
        row["_id"]: f"{row['title']} {row['text']}".strip()
        for row in _lines(place / "corpus.jsonl.gz")
    }
    relevant: dict[str, dict[str, int]] = {}
    with (place / "qrels_test.tsv").open(newline="", encoding="utf-8") as table:
        for query, document, score, *_ in list(csv.reader(table, delimiter="\t"))[1:]:
            relevant.setdefault(query, {})[document] = int(score)
    queries = {
        row["_id"]: row["text"] for row in _lines(place / "queries.jsonl") if row["_id"] in relevant
    }
    return Retrieval(documents, queries, relevant)


def ndcg(
    retrieval: Retrieval, documents: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> float:
    """Mean nDCG@k of the inner product, gains as judged (Järvelin and Kekäläinen 2002)."""
    ids = list(retrieval.documents)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    gained = []
    for query, vector in zip(retrieval.queries, queries, strict=True):
        judged = retrieval.relevant[query]
        best = np.argsort(-(documents @ vector), kind="stable")[:k]
        found = np.array([judged.get(ids[place], 0) for place in best], np.float64)
        ideal = np.sort(np.array(list(judged.values()), np.float64))[::-1][:k]
        due = float(ideal @ discounts[: len(ideal)])
        if due > 0:
            gained.append(float(found @ discounts[: len(found)]) / due)
    return float(np.mean(gained))


def spearman(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Spearman's correlation; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: NDArray[np.float64] = (last - (counts - 1) / 2)[where]
    return means


def _lines(path: Path, most: int | None = None) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for place, line in enumerate(lines):
            if place == most:
                return
            yield json.loads(line)
