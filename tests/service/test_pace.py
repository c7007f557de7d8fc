"""Which searches may be done on the event loop: the account alone."""

from __future__ import annotations

from typing import Any

import pytest

from app.service.pace import LIMIT_S, SURPRISES, TRIALS, Pace, kinds_of
from app.service.requests import Query
from app.types import Projection

SHORT_S, LONG_S = LIMIT_S / 10, LIMIT_S * 3


def after(*took_s: float, on_loop: bool = True) -> Pace:
    pace = Pace()
    for one in took_s:
        pace.note("kind", one, on_loop=on_loop)
    return pace


def kind(**query: Any) -> Any:
    kinds = kinds_of("c", [Query(vector=[1.0], **query)])
    return None if kinds is None else kinds[0]


def test_a_kind_is_allowed_only_after_its_trials() -> None:
    assert not after().allows(["kind"])
    assert not after(*[SHORT_S] * (TRIALS - 1)).allows(["kind"])
    assert after(*[SHORT_S] * TRIALS).allows(["kind"])
    assert not after(*[SHORT_S] * TRIALS).allows(["kind", "another"])


def test_a_long_kind_is_never_allowed_and_becomes_so_when_it_gets_short() -> None:
    pace = after(*[LONG_S] * 100)
    assert not pace.allows(["kind"])
    for _ in range(1000):
        pace.note("kind", SHORT_S, on_loop=False)
    assert pace.allows(["kind"])


def test_several_searches_must_be_short_together() -> None:
    pace = after(*[LIMIT_S / 4] * 20)
    assert pace.allows(["kind", "kind"])
    assert not pace.allows(["kind"] * 4)


@pytest.mark.parametrize(("every", "allowed"), [(50, True), (4, False)])
def test_a_rare_surprise_is_put_up_with_and_a_frequent_one_is_not(
    every: int, allowed: bool
) -> None:
    pace = after(*[SHORT_S if n % every else LONG_S for n in range(1, 401)])
    assert pace.allows(["kind"]) == allowed


def test_a_kind_that_surprises_on_the_loop_only_is_rarely_done_there() -> None:
    # As when the data is on a disk: processor time on the lane is short, and tells nothing.
    pace = after(*[SHORT_S] * 100)
    done_on_loop = 0
    for _ in range(3000):
        on_loop = pace.allows(["kind"])
        done_on_loop += on_loop
        pace.note("kind", LONG_S if on_loop else SHORT_S, on_loop=on_loop)
    assert done_on_loop < 3000 * SURPRISES / 2


def test_kinds_differ_by_what_decides_the_time_and_not_by_values() -> None:
    assert kind(filter={"year": 1999}) == kind(filter={"year": 2020})
    assert kind(k=9) == kind(k=15)
    different = [
        kind(),
        kind(k=100),
        kind(ef=64),
        kind(using="title"),
        kind(filter={"year": 1}),
        kind(filter={"year": {"$gte": 1}}),
        kind(filter={"month": 1}),
        kind(filter={"$or": [{"year": 1}, {"month": 2}]}),
        kind(projection=Projection(frozenset(), with_text=False)),
        kind(projection=Projection(frozenset())),
    ]
    assert len(set(different)) == len(different)


@pytest.mark.parametrize(
    "query",
    [
        {"exact": True},
        {"k": 1000},
        {"offset": 1000},
        {"ef": 1000},
        {"projection": Projection(with_vectors=True)},
        {"vector": None, "text": "words"},
        {"vector": None, "id": 7},
        {"filter": {"n": {"$in": list(range(1000))}}},
        {"filter": {"$or": [{"n": n} for n in range(100)]}},
        {"filter": {f"field {n}": n for n in range(40)}},
        {"filter": {"$and": [{"$or": [{"n": n} for n in range(20)]} for _ in range(20)]}},
        {"filter": "no filter at all"},
        {"filter": 3},
    ],
)
def test_what_may_be_long_has_no_kind(query: dict[str, Any]) -> None:
    assert kinds_of("c", [Query(**{"vector": [1.0], **query})]) is None


def test_a_large_batch_has_no_kinds() -> None:
    assert kinds_of("c", [Query(vector=[1.0])] * 100) is None


def test_callers_cannot_make_the_account_grow_without_end() -> None:
    pace = Pace()
    for n in range(5000):
        pace.note(kind(filter={f"field {n}": 1}), SHORT_S, on_loop=False)
    assert len(pace._accounts) <= 1024
