"""Flows are fed by hand: what they ask for, and what they make of each outcome."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from likewise import (
    ApiError,
    ConflictError,
    InvalidRequestError,
    OverloadedError,
    Retries,
    TransportError,
    VersionError,
)
from likewise import _flows as flows
from likewise import _requests as requests
from likewise._flows import Flow, Outcome, Session, Sleep
from likewise._requests import Request, Response
from likewise._results import OutputKind

LIMITS = {
    "max_body_bytes": 1 << 20,
    "max_batch": 3,
    "max_queries": 10,
    "max_k": 100,
    "max_inputs": 2,
    "max_documents": 5,
    "max_text_chars": 1000,
    "max_image_bytes": 1000,
    "max_image_pixels": 1000,
    "max_filter_nodes": 100,
    "max_attributes_bytes": 1000,
    "max_line_bytes": 1000,
    "max_import_bytes": 0,
    "max_snapshot_bytes": 1 << 36,
}


def answer(status: int, body: object = None, **headers: str) -> Response:
    content = b"" if body is None else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): v for name, v in headers.items()}, content)


def problem(status: int, code: str, **more: Any) -> Response:
    headers = more.pop("headers", {})
    body = {"type": f"urn:likewise:problem:{code}", "title": "T", "detail": "D", **more}
    return answer(status, body, **headers)


def session(attempts: int = 3) -> Session:
    return Session(Retries(attempts=attempts, first_wait_s=1.0), jitter=lambda: 0.5)


def play(flow: Flow[Any], outcomes: Iterable[Response | TransportError]) -> tuple[list[Any], Any]:
    """Perform a flow's steps from a list: the steps it took, and its result or its error."""
    steps: list[Request | Sleep] = []
    waiting: Iterator[Response | TransportError] = iter(outcomes)
    outcome: Outcome = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as done:
            result = done.value
            break
        except Exception as error:
            result = error
            break
        steps.append(step)
        outcome = None if isinstance(step, Sleep) else next(waiting)
    assert not list(waiting), "the flow asked for less than was prepared"
    return steps, result


COUNT = requests.count("films", None)
BROKEN = TransportError("broke")
UNREACHED = TransportError("no one", reached=False)


def test_a_call_is_repeated_after_growing_waits_until_it_succeeds() -> None:
    refused = problem(429, "overloaded")
    steps, result = play(
        flows.exchange(session(), COUNT), [refused, BROKEN, UNREACHED, answer(200, {"count": 7})]
    )
    assert result == 7
    assert steps == [
        COUNT.request, Sleep(0.5), COUNT.request, Sleep(1.0), COUNT.request, Sleep(2.0),
        COUNT.request,
    ]  # fmt: skip


def test_the_service_is_not_asked_again_before_the_time_it_named() -> None:
    refused = problem(503, "shutting-down", headers={"retry_after": "7"})
    steps, result = play(flows.exchange(session(), COUNT), [refused, answer(200, {"count": 1})])
    assert steps[1] == Sleep(7.5)
    assert result == 1


def test_the_last_error_is_raised_when_attempts_run_out() -> None:
    _, error = play(
        flows.exchange(session(attempts=1), COUNT), [BROKEN, problem(429, "overloaded")]
    )
    assert type(error) is OverloadedError


@pytest.mark.parametrize(
    "final",
    [
        problem(422, "invalid-filter"),
        problem(404, "collection-not-found"),
        problem(409, "definition-differs"),
        problem(500, "internal"),
        problem(507, "storage-full", headers={"retry_after": "1"}),
        answer(504),
        TransportError("slow", timed_out=True),
    ],
)
def test_errors_that_repetition_cannot_mend_are_raised_at_once(final: Any) -> None:
    steps, error = play(flows.exchange(session(), COUNT), [final])
    assert len(steps) == 1
    assert isinstance(error, (ApiError, TransportError))


