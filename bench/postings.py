"""Measure searches by postings: sparse vectors and words, filtered, beside NumPy and SQLite.

    python -m bench.postings FOLDER [--points 60000] [--queries 100] [--repeat 3]

FOLDER holds the arXiv papers (`bench/papers.py`). Their titles and abstracts are indexed twice: as
sparse vectors (a number for each word, its BM25 share as weight; queries weigh words by their idf)
and as words of two fields. Titles of other papers are short queries, their abstracts long ones.
Filters are random sets of points, given as bits to us and as a table of row ids to SQLite.

    ours    ranks the part of a segment, and counts all matches; `bm25.weigh` included for words
    numpy   adds each term's postings to an array of sums, and takes the best of those that pass
    FTS5    SQLite's full-text index, ordered by its bm25, porter stems, both columns weighed, in
            the fastest form of the query that was found; does not count

Processor time of one thread, so that other work of the machine counts little; the mean over the
queries of each one's best run. The best scores of the first two are held against each other.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.kernels import bits as bitset
from app.postings import bm25
from app.postings.postings import Postings, build
from app.postings.search import Weighing, rank
from app.postings.words import SegmentWords, build_words
from app.text.analysis import analyzer_of, document_of
from app.text.folding import words_of
from app.types import F64, U64, Lexical
from app.vectors.arrays import read_only
from bench.measures import table
from bench.process import pinned

SHARES = (1.0, 0.3, 0.1, 0.01, 0.001)
LEXICAL = Lexical({"title": 3.0, "abstract": 1.0}, "english")
K = 10
MOST_OF_SQLITE = 10  # queries, once each: long ones take their time


@dataclass(frozen=True)
class Asked:
    """One query: terms with factors, and its words as text."""

    terms: U64
    factors: F64
    words: str


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int, default=60_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    papers = read(chosen.folder / "papers.jsonl.gz", chosen.points)
    asking = read(chosen.folder / "queries.jsonl.gz", chosen.queries)
    with pinned(), tempfile.TemporaryDirectory() as scratch:
        words, words_s = timed(lambda: index_words(papers))
        sparse, sparse_s = timed(lambda: as_sparse(words))
        fts, fts_s = timed(lambda: index_fts(papers, Path(scratch) / "fts.sqlite"))
        pages = fts.execute("PRAGMA page_count").fetchone()[0]
        size = fts.execute("PRAGMA page_size").fetchone()[0]
        stored = sum(path.stat().st_size for path in words.save(made(Path(scratch) / "words")))
        print(
            f"{len(papers):,} papers, {sparse.slots.size:,} postings of {sparse.terms.size:,} terms"
        )
        print(f"words: {words_s:.1f} s, {stored / 1e6:.0f} MB with texts for phrases")
        print(f"sparse: {sparse_s:.1f} s from rows of terms, {sparse.bytes / 1e6:.0f} MB")
        print(f"FTS5: {fts_s:.1f} s, {pages * size / 1e6:.0f} MB without contents\n")
        lines: list[Sequence[Any]] = []
        for name in ("title", "abstract"):
            queries = [asked(paper[name], sparse, len(papers)) for paper in asking]
            lines += [
                [name, share, *measured(queries, share, sparse, words, fts, chosen)]
                for share in SHARES
            ]
        print(
            table(
                ["query", "passes", "terms", "postings", "looked at", "sparse, k=10 (ms)", "k=100",
                 "numpy", "words, k=10", "FTS5"],
                lines,
            )
        )  # fmt: skip


def read(path: Path, most: int) -> list[dict[str, Any]]:
    """Read the first papers of a file."""
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(most), strict=False)]


def made(folder: Path) -> Path:
    """Make a folder."""
    folder.mkdir()
    return folder


def timed(work: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    """Do something once: what it gives, and seconds of this thread."""
    began = time.thread_time()
    return work(*given), time.thread_time() - began


def index_words(papers: Sequence[dict[str, Any]]) -> SegmentWords:
    """Analyse and index titles and abstracts, as a build does."""
    documents = (
        document_of(LEXICAL, {"title": one["title"], "abstract": one["abstract"]}, None)
        for one in papers
    )
    return build_words(documents, len(LEXICAL.fields), LEXICAL.language)


def as_sparse(words: SegmentWords) -> Postings:
    """Make sparse vectors of the same texts: a word weighs its share of BM25."""
    slots = words.slots
    bounds, terms, counts = words.postings.by_slot(slots)
    mix = np.array([*LEXICAL.fields.values()])
    lengths = words.lengths @ mix
    norms = np.repeat(1.2 * (0.25 + 0.75 * lengths / lengths.mean()), np.diff(bounds))
    frequencies = counts @ mix
    weights = (2.2 * frequencies / (frequencies + norms)).astype(np.float32)
    return build(bounds, terms, weights[:, None])


def index_fts(papers: Sequence[dict[str, Any]], path: Path) -> sqlite3.Connection:
    """Index the same with SQLite: an index without the texts, and a table for filters."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(
        "CREATE VIRTUAL TABLE papers USING fts5(title, abstract, content='', tokenize='porter')"
    )
    rows = ((n, one["title"], one["abstract"]) for n, one in enumerate(papers))
    db.executemany("INSERT INTO papers(rowid, title, abstract) VALUES (?, ?, ?)", rows)
    db.execute("INSERT INTO papers(papers) VALUES ('optimize')")
    db.commit()
    db.execute("CREATE TEMP TABLE allowed(row INTEGER PRIMARY KEY)")
    return db


