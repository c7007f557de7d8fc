"""Planted data where a dense vector and a sparse one each know half: together they win."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .harness import InProcess

TOPICS, CODES, EACH, QUERIES, DIMENSION = 40, 25, 12, 80, 16
QUERY = "/v1/collections/p/query"


@pytest.fixture
def planted(plain: InProcess) -> tuple[InProcess, list[tuple[int, Any, Any]]]:
    """Points of a topic (dense, blurred) and three codes (sparse, exact); each query gives the
    topic and two of the codes of one point, among which others have either."""
    drawn = np.random.default_rng(2)
    centres = drawn.normal(size=(TOPICS, DIMENSION))
    made = plain.put(
        "/v1/collections/p",
        {"vectors": {"topic": {"dimension": DIMENSION}, "codes": {"kind": "sparse"}}},
    )
    assert made.status_code == 201
    points, codes = [], []
    for n in range(TOPICS * EACH):
        blurred = centres[n % TOPICS] + 0.6 * drawn.normal(size=DIMENSION)
        codes.append(np.sort(drawn.choice(CODES, 3, replace=False)))
        sparse = {"indices": codes[-1].tolist(), "values": [1.0, 1.0, 1.0]}
        points.append({"id": n, "vectors": {"topic": blurred.tolist(), "codes": sparse}})
    assert plain.put("/v1/collections/p/points", {"points": points}).status_code == 200
    asked = []
    for n in drawn.choice(len(points), QUERIES, replace=False).tolist():
        about = centres[n % TOPICS] + 0.3 * drawn.normal(size=DIMENSION)
        some = drawn.choice(codes[n], 2, replace=False).tolist()
        asked.append((n, about.tolist(), {"indices": some, "values": [1.0, 1.0]}))
    return plain, asked


def first(api: InProcess, body: dict[str, Any]) -> int:
    found: int = api.post(QUERY, {**body, "k": 1}).json()["points"][0]["id"]
    return found


def test_together_they_find_what_neither_finds_alone(
    planted: tuple[InProcess, list[tuple[int, Any, Any]]],
) -> None:
    api, asked = planted
    right = dict.fromkeys(("dense", "sparse", "rrf", "sum", "rescored"), 0.0)
    for target, about, codes in asked:
        dense = {"vector": about, "using": "topic"}
        sources = [{**dense, "k": 100}, {"sparse": codes, "k": 100}]
        total = {"method": "sum", "normalise": "minmax", "weights": [0.5, 0.5]}
        rescore = {"sparse": codes, "using": "codes", "candidates": 100, "weight": 0.5}
        right["dense"] += first(api, dense) == target
        right["sparse"] += first(api, {"query": {"sparse": codes}}) == target
        right["rrf"] += first(api, {"prefetch": sources, "fuse": "rrf"}) == target
        right["sum"] += first(api, {"prefetch": sources, "fuse": total}) == target
        right["rescored"] += first(api, {**dense, "rescore": rescore}) == target
    shares = {name: count / QUERIES for name, count in right.items()}
    print(shares)
    alone = max(shares["dense"], shares["sparse"])
    assert alone < 0.6
    for name in ("rrf", "sum", "rescored"):
        assert shares[name] > alone + 0.15, shares
