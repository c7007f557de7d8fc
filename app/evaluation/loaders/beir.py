"""Search sets as BEIR lays them out (Thakur et al. 2021, arXiv 2104.08663).

    corpus.jsonl     _id, text, and perhaps title and metadata; a line a document
    queries.jsonl    _id, text
    qrels/test.tsv   query, document, grade; also qrels_test.tsv, test.tsv and qrels.tsv; with or
                     without a line of names; or TREC's four columns, whose second means nothing

Each may be gzipped.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import InvalidRequest
from app.evaluation.loaders.lines import Row, first_of, opened, rows


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its title may be empty."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any]

    @property
    def whole(self) -> str:
        """Title and text, as they are encoded."""
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True, slots=True)
class SearchSet:
    """Judged queries; the documents are read as they are wanted.

    queries   id → text, of the judged ones
    gains     query → document → grade
    """

    folder: Path
    queries: dict[str, str]
    gains: dict[str, dict[str, float]]

    def documents(self) -> Iterator[Document]:
        """Read the documents, one by one. Raises InvalidRequest with file and line."""
        for row in rows(first_of(self.folder, "corpus.jsonl")):
            yield _document(row)


def read_beir(folder: Path, split: str = "test") -> SearchSet:
    """Read the queries of a folder that were judged in a split.

    Raises InvalidRequest with file and line, or if nothing was judged.
    """
    table = first_of(
        folder, f"qrels/{split}.tsv", f"qrels_{split}.tsv", f"{split}.tsv", "qrels.tsv"
    )
    gains = _judgements(table)
    first_of(folder, "corpus.jsonl")  # so that it is missed before anything is done
    queries = {}
    for row in rows(first_of(folder, "queries.jsonl")):
        id_ = row.text("_id", "id")
        if id_ in gains:
            queries[id_] = row.text("text")
    if not queries:
        raise InvalidRequest(f"{table} judges no query of {folder}")
    return SearchSet(folder, queries, {query: gains[query] for query in queries})


def _judgements(path: Path) -> dict[str, dict[str, float]]:
    gains: dict[str, dict[str, float]] = {}
    with opened(path) as lines:
        for number, line in enumerate(lines, 1):
            cells = next(csv.reader([line], delimiter="\t"), [])
            cells = cells if len(cells) > 1 else line.split()
            if not cells:
                continue
            try:
                query, document, grade = (cells[0], *cells[-2:])
                gains.setdefault(query, {})[document] = float(grade)
            except ValueError:
                if number > 1:  # the first line may be names
                    raise InvalidRequest(
                        f"{path}:{number}: expected a query, a document and a grade"
                    ) from None
                gains.clear()
    return gains


def _document(row: Row) -> Document:
    title = row.members.get("title")
    metadata = row.members.get("metadata")
    return Document(
        row.text("_id", "id"),
        title if isinstance(title, str) else "",
        row.text("text"),
        metadata if isinstance(metadata, dict) else {},
    )