@pytest.mark.parametrize(
    "call",
    [
        requests.drop("films"),
        requests.create_collection(
            "films", vectors=None, kind=None, dimension=2, metric=None, encoder=None, schema=None,
            index=None, lexical=None, exist_ok=False,
        ),
    ],
)  # fmt: skip
def test_a_call_whose_answer_would_change_is_not_repeated_once_it_may_have_run(call: Any) -> None:
    steps, error = play(flows.exchange(session(), call), [UNREACHED, BROKEN])
    assert steps == [call.request, Sleep(0.5), call.request]
    assert error is BROKEN


@pytest.mark.parametrize("probe", [requests.health(), requests.ready()])
def test_probes_are_never_repeated(probe: Any) -> None:
    steps, error = play(flows.exchange(session(), probe), [UNREACHED])
    assert steps == [probe.request]
    assert error is UNREACHED


def test_not_ready_is_an_answer_and_no_error() -> None:
    body = {"status": "starting", "components": {"engine": {"status": "starting"}}}
    _, readiness = play(flows.exchange(session(), requests.ready()), [answer(503, body)])
    assert readiness.status == "starting"
    assert not readiness.can_serve


def test_limits_are_fetched_once() -> None:
    shared = session()
    steps, first = play(flows.limits(shared), [answer(200, LIMITS)])
    again, second = play(flows.limits(shared), [])
    assert first == second
    assert ([step.path for step in steps], again) == (["/v1/limits"], [])


def upsert(points: Any, *, batch_size: int | None = None, progress: Any = None) -> Flow[int]:
    return flows.upsert(session(0), "films", points, batch_size=batch_size, progress=progress)


def upserted(n: int) -> Response:
    return answer(200, {"upserted": n})


def test_an_upsert_keeps_below_the_published_limits_and_reports_progress() -> None:
    seen: list[int] = []
    steps, written = play(
        upsert(({"id": i} for i in range(7)), progress=seen.append),
        [answer(200, LIMITS), upserted(3), upserted(3), upserted(1)],
    )
    sizes = [len(json.loads(step.content)["points"]) for step in steps[1:]]
    assert (sizes, written, seen) == ([3, 3, 1], 7, [3, 6, 7])


def test_an_upsert_keeps_below_the_published_body_length() -> None:
    limits = {**LIMITS, "max_body_bytes": 50}
    points = [{"id": i, "text": "x" * 10} for i in range(2)]
    steps, _ = play(upsert(points), [answer(200, limits), upserted(1), upserted(1)])
    assert [len(step.content) <= 50 for step in steps[1:]] == [True, True]


def test_a_smaller_batch_size_is_kept() -> None:
    points = [{"id": i} for i in range(2)]
    steps, _ = play(upsert(points, batch_size=1), [answer(200, LIMITS), upserted(1), upserted(1)])
    assert len(steps) == 3


def test_nothing_to_write_is_nothing_written() -> None:
    assert play(upsert([]), [answer(200, LIMITS)])[1] == 0


def test_a_batch_size_below_one_is_refused() -> None:
    _, error = play(upsert([], batch_size=0), [])
    assert isinstance(error, ValueError)


def test_an_error_says_what_was_written_and_points_into_what_the_caller_passed() -> None:
    fault = problem(
        422,
        "schema-violation",
        pointer="/points/1/attributes/year",
        errors=[{"pointer": "/points/1/attributes/year", "detail": "D"}],
    )
    _, error = play(upsert({"id": i} for i in range(7)), [answer(200, LIMITS), upserted(3), fault])
    assert type(error) is InvalidRequestError
    assert error.points_written == 3
    assert error.pointer == "/points/4/attributes/year"
    assert error.errors == (("/points/4/attributes/year", "D"),)
    assert "3 points were written before" in str(error)


def test_a_broken_connection_says_what_was_written() -> None:
    _, error = play(upsert({"id": i} for i in range(7)), [answer(200, LIMITS), upserted(3), BROKEN])
    assert error is BROKEN
    assert error.points_written == 3
    assert "3 points were written before" in str(error)


def test_the_callers_own_error_passes_through_with_whole_batches_written() -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield from ({"id": i} for i in range(4))
        raise KeyError("mine")

    steps, error = play(upsert(failing()), [answer(200, LIMITS), upserted(3)])
    assert isinstance(error, KeyError)
    assert len(steps) == 2


