"""The texts that are encoded."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def short_texts(folder: Path, count: int) -> list[str]:
    """Sentences of the STS benchmark, each once, in their order."""
    rows = _lines(folder / "stsb" / "stsb-en-test.jsonl")
    both = [text for row in rows for text in (row["s1"], row["s2"])]
    return list(dict.fromkeys(both))[:count]


def long_texts(folder: Path, count: int) -> list[str]:
    """Titles and abstracts of papers, evenly drawn from those there are."""
    rows = [
        f"{row['title']}. {row['abstract']}"
        for row in _lines(folder / "arxiv" / "papers.jsonl.gz", most=20_000)
    ]
    return rows[:: max(1, len(rows) // count)][:count]


def _lines(path: Path, most: int | None = None) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for place, line in enumerate(lines):
            if place == most:
                return
            yield json.loads(line)
