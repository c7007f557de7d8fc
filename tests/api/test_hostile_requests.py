"""What hostile or careless callers send: no fault of ours, and always a place that exists."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from typing import Any, cast

import pytest

from app.errors import DeadlineExceeded, LimitExceeded
from app.query.due import deadline
from app.query.memory.head import check_said
from app.query.running import Running

from .harness import InProcess

C = "/v1/collections/c"


@pytest.fixture
def small(api: InProcess) -> InProcess:
    """Forty points at (n, 1), each of one of four kinds; a lexical index and a field of tokens."""
    vectors = {"v": {"dimension": 2, "metric": "ip"}, "t": {"kind": "tokens", "dimension": 2}}
    assert api.put(C, {"vectors": vectors, "lexical": True}).status_code == 201
    points = [
        {
            "id": n,
            "vectors": {"v": [n, 1], "t": [[n, 1], [1, n]]},
            "attributes": {"kind": "abcd"[n % 4], "n": n},
        }
        for n in range(40)
    ]
    assert api.put(f"{C}/points", {"points": points}).status_code == 200
    return api


def resolves(body: Any, pointer: str) -> bool:
    """Whether a pointer leads to something in the body, or to a member that an object lacks."""
    here = body
    for name in pointer.split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        if isinstance(here, Mapping):
            if name not in here:
                return True
            here = here[name]
        elif isinstance(here, Sequence) and not isinstance(here, str):
            here = here[int(name)]
        else:
            return False
    return True


@pytest.mark.parametrize(
    "more",
    [
        {"fuse": "nothing"},
        {"fuse": ""},
        {"normalise": "nothing"},
        {"correct": "no/bank"},
        {"diversity": "nothing"},
        {"order_by": "$n"},
        {"group_by": "$n"},
        {"query": {"condition": {"of": {"id": 1}, "labels": "$n"}}},
        {"query": {"label": {"field": "kind", "value": 10**30}}},
        {"query": {"label": {"field": "kind", "value": "x" * 5000}}},
    ],
)
def test_a_string_that_is_short_for_an_object_is_blamed_itself(
    small: InProcess, more: dict[str, Any]
) -> None:
    fused = "fuse" in more or "normalise" in more
    leaf = {"prefetch": [{"id": 1, "using": "v"}]} if fused else {"id": 1, "using": "v"}
    body = {**leaf, **more}
    if "query" in more:
        body.pop("id")
    answer = small.post(f"{C}/query", body)
    assert answer.status_code == 422, answer.text
    pointer = answer.json()["pointer"]
    assert resolves(body, pointer), pointer


def test_the_check_of_pointers_can_fail() -> None:
    assert not resolves({"fuse": "x"}, "/fuse/method")
    assert resolves({"fuse": {}}, "/fuse/method")


def test_a_cap_holds_where_fewer_are_compared_than_were_found(small: InProcess) -> None:
    body = {
        "vector": [1, 0], "using": "v", "k": 40,
        "diversity": {"method": "mmr", "lambda": 1, "candidates": 5, "by": "kind", "most": 2},
        "rescore": {"vector": [1, 0], "using": "v", "candidates": 40},
    }  # fmt: skip
    answer = small.post(f"{C}/query", body)
    assert answer.status_code == 200, answer.text
    # The last points of each kind are the best; of 39 … 35 nobody comes a third time.
    assert [one["id"] for one in answer.json()["points"]] == [39, 38, 37, 36, 35, 34, 33, 32]


@pytest.mark.parametrize("fuse", ["pool", "softmax"])
def test_heads_that_know_no_label_say_nothing(small: InProcess, fuse: str) -> None:
    heads = [
        {"name": "near", "using": "v", "k": 3},
        {"name": "means", "using": "v", "method": "prototypes"},
    ]
    body = {"inputs": [{"vector": [1, 1]}], "label": "nobody", "heads": heads, "fuse": fuse}
    answer = small.post(f"{C}/classify", body)
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["results"]
    assert (result["label"], result["abstained"]) == (None, "nothing_remembered")


@pytest.mark.parametrize("rate", [5e-324, 1e-310, 1e-10])
def test_a_rate_that_nobody_could_count_is_refused(small: InProcess, rate: float) -> None:
    body = {"using": "v", "label": "kind", "target_far": rate}
    answer = small.put(f"{C}/thresholds/t", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["pointer"] == "/target_far"


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("classify", {"inputs": [{"id": 1}], "classifier": "a/b"}, "/classifier"),
        (
            "classify",
            {"inputs": [{"id": 1}], "using": "v", "label": "kind", "reject": {"threshold": "a/b"}},
            "/reject/threshold",
        ),
        (
            "verify",
            {"pairs": [{"a": {"id": 1}, "b": {"id": 2}}], "using": "v", "threshold": ""},
            "/threshold",
        ),
    ],
)
def test_a_name_that_cannot_be_one_is_blamed_where_it_stands(
    small: InProcess, path: str, body: dict[str, Any], pointer: str
) -> None:
    answer = small.post(f"{C}/{path}", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["pointer"] == pointer


@pytest.mark.parametrize("path", ["calibrations/x", "query-banks/x"])
def test_labelled_queries_find_only_so_much_together(small: InProcess, path: str) -> None:
    dev = [{"vector": [1, n], "relevant": [1]} for n in range(30)]
    body = {"using": "v", "dev": dev, "candidates": 10_000}
    if path.startswith("query"):
        body["queries"] = [{"vector": [1, 1]}]
    answer = small.put(f"{C}/{path}", body)
    assert answer.status_code == 422, answer.text
    told = answer.json()
    assert (told["type"], told["pointer"]) == ("urn:likewise:problem:limit-exceeded", "/dev")


def test_a_batch_of_plans_stops_when_its_time_is_over(small: InProcess) -> None:
    """All of it would take many times as long as it is given."""
    plan = {"prefetch": [{"id": 1, "using": "v", "k": 40}] * 16, "diversity": "dpp", "k": 40}
    answer = small.send(
        "POST",
        f"{C}/query:batch",
        json={"queries": [plan] * 1000},
        headers={"x-request-timeout": "0.5"},
    )
    assert answer.status_code == 503, answer.text
    assert answer.json()["type"] == "urn:likewise:problem:deadline-exceeded"
    assert small.post(f"{C}/query", plan).status_code == 200


def test_a_stage_is_not_begun_when_nobody_waits_for_it() -> None:
    running = Running(cast(Any, None), {}, {})

    def stages() -> list[str]:
        with running.stage("first", "", taken=0):
            deadline.set(time.monotonic() - 1)  # a stage that has begun ends
        with pytest.raises(DeadlineExceeded), running.stage("second", "", taken=0):
            raise AssertionError("it was begun")
        return [entry["stage"] for entry in running.account]

    assert copy_context().run(stages) == ["first"]


def test_labels_that_nobody_shares_do_not_fill_the_memory(
    small: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound, made small: 40 labels of 40 points are refused, 4 are not."""
    monkeypatch.setattr("app.query.memory.head.MOST_SAID", 1000)
    heads = [{"name": name, "using": "v", "k": 16} for name in "ab"]
    inputs = [{"vector": [n, 1]} for n in range(20)]
    for label, pointer, status in (("n", "/heads/0", 422), ("kind", None, 200)):
        asked = {"inputs": inputs, "label": label, "heads": heads}
        answer = small.post(f"{C}/classify", asked)
        assert (answer.status_code, answer.json().get("pointer")) == (status, pointer)
    for label, pointer, status in (("n", "/fit", 422), ("kind", None, 200)):
        body = {"label": label, "heads": heads, "fit": {"sample": 30, "what": ["weights"]}}
        answer = small.put(f"{C}/classifiers/{label}", body)
        assert (answer.status_code, answer.json().get("pointer")) == (status, pointer)
        assert small.get(f"{C}/classifiers/{label}").status_code == (404 if pointer else 200)


def test_what_heads_say_is_bounded_together() -> None:
    check_said(8, 256, 2048, "")
    with pytest.raises(LimitExceeded):
        check_said(8, 256, 2049, "")
