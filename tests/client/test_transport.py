"""Both clients against a real socket: what they send, and what they survive."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from likewise import OverloadedError, Retries, TransportError, VersionError

from .conftest import Reply, Stub

QUICK = Retries(attempts=2, first_wait_s=0.001)
COUNTED = Reply(body={"count": 3})
OVERLOADED = Reply(
    status=429,
    body={
        "type": "urn:likewise:problem:overloaded",
        "title": "Overloaded",
        "detail": "the queue is full",
        "request_id": "r9",
    },
    headers={"retry-after": "0", "content-type": "application/problem+json"},
)


def test_requests_carry_the_key_the_agent_and_the_callers_headers(connect: Any, stub: Stub) -> None:
    stub.plays(COUNTED)
    client = connect(stub.url, api_key="k1", headers={"User-Agent": "mine", "X-Team": "search"})
    assert client.collection("films").count({"year": 1975}) == 3
    (seen,) = stub.seen
    assert (seen.method, seen.path) == ("POST", "/v1/collections/films/points/count")
    assert seen.json == {"filter": {"year": 1975}}
    assert seen.headers["authorization"] == "Bearer k1"
    assert seen.headers["user-agent"] == "mine"
    assert seen.headers["x-team"] == "search"
    assert seen.headers["content-type"] == "application/json"


def test_a_base_url_may_have_a_path(connect: Any, stub: Stub) -> None:
    stub.plays(COUNTED)
    connect(f"{stub.url}/search/").collection("films").count()
    assert stub.seen[0].path == "/search/v1/collections/films/points/count"


@pytest.mark.parametrize("name", ["a/b", "a?b#c", "ü %41"])
def test_a_strange_name_stays_one_part_of_the_path(connect: Any, stub: Stub, name: str) -> None:
    stub.plays(COUNTED)
    connect(stub.url).collection(name).count()
    assert stub.seen[0].path.count("/") == 5
    assert not set("?# ") & set(stub.seen[0].path)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_change_the_path_is_refused(connect: Any, stub: Stub, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        connect(stub.url).collection(name).count()
    assert stub.seen == []


def test_refusals_and_broken_connections_are_retried(connect: Any, stub: Stub) -> None:
    stub.plays(OVERLOADED, Reply(hang_up=True), COUNTED)
    assert connect(stub.url, retries=QUICK).collection("films").count() == 3
    assert len({(seen.method, seen.path, seen.content) for seen in stub.seen}) == 1


def test_retries_can_be_turned_off(connect: Any, stub: Stub) -> None:
    stub.plays(OVERLOADED)
    with pytest.raises(OverloadedError, match="the queue is full") as caught:
        connect(stub.url, retries=0).collection("films").count()
    assert (caught.value.request_id, caught.value.retry_after_s) == ("r9", 0.0)


def test_an_idle_connection_that_the_service_closed_is_replaced(connect: Any, stub: Stub) -> None:
    stub.plays(COUNTED, Reply(hang_up=True), COUNTED)
    films = connect(stub.url, retries=QUICK).collection("films")
    assert [films.count(), films.count()] == [3, 3]


def test_a_connection_that_broke_says_so(connect: Any, stub: Stub) -> None:
    stub.plays(Reply(hang_up=True))
    with pytest.raises(TransportError, match="broke") as caught:
        connect(stub.url, retries=0).collection("films").count()
    assert (caught.value.reached, caught.value.timed_out) == (True, False)
    assert caught.value.__cause__ is not None


def test_silence_is_a_timeout_and_is_not_retried(connect: Any, stub: Stub) -> None:
    stub.plays(Reply(silent=True))
    with pytest.raises(TransportError, match="in time") as caught:
        connect(stub.url, retries=QUICK, timeout=0.05).collection("films").count()
    assert (caught.value.reached, caught.value.timed_out) == (True, True)


def test_nobody_listening_is_said_plainly(connect: Any) -> None:
    with socket.socket() as reserved:  # bound and not listening: connections are refused
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(TransportError, match="is the service running") as caught:
            connect(url, retries=QUICK).health()
    assert not caught.value.reached
    assert url in str(caught.value)


def test_another_kind_of_server_is_recognized(connect: Any, stub: Stub) -> None:
    stub.plays(Reply(status=404, body=b"<h1>Not found</h1>"), Reply(body=b"<h1>Welcome</h1>"))
    client = connect(stub.url)
    with pytest.raises(VersionError, match="base_url points elsewhere"):
        client.collection("films").count()
    with pytest.raises(VersionError):
        client.info()


def test_a_scroll_follows_the_cursor_and_fetches_pages_only_when_needed(
    connect: Any, stub: Stub
) -> None:
    def page(ids: list[int], cursor: str | None) -> Reply:
        points = [{"id": id, "attributes": {}} for id in ids]
        return Reply(body={"points": points, "next_cursor": cursor})

    stub.plays(page([1, 2], "c1"), page([], "c2"), page([3], None))
    records = connect(stub.url).collection("films").scroll({"year": 1}, page_size=2)
    assert stub.seen == []
    assert [next(records).id, next(records).id] == [1, 2]
    assert len(stub.seen) == 1
    assert [record.id for record in records] == [3]
    assert [seen.json.get("cursor") for seen in stub.seen] == [None, "c1", "c2"]
    assert {seen.json["limit"] for seen in stub.seen} == {2}


def test_selecting_by_both_or_by_nothing_sends_nothing(connect: Any, stub: Stub) -> None:
    films = connect(stub.url).collection("films")
    for selection in ({}, {"ids": [1], "filter": {}}, {"ids": "abc"}):
        with pytest.raises(TypeError):
            films.delete(**selection)
        with pytest.raises(TypeError):
            films.patch(**selection, set={"a": 1})
    assert stub.seen == []
