"""Short searches are done on the event loop, and nothing that may be long ever is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.api.query_body import one_query
from app.backends.base import Answer, Search
from app.backends.local import LocalBackend
from app.service.pace import TRIALS, kinds_of

from .harness import InProcess, running, settings

LOOP = threading.main_thread().name  # the harness runs the loop there
PATH = "/v1/collections/c/query"


class Watched(LocalBackend):
    """The embedded engine, telling on which thread it searched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, sync=False, build_threads=1)
        self.threads: list[str] = []
        self.overtaken = False

    def search(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer]:
        self.threads.append(threading.current_thread().name)
        return super().search(name, searches, mark)

    def search_now(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer] | None:
        self.threads.append(threading.current_thread().name)
        return None if self.overtaken else super().search_now(name, searches, mark)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "data")


@pytest.fixture
def app(tmp_path: Path, watched: Watched) -> Iterator[InProcess]:
    with running(settings(tmp_path), watched) as app:
        app.wait_for_encoders()
        app.put("/v1/collections/c", {"vectors": {"v": {"dimension": 2}, "t": {}}})
        points = [{"id": n, "vectors": {"v": [1, n]}, "attributes": {"n": n}} for n in range(20)]
        assert app.put("/v1/collections/c/points", {"points": points}).status_code == 200
        yield app


def asked(app: InProcess, watched: Watched, query: dict[str, Any], times: int = 1) -> list[str]:
    """Ask, and tell where the searches were done."""
    watched.threads.clear()
    for _ in range(times):
        assert app.post(PATH, query).status_code == 200
    return watched.threads


def known_as_short(app: InProcess, query: dict[str, Any]) -> None:
    """Have the account know the query's kind so well that a busy machine does not matter."""
    kinds = kinds_of("c", [one_query(json.dumps(query).encode())[1]])
    assert kinds is not None
    for _ in range(500):
        app.app.state.service._pace.note(kinds[0], 1e-5, on_loop=True)


QUERY = {"vector": [1, 0], "using": "v"}


def test_a_kind_is_tried_on_the_lane_and_comes_to_the_loop_in_time(
    app: InProcess, watched: Watched
) -> None:
    threads = asked(app, watched, QUERY, TRIALS)
    assert all(name.startswith("search") for name in threads)
    for _ in range(1000):  # the first search of a process is long
        if asked(app, watched, QUERY) == [LOOP]:
            break
    else:
        raise AssertionError("a search of 20 points is not short in a thousand")
    (filtered,) = asked(app, watched, {**QUERY, "filter": {"n": 3}})
    assert filtered.startswith("search"), "another kind has trials of its own"


@pytest.mark.parametrize(
    "query",
    [
        {**QUERY, "params": {"exact": True}},
        {**QUERY, "k": 500},
        {**QUERY, "with_vectors": True},
        {**QUERY, "filter": {"n": {"$in": list(range(200))}}},
        {"id": 3, "using": "v"},
        {"text": "fox"},
    ],
    ids=str,
)
def test_what_may_be_long_never_comes_to_the_loop(
    app: InProcess, watched: Watched, query: dict[str, Any]
) -> None:
    assert LOOP not in asked(app, watched, query, TRIALS + 8)


def test_a_large_batch_never_comes_to_the_loop(app: InProcess, watched: Watched) -> None:
    known_as_short(app, QUERY)
    watched.threads.clear()
    answer = app.post("/v1/collections/c/query:batch", {"queries": [QUERY] * 20})
    assert len(answer.json()["results"]) == 20
    assert LOOP not in watched.threads


def test_an_answer_is_the_same_on_the_loop_and_on_the_lane(
    app: InProcess, watched: Watched
) -> None:
    query = {**QUERY, "k": 5, "filter": {"n": {"$gte": 4}}}
    on_lane = app.post(PATH, query).json()
    known_as_short(app, query)
    on_loop = app.post(PATH, query).json()
    assert watched.threads[-1] == LOOP
    for answer in (on_lane, on_loop):
        del answer["took_ms"]
    assert on_loop == on_lane


def test_a_search_that_would_have_to_wait_goes_to_the_lane(
    app: InProcess, watched: Watched
) -> None:
    known_as_short(app, QUERY)
    watched.overtaken = True
    first, second = asked(app, watched, QUERY)
    assert (first, second.startswith("search")) == (LOOP, True)


def test_faults_are_told_on_the_loop_as_on_the_lane(app: InProcess, watched: Watched) -> None:
    wrong = {**QUERY, "vector": [1, 2, 3]}
    before = app.post(PATH, wrong)
    known_as_short(app, QUERY)
    after = app.post(PATH, wrong)
    for answer in (before, after):
        assert answer.status_code == 422
        assert answer.json()["pointer"] == "/vector"
    assert before.json()["detail"] == after.json()["detail"]


def test_a_stopping_service_refuses_and_does_not_search_on_the_loop(
    app: InProcess, watched: Watched
) -> None:
    known_as_short(app, QUERY)
    app.run(app.app.state.service.close())
    watched.threads.clear()

    async def ask() -> Any:
        return await app.ask("POST", PATH, QUERY)

    assert app.run(ask()).status_code == 503
    assert watched.threads == []