def test_texts_are_embedded_in_parts_below_the_limit_and_joined_in_order() -> None:
    def part(*vectors: str) -> Response:
        data = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        # The order of `data` is nobody's promise; the index is.
        return answer(200, {"data": data[::-1], "model": "m", "usage": {"total_tokens": 5}})

    one, two, three = "AACAPw==", "AAAAQA==", "AABAQA=="
    steps, result = play(
        flows.embed(session(), ["a", "b", "c"], model=None, input_type=None, dimensions=None),
        [answer(200, LIMITS), part(one, two), part(three)],
    )
    assert [json.loads(step.content)["input"] for step in steps[1:]] == [["a", "b"], ["c"]]
    assert [vector.tolist() for vector in result] == [[1.0], [2.0], [3.0]]
    assert (result.model, result.tokens) == ("m", 10)


def test_one_text_is_no_list_of_texts() -> None:
    flow = flows.embed(session(), "text", model=None, input_type=None, dimensions=None)
    assert isinstance(play(flow, [])[1], TypeError)


def test_a_collection_that_exists_satisfies_only_those_who_allow_it() -> None:
    body = {
        "name": "films", "vectors": {}, "schema": {}, "index": {"m": 1, "ef_construction": 1},
        "points": 0, "segments": [], "building": False, "created_at": "2020-01-01T00:00:00Z",
    }  # fmt: skip
    parts: dict[str, Any] = dict.fromkeys(
        ("vectors", "kind", "dimension", "metric", "encoder", "schema", "index", "lexical")
    )
    for status, exist_ok, refused in [
        (201, True, False), (201, False, False), (200, True, False), (200, False, True),
    ]:  # fmt: skip
        call = requests.create_collection("films", **parts, exist_ok=exist_ok)
        _, result = play(flows.exchange(session(), call), [answer(status, body)])
        assert isinstance(result, ConflictError) is refused


@pytest.mark.parametrize(
    "body",
    [
        {"name": "likewise", "version": "9.0", "api": "v2"},
        {"name": "other", "version": "1.0", "api": "v1"},
    ],
)
def test_the_handshake_refuses_another_api(body: dict[str, str]) -> None:
    _, error = play(flows.exchange(session(), requests.info()), [answer(200, body)])
    assert type(error) is VersionError
    assert "speaks API v1" in str(error)


def test_the_handshake_accepts_its_own_api() -> None:
    body = {"name": "likewise", "version": "0.9", "api": "v1", "more": 1}
    _, found = play(flows.exchange(session(), requests.info()), [answer(200, body)])
    assert found.version == "0.9"


def test_other_outputs_than_vectors_have_types_of_their_own() -> None:
    def played(output: OutputKind, *made: object) -> Any:
        data = [{"index": place, "embedding": one} for place, one in enumerate(made)]
        body = {"data": data[::-1], "model": "m", "usage": {"total_tokens": 5}}
        steps, result = play(
            flows.embed(
                session(),
                ["a"] * len(made),
                model=None,
                input_type=None,
                dimensions=None,
                output=output,
            ),
            [answer(200, LIMITS), answer(200, body)],
        )
        assert json.loads(steps[1].content)["output"] == output
        return result

    rows = {"shape": [2, 1], "data": "AACAPwAAAEA="}
    weights = {"indices": [2, 9], "values": [0.5, 1.5]}
    result = played("tokens", rows, {"shape": [0, 4], "data": ""})
    assert [[row.tolist() for row in one] for one in result] == [[[1.0], [2.0]], []]
    assert (result.model, result.tokens) == ("m", 5)
    assert result[0].to_numpy().shape == (2, 1)
    (sparse,) = played("sparse", weights)
    assert (sparse.indices, sparse.values.tolist()) == ((2, 9), [0.5, 1.5])
    (every,) = played("all", {"dense": "AACAPw==", "tokens": rows})
    assert (every.dense.tolist(), len(every.tokens), every.sparse) == ([1.0], 2, None)
    wrong = played("tokens", {"shape": [3, 1], "data": "AACAPwAAAEA="})
    assert isinstance(wrong, VersionError)
