"""Bodies of evaluations: an answer, or a refusal that blames a place of the body."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.harness import InProcess, running, settings
from tests.attributes.strategies import any_json, filters
from tests.reference_backend import ReferenceBackend

from .cases import fuzz, note
from .test_requests import changed, resolves

WHERE = "/v1/collections/c/evaluate"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """Twelve points of two kinds."""
    with running(settings(tmp_path_factory.mktemp("fuzz")), ReferenceBackend()) as app:
        app.put("/v1/collections/c", {"dimension": 2})
        points = [
            {"id": n, "vector": [n + 1, 3], "attributes": {"kind": n % 2, "list": ["a", n]}}
            for n in range(12)
        ]
        assert app.put("/v1/collections/c/points", {"points": points}).status_code == 200
        yield app


ids = st.integers(0, 15)
RANGES = {"spearman": -1, "pearson": -1, "score gap": -3}
leaves = st.one_of(
    st.fixed_dictionaries({"id": ids}),
    st.fixed_dictionaries({"vector": st.lists(st.floats(-1, 1), min_size=2, max_size=2)}),
)
judgements = st.lists(ids | st.fixed_dictionaries({"id": ids, "grade": st.floats(0, 5)}))
easy = st.sampled_from([{"kind": 1}, {"list": "a"}, {"kind": {"$lt": 1}}])
questions = st.tuples(
    leaves, st.fixed_dictionaries({"relevant": judgements}, optional={"filter": easy | filters})
).map(lambda parts: {**parts[0], **parts[1]})
configurations = st.fixed_dictionaries(
    {},
    optional={
        "params": st.just({"ef": 20}),
        "filter": easy | filters,
        "rescore": st.just({"id": 3}),
        "prefetch": st.just([{"id": 1}, {"id": 2, "k": 5}]),
        "score_threshold": st.floats(-1, 1),
    },
)
ways = {
    "configurations": st.lists(
        st.fixed_dictionaries({"query": configurations}, optional={"name": st.text(min_size=1)}),
        max_size=3,
    ),
    "per_query": st.booleans(),
    "measures": st.lists(st.sampled_from(["recall@2", "recall@5"]), min_size=1),
}
samples = {"points": st.integers(2, 20), "filter": easy | filters, "seed": st.integers(0, 9)}
few = st.just(100)
bodies = st.one_of(
    st.fixed_dictionaries(
        {"resamples": few, "queries": st.lists(questions, min_size=1, max_size=4)}, optional=ways
    ),
    st.fixed_dictionaries(
        {
            "resamples": few,
            "sample": st.fixed_dictionaries(
                {"label": st.sampled_from(["kind", "list", ["kind", "list"], "none"])},
                optional=samples,
            ),
        },
        optional=ways,
    ),
    st.fixed_dictionaries(
        {
            "resamples": few,
            "task": st.just("ann"),
            "sample": st.fixed_dictionaries(
                {}, optional={**samples, "match": st.sampled_from(["kind", "list", "none"])}
            ),
        },
        optional=ways,
    ),
)


sides = leaves | st.just({"sum": [{"id": 1}, {"id": 2}]})
pairs_of = lambda truth: st.fixed_dictionaries({"a": sides, "b": sides, **truth})  # noqa: E731
of_pairs = st.lists(
    st.fixed_dictionaries(
        {
            "query": st.fixed_dictionaries(
                {}, optional={"a": st.sampled_from(["$a", {"sum": ["$a", "$b"]}, {"id": 99}])}
            )
        }
    ),
    max_size=2,
)
judging = st.lists(
    st.fixed_dictionaries(
        {
            "query": st.fixed_dictionaries(
                {"label": st.sampled_from(["kind", "list"])},
                optional={
                    "k": st.integers(1, 5),
                    "method": st.sampled_from(["knn", "prototypes"]),
                    "reject": st.just({"min_score": 0.9}),
                    "confidence": st.sampled_from(["score", "probability", "margin", "nearest"]),
                    "filter": easy,
                },
            )
        }
    ),
    min_size=1,
    max_size=2,
)
members = st.sampled_from([0, 1, "a", True])
tasks = st.one_of(
    st.fixed_dictionaries(
        {
            "resamples": few,
            "task": st.just("verification"),
            "pairs": st.lists(pairs_of({"same": st.booleans()}), min_size=2, max_size=6),
        },
        optional={"configurations": of_pairs, "rates": st.just([0.5])},
    ),
    st.fixed_dictionaries(
        {
            "resamples": few,
            "task": st.just("similarity"),
            "pairs": st.lists(pairs_of({"score": st.integers(0, 5)}), min_size=1, max_size=6),
        },
        optional={"configurations": of_pairs},
    ),
    st.fixed_dictionaries(
        {
            "resamples": few,
            "task": st.sampled_from(["verification", "recognition"]),
            "sample": st.fixed_dictionaries(
                {"label": st.sampled_from(["kind", "list"])},
                optional={**samples, "unknown": easy},
            ),
        },
        optional={"per_query": st.booleans()},
    ),
    st.fixed_dictionaries(
        {
            "resamples": few,
            "task": st.just("recognition"),
            "configurations": judging,
            "queries": st.lists(
                st.tuples(leaves, st.fixed_dictionaries({}, optional={"label": members})).map(
                    lambda parts: {**parts[0], **parts[1]}
                ),
                min_size=1,
                max_size=4,
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "resamples": few,
            "task": st.just("conditional"),
            "queries": st.lists(
                st.fixed_dictionaries(
                    {
                        "reference": leaves,
                        "condition": leaves,
                        "gallery": st.lists(ids, min_size=1),
                        "relevant": judgements,
                    }
                ),
                min_size=1,
                max_size=3,
            ),
        },
        optional={
            "configurations": st.just(
                [{"query": {"query": {"reject": ["$reference", "$condition"]}}}]
            )
        },
    ),
)


@fuzz
@given(tasks | changed(tasks) | bodies | changed(bodies) | any_json)
def test_an_evaluation_is_answered_or_refused_at_a_place_that_exists(
    app: InProcess, body: Any
) -> None:
    try:
        answer = app.post(WHERE, body)
    except (UnicodeEncodeError, ValueError):  # no JSON that a client could send
        return
    note("evaluations", **{str(answer.status_code): 1})
    assert answer.status_code < 500, answer.text
    if answer.status_code == 200:
        for one in answer.json()["configurations"]:
            for measure, estimate in one["measures"].items():
                least = RANGES.get(measure, 0) - 1e-9
                assert estimate["value"] is None or least <= estimate["value"] <= 3 + 1e-9
        return
    problem = answer.json()
    pointer = problem.get("pointer")
    if pointer and problem["type"].rpartition(":")[2] not in ("malformed-body", "invalid-field"):
        parent = pointer.rpartition("/")[0]  # of what is missing there is the parent
        assert resolves(pointer, body) or resolves(parent, body), (pointer, body)
