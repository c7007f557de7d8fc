"""The papers that the benchmarks search: their vectors, the filters drawn from them, the truth.

A folder holds `papers.jsonl.gz`, `papers.vectors.f16.npy`, `queries.vectors.f16.npy`: papers with
title, abstract, categories, main_categories, primary_cat, n_categories, year and authors, one
vector each; and vectors of titles as queries. The filter families are those of the FANNS benchmark
(arXiv 2507.21989: EM, EMIS, R) and harder ones; values are drawn from the data, a different filter
for each query.

A filter is a tuple of clauses, all of which must hold: every system under test writes it in its
own language, and `Columns` answers it in numpy.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

K = 10
NUMBERS = ("year", "n_categories")
KEYWORDS = ("primary_cat",)
LISTS = ("main_categories", "authors")
Paper = dict[str, Any]


@dataclass(frozen=True)
class Equal:
    """The field has this value."""

    field: str
    value: int | str


@dataclass(frozen=True)
class Contains:
    """The list field has this element."""

    field: str
    value: str


@dataclass(frozen=True)
class Between:
    """The number is in low … high, both included."""

    field: str
    low: int
    high: int


Clause = Equal | Contains | Between
Clauses = tuple[Clause, ...]


@dataclass(frozen=True)
class Data:
    """Papers and their unit vectors float32[papers, d]; query vectors float32[queries, d]."""

    papers: list[Paper]
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]

    def first(self, papers: int) -> Data:
        """The same with fewer papers."""
        return Data(self.papers[:papers], self.vectors[:papers], self.queries)


def load(folder: Path, points: int | None, queries: int | None) -> Data:
    """Read the data set, normalised again after its float16."""

    def unit(name: str, count: int | None) -> NDArray[np.float32]:
        return normalised(np.load(folder / name)[:count].astype(np.float32))

    with gzip.open(folder / "papers.jsonl.gz", "rt") as lines:
        papers = [json.loads(line) for line, _ in zip(lines, range(points or 10**9), strict=False)]
    return Data(
        papers,
        unit("papers.vectors.f16.npy", len(papers)),
        unit("queries.vectors.f16.npy", queries),
    )


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each row to length one."""
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def grown(data: Data, points: int, seed: int = 1) -> Data:
    """Cut to `points` papers, or repeat the papers with Gaussian noise on the copies' vectors.

    The noise has length .5 on average, so a copy's cosine with its original is about .89: no
    closer than related papers are to each other, and neighbourhoods get denser as data grows.
    """
    have = len(data.papers)
    if points <= have:
        return data.first(points)
    rng = np.random.default_rng(seed)
    rows = np.arange(points) % have
    vectors = data.vectors[rows]
    spread = 0.5 / np.sqrt(vectors.shape[1])
    noise = rng.standard_normal((points - have, vectors.shape[1]), dtype=np.float32)
    vectors[have:] = normalised(vectors[have:] + noise * np.float32(spread))
    return Data([data.papers[row] for row in rows.tolist()], vectors, data.queries)


def families(data: Data, seed: int = 1) -> dict[str, list[Clauses]]:
    """Draw one filter a query for every family; () filters nothing."""
    rng = np.random.default_rng(seed)

    def paper() -> Paper:
        return data.papers[int(rng.integers(len(data.papers)))]

    def some(values: list[str]) -> str:
        return values[int(rng.integers(len(values)))]

    def equal(field: str) -> Clauses:
        return (Equal(field, paper()[field]),)

    def contains(field: str) -> Clauses:
        return (Contains(field, some(paper()[field])),)

    def between() -> Clauses:
        low, high = sorted((paper()["year"], paper()["year"]))
        return (Between("year", low, high),)

    def both() -> Clauses:
        one = paper()
        return (
            Equal("year", one["year"]),
            Contains("main_categories", some(one["main_categories"])),
        )

    draws: dict[str, Callable[[], Clauses]] = {
        "no filter": lambda: (),
        "R year between": between,
        "EM n_categories =": lambda: equal("n_categories"),
        "EMIS main_categories contains": lambda: contains("main_categories"),
        "EM primary_cat =": lambda: equal("primary_cat"),
        "year = and main_categories contains": both,
        "authors contains": lambda: contains("authors"),
        "EM year =": lambda: equal("year"),
    }
    return {name: [draw() for _ in range(len(data.queries))] for name, draw in draws.items()}


def as_json(clauses: Clauses) -> dict[str, Any] | None:
    """Write a filter in the service's language."""
    written: dict[str, Any] = {}
    for clause in clauses:
        match clause:
            case Equal(field, value):
                written[field] = value
            case Contains(field, value):
                written[field] = {"$contains": value}
            case Between(field, low, high):
                written[field] = {"$gte": low, "$lte": high}
    return written or None


class Columns:
    """The attributes by column: numbers as arrays, everything else as rows per value."""

    def __init__(self, papers: list[Paper]) -> None:
        self.rows = len(papers)
        self._numbers = {
            field: np.array([paper[field] for paper in papers], np.int64) for field in NUMBERS
        }
        self._rows: dict[str, dict[str, NDArray[np.int64]]] = {}
        for field in (*KEYWORDS, *LISTS):
            rows = defaultdict(list)
            for row, paper in enumerate(papers):
                value = paper[field]
                for element in set(value) if isinstance(value, list) else (value,):
                    rows[element].append(row)
            self._rows[field] = {value: np.array(found) for value, found in rows.items()}

    def mask(self, clauses: Clauses) -> NDArray[np.bool_]:
        """Mark the rows that pass: bool[rows]."""
        passing = np.ones(self.rows, bool)
        for clause in clauses:
            passing &= self._passing(clause)
        return passing

    def _passing(self, clause: Clause) -> NDArray[np.bool_]:
        if isinstance(clause, Between):
            column = self._numbers[clause.field]
            between: NDArray[np.bool_] = (column >= clause.low) & (column <= clause.high)
            return between
        if clause.field in self._numbers:
            equal: NDArray[np.bool_] = self._numbers[clause.field] == clause.value
            return equal
        passing = np.zeros(self.rows, bool)
        passing[self._rows[clause.field].get(str(clause.value), [])] = True
        return passing


@dataclass(frozen=True)
class Truth:
    """What is due for each query of a workload.

    wanted   results: min(K, matches)        int64[queries]
    matches  points that pass                int64[queries]
    last     score of the worst one due      float32[queries], inf where nothing is due
    """

    wanted: NDArray[np.int64]
    matches: NDArray[np.int64]
    last: NDArray[np.float32]


def truths(
    data: Data, columns: Columns, drawn: Mapping[str, Sequence[Clauses]]
) -> dict[str, Truth]:
    """Scan everything in float32, for every workload's filters."""
    matches = {name: np.zeros(len(data.queries), np.int64) for name in drawn}
    last = {name: np.full(len(data.queries), np.inf, np.float32) for name in drawn}
    for at, query in enumerate(data.queries):
        scores = data.vectors @ query
        for name, filters in drawn.items():
            passing = scores[columns.mask(filters[at])] if filters[at] else scores
            matches[name][at] = len(passing)
            if due := min(K, len(passing)):
                last[name][at] = -np.partition(-passing, due - 1)[due - 1]
    return {name: Truth(np.minimum(matches[name], K), matches[name], last[name]) for name in drawn}
