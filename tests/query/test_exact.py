"""`exact` of answers that are scored otherwise than they were recalled: only if all was seen.

Each planted best point is recalled after all others, and a recall goes a hundred deep unasked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.backends.local import LocalBackend
from tests.api.harness import InProcess, running
from tests.api.harness import settings as api_settings

QUERY = "/v1/collections/c/query"
FEW, MANY = 20, 110
BEST = 0


@pytest.fixture(params=[FEW, MANY])
def others(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    chosen = api_settings(Path(tmp_path_factory.mktemp("exact")))
    backend = LocalBackend(chosen.data_dir, sync=False, build_threads=1)
    with running(chosen, backend) as app:
        yield app


def fill(app: InProcess, vectors: dict[str, Any], points: list[dict[str, Any]]) -> None:
    spec = {name: {"dimension": 2, "metric": "cosine", **more} for name, more in vectors.items()}
    app.delete("/v1/collections/c")
    assert app.put("/v1/collections/c", {"vectors": spec}).status_code == 201
    body = {"points": [{"id": number, "vectors": one} for number, one in enumerate(points)]}
    assert app.put("/v1/collections/c/points", body).status_code == 200


def asked(app: InProcess, query: dict[str, Any]) -> tuple[bool, bool]:
    """Whether the answer says that it is exact, and whether the planted point comes first."""
    answer = app.post(QUERY, {"k": 5, **query}).json()
    return answer["exact"], answer["points"][0]["id"] == BEST


def test_a_sum_over_vectors(app: InProcess, others: int) -> None:
    both = {"a": [3, 4], "b": [3, 4]}
    only_a, only_b = {"a": [1, 0], "b": [-1, 0]}, {"a": [-1, 0], "b": [1, 0]}
    fill(app, {"a": {}, "b": {}}, [both, *[only_a] * others, *[only_b] * others])
    whole = others == FEW
    assert asked(app, {"vector": [1, 0], "using": {"a": 1, "b": 1}}) == (whole, whole)


def test_late_interaction(app: InProcess, others: int) -> None:
    torn = {"t": [[1, 0], [-0.9, 0.1]]}  # the query's own token, and one that pools it away
    fill(app, {"t": {"kind": "tokens"}}, [torn, *[{"t": [[0.9, 0.4]]}] * others])
    whole = others == FEW
    assert asked(app, {"query": {"tokens": [[1, 0]]}}) == (whole, whole)


def test_corrected_scores(app: InProcess, others: int) -> None:
    hub = {"v": [1, 0.1]}  # near to every query of the bank, and to this one
    fill(app, {"v": {}}, [{"v": [0.6, -0.8]}, *[hub] * others])
    bank = {"using": "v", "queries": [{"vector": [1, 0.2 + n / 100]} for n in range(5)]}
    bank |= {"method": "center", "strength": 1}
    assert app.put("/v1/collections/c/query-banks/b", bank).status_code == 201
    query = {"vector": [1, 0], "correct": {"bank": "b", "force": True}}
    whole = others == FEW
    assert asked(app, query) == (whole, whole)
    everything = {"bank": "b", "force": True, "candidates": 500}
    assert asked(app, {**query, "correct": everything}) == (True, True)
    assert asked(app, {"vector": [1, 0]}) == (True, False)
