"""Development sets are read from two layouts, and score an encoder as their measure says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.evaluation.devset import Pairs, Search, read_devset
from app.types import F32


def lines(*rows: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def by_letter(texts: list[str], kind: str) -> F32:
    """Unit vectors that count letters."""
    counts = np.array(
        [[1 + text.count(letter) for letter in "abcdef"] for text in texts], np.float32
    )
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_pairs_are_scored_by_rank(tmp_path: Path) -> None:
    rows = [
        {"s1": "aaa", "s2": "aaa", "score": 5},
        {"s1": "aaa", "s2": "aab", "score": 3},
        {"s1": "aaa", "s2": "fff", "score": 0},
    ]
    (tmp_path / "dev.jsonl").write_bytes(lines(*rows))
    found = read_devset(tmp_path / "dev.jsonl")
    assert isinstance(found, Pairs)
    assert found.score(by_letter) == pytest.approx(1)
    turned = Pairs(found.first, found.second, [-score for score in found.scores])
    assert turned.score(by_letter) == pytest.approx(-1)


@pytest.mark.parametrize("qrels", ["qrels/test.tsv", "qrels_test.tsv", "qrels.tsv"])
def test_a_search_is_scored_by_its_judged_queries(tmp_path: Path, qrels: str) -> None:
    corpus = lines(
        {"_id": "1", "title": "aaaa", "text": "a"},
        {"_id": "2", "title": "", "text": "bbbb"},
        {"_id": "3", "text": "cccc"},
    )
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress(corpus))
    queries = [{"_id": "q", "text": "aa"}, {"_id": "r", "text": "bb"}, {"_id": "s", "text": "cc"}]
    (tmp_path / "queries.jsonl").write_bytes(lines(*queries))
    (tmp_path / qrels).parent.mkdir(exist_ok=True)
    (tmp_path / qrels).write_text("query-id\tcorpus-id\tscore\nq\t1\t1\nr\t3\t1\n")
    found = read_devset(tmp_path)
    assert isinstance(found, Search)
    assert list(found.queries) == ["q", "r"]  # nobody judged s
    # q finds its document first; r's has as little of b as document 1: second or third
    assert found.score(by_letter) == pytest.approx((1 + 1 / np.log2(3)) / 2, abs=0.07)


@pytest.mark.parametrize(
    "content", [b"", b"no json", b'{"s1": "a"}', b'{"s1": "a", "s2": "b", "score": 1}', b"[1]"]
)
def test_what_is_no_development_set_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dev.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"dev\.jsonl"):
        read_devset(path)
    with pytest.raises(InvalidRequest, match="expected JSON lines"):
        read_devset(tmp_path)
