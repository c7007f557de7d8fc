"""Several vectors of one point, on planted data: what each sees alone, and both together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from .harness import InProcess

QUERY = "/v1/collections/c/query"
POINTS = 240
ASKED = range(0, POINTS, 8)


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def fill(api: InProcess, parts: Mapping[str, Any]) -> None:
    spec = {name: {"dimension": part.shape[1]} for name, part in parts.items()}
    assert api.put("/v1/collections/c", {"vectors": spec}).status_code == 201
    points = [
        {"id": n, "vectors": {name: part[n].tolist() for name, part in parts.items()}}
        for n in range(POINTS)
    ]
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200


def found(api: InProcess, n: int, using: Any, k: int = 10) -> list[int]:
    answer = api.post(QUERY, {"id": n, "using": using, "k": k, "with_text": False})
    assert answer.status_code == 200, answer.text
    return [point["id"] for point in answer.json()["points"]]


def test_two_views_together_know_more_than_each(plain: InProcess) -> None:
    """Similarity is a mixture of two hidden factors, and each vector sees one of them."""
    random = np.random.default_rng(2)
    factors = {name: unit(random.normal(size=(POINTS, 8))) for name in ("words", "pictures")}
    seen = {name: unit(one + 0.06 * random.normal(size=one.shape)) for name, one in factors.items()}
    fill(plain, seen)
    shares = {"words": 0.6, "pictures": 0.4}
    truth = sum(share * factors[name] @ factors[name].T for name, share in shares.items())

    def recall(using: Any) -> float:
        hits = 0
        for n in ASKED:
            order = [other for other in np.argsort(-truth[n]).tolist() if other != n][:10]
            hits += len(set(order) & set(found(plain, n, using)))
        return hits / 10 / len(ASKED)

    alone = max(recall("words"), recall("pictures"))
    together = recall(shares)
    assert alone < 0.45
    assert together > 0.7


def test_each_aspect_finds_its_own_and_the_generic_vector_lies_between(plain: InProcess) -> None:
    """Papers about a task, by a method, on a data set: three labels that do not depend."""
    random = np.random.default_rng(4)
    labels = {name: random.integers(6, size=POINTS) for name in ("task", "method", "data")}
    parts = {
        name: unit(unit(random.normal(size=(6, 12)))[own] + 0.12 * random.normal(size=(POINTS, 12)))
        for name, own in labels.items()
    }
    fill(plain, {**parts, "generic": unit(np.concatenate(list(parts.values()), axis=1))})

    def precision(using: Any, aspect: str) -> float:
        own = labels[aspect]
        return float(np.mean([np.mean(own[found(plain, n, using)] == own[n]) for n in ASKED]))

    for aspect in labels:
        right = precision(aspect, aspect)
        others = [precision(other, aspect) for other in labels if other != aspect]
        generic = precision("generic", aspect)
        assert right > 0.95
        assert max(others) < 0.3
        assert max(others) + 0.2 < generic < right - 0.1
    # A mixture of two aspects finds what agrees in both, which neither of them does.
    mixed = {"task": 0.5, "method": 0.5}

    def both(using: Any) -> float:
        agree = [
            np.mean(
                [
                    all(labels[a][n] == labels[a][m] for a in mixed)
                    for m in found(plain, n, using, 5)
                ]
            )
            for n in ASKED
        ]
        return float(np.mean(agree))

    assert both(mixed) > 0.8
    assert max(both("task"), both("method"), both("generic")) < both(mixed) - 0.2


@pytest.mark.parametrize("rare", [1.0, 20.0])
def test_weights_are_of_scores_as_they_are(plain: InProcess, rare: float) -> None:
    """Under cosine the length of a vector does not change its share; that is what is summed."""
    random = np.random.default_rng(6)
    parts = {name: random.normal(size=(POINTS, 5)) for name in ("a", "b")}
    fill(plain, {"a": parts["a"], "b": rare * parts["b"]})
    sums = unit(parts["a"]) @ unit(parts["a"][0]) + unit(parts["b"]) @ unit(parts["b"][0])
    order = [n for n in np.argsort(-sums).tolist() if n != 0][:10]
    assert found(plain, 0, {"a": 1, "b": 1}) == order