def asked(text: str, sparse: Postings, points: int) -> Asked:
    """Make a query of a text: its words once each, weighed by their idf."""
    words = list(dict.fromkeys(words_of(text)))
    terms = np.unique(np.array(analyzer_of(LEXICAL.language).numbers(words), dtype=np.uint64))
    lists = sparse.lists(terms)
    factors = bm25.idf(points, lists.ends - lists.starts)
    return Asked(terms, factors, " OR ".join(f'"{word}"' for word in words))


def measured(
    queries: Sequence[Asked],
    share: float,
    sparse: Postings,
    words: SegmentWords,
    fts: sqlite3.Connection,
    chosen: argparse.Namespace,
) -> list[str]:
    """Measure all systems on one set of queries under one filter."""
    chance = np.random.default_rng(3)
    kept = np.sort(chance.choice(chosen.points, max(1, int(share * chosen.points)), replace=False))
    allowed = bitset.empty(chosen.points)
    bitset.set_slots(allowed, kept.astype(np.uint32))
    allowed = read_only(allowed)
    fts.execute("DELETE FROM allowed")
    fts.executemany("INSERT INTO allowed VALUES (?)", ((int(row),) for row in kept))

    def ours(query: Asked, k: int = K) -> Any:
        return rank(sparse.lists(query.terms), Weighing(query.factors), allowed, k)

    def ours_by_words(query: Asked) -> Any:
        everything = bm25.Words(words, full, True, measured_words)
        (one,), _ = bm25.weigh([everything], query.terms, mix)
        return rank(one.lists, one.weighing, allowed, K)

    measured_words: dict[bytes, Any] = {}
    full, mix = read_only(bitset.full(chosen.points)), np.array([*LEXICAL.fields.values()])
    mask = np.zeros(chosen.points, dtype=bool)
    mask[kept] = True
    for query in queries[:20]:
        np.testing.assert_allclose(ours(query).scores[:K], by_numpy(query, sparse, mask), rtol=1e-9)
    sizes = [int((lists.ends - lists.starts).sum()) for lists in map(sparse.lists, _terms(queries))]
    few = queries[:MOST_OF_SQLITE]
    return [
        f"{np.mean([query.terms.size for query in queries]):.1f}",
        f"{np.mean(sizes):,.0f}",
        f"{np.mean([ours(query).read for query in queries]):,.0f}",
        best(ours, queries, chosen.repeat),
        best(lambda query: ours(query, 100), queries, chosen.repeat),
        best(lambda query: by_numpy(query, sparse, mask), queries, chosen.repeat),
        best(ours_by_words, queries, chosen.repeat),
        best(lambda query: by_sqlite(query, fts, every=share == 1), few, 1),
    ]


def _terms(queries: Sequence[Asked]) -> list[U64]:
    return [query.terms for query in queries]


def by_numpy(query: Asked, sparse: Postings, mask: Any) -> F64:
    """Add postings up and give the best scores of those that pass, at most K."""
    lists = sparse.lists(query.terms)
    sums = np.zeros(mask.size)
    for factor, start, end in zip(query.factors, lists.starts, lists.ends, strict=True):
        sums[lists.slots[start:end]] += factor * lists.weights[start:end, 0]
    sums[~mask] = 0.0
    top = np.argpartition(-sums, K)[:K]
    found: F64 = np.sort(sums[top])[::-1]
    return found[found > 0]


def by_sqlite(query: Asked, fts: sqlite3.Connection, *, every: bool) -> Any:
    """Ask SQLite for the best rows that pass."""
    # With a plain `rowid` SQLite would ask its index again for each row of the table.
    passing = "" if every else "AND +rowid IN (SELECT row FROM allowed) "
    return fts.execute(
        f"SELECT rowid, bm25(papers, 3.0, 1.0) AS score FROM papers WHERE papers MATCH ? {passing}"
        f"ORDER BY score LIMIT {K}",
        (query.words,),
    ).fetchall()


def best(work: Callable[[Asked], Any], queries: Sequence[Asked], repeat: int) -> str:
    """Milliseconds: the mean over the queries of each one's best run."""
    work(queries[0])
    took_s = [min(timed(work, query)[1] for _ in range(repeat)) for query in queries]
    return f"{np.mean(took_s) * 1e3:.2f}"


if __name__ == "__main__":
    main()
