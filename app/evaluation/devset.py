"""A small task to judge a text encoder by: sentence pairs with scores, or a search with judgements.

Two layouts are read:

- JSON lines with two texts and a score, as the STS benchmark has them (Cer et al. 2017,
  arXiv 1708.00055): `s1`, `s2`, `score`. The measure is Spearman's correlation of the cosines with
  the scores.
- A folder as BEIR lays out its sets (Thakur et al. 2021, arXiv 2104.08663): `corpus.jsonl`,
  `queries.jsonl` (either may be gzipped), and judgements in `qrels/test.tsv`, `qrels_test.tsv` or
  `qrels.tsv`. The measure is the mean nDCG@10 over the judged queries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from app.errors import InvalidRequest
from app.evaluation.loaders.beir import read_beir
from app.evaluation.loaders.sets import read_sts
from app.evaluation.measures import ndcg, spearman
from app.types import F32

Encode = Callable[[list[str], Literal["query", "document"]], F32]
"""Texts as unit vectors [text, dim]."""

DEPTH = 10
_BLOCK = 256  # queries whose scores are held at once


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sentence pairs and how alike people found them."""

    first: list[str]
    second: list[str]
    scores: list[float]

    measure = "Spearman's correlation"

    @property
    def texts(self) -> list[str]:
        """Every text once."""
        return list(dict.fromkeys([*self.first, *self.second]))

    def score(self, encode: Encode) -> float:
        """Correlate the cosines of the pairs with their scores."""
        one, other = encode(self.first, "document"), encode(self.second, "document")
        return spearman(np.einsum("nd,nd->n", one, other), np.array(self.scores))


@dataclass(frozen=True, slots=True)
class Search:
    """Documents, queries and which documents are relevant: query → document → gain."""

    documents: dict[str, str]
    queries: dict[str, str]
    gains: dict[str, dict[str, float]]

    measure = f"nDCG@{DEPTH}"

    @property
    def texts(self) -> list[str]:
        """Every text once, queries first."""
        return list(dict.fromkeys([*self.queries.values(), *self.documents.values()]))

    def score(self, encode: Encode) -> float:
        """Mean nDCG@10 of the queries that have something relevant."""
        ids = list(self.documents)
        vectors = encode(list(self.documents.values()), "document")
        asked = encode(list(self.queries.values()), "query")
        judged = list(self.queries)
        reached = []
        for start in range(0, len(judged), _BLOCK):
            scores = asked[start : start + _BLOCK] @ vectors.T
            best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
            for query, places in zip(judged[start:], best, strict=False):
                reached.append(ndcg([ids[place] for place in places], self.gains[query], DEPTH))
        return float(np.mean([one for one in reached if not math.isnan(one)]))


def read_devset(path: Path) -> Pairs | Search:
    """Read a file of pairs or a folder of a search.

    Raises InvalidRequest naming the file and what was expected there.
    """
    try:
        return _read_search(path) if path.is_dir() else _read_pairs(path)
    except InvalidRequest as error:
        raise InvalidRequest(
            f"{path} is no development set: expected JSON lines with s1, s2 and score, or a folder "
            f"with corpus.jsonl, queries.jsonl and qrels ({error.detail})"
        ) from error


def _read_pairs(path: Path) -> Pairs:
    found = read_sts(path)
    return Pairs(
        [one.value for one in found.first], [one.value for one in found.second], found.said
    )


def _read_search(folder: Path) -> Search:
    found = read_beir(folder)
    documents = {document.id: document.whole for document in found.documents()}
    return Search(documents, found.queries, found.gains)
