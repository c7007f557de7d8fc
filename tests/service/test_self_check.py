from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.base import Answer, Search
from app.errors import CollectionNotFound
from app.metrics.accounts import Work
from app.service.requests import Query
from app.service.searching import Question
from app.service.self_check import QUEUE, SelfCheck, recall
from app.types import Hit, Projection, Record, VectorField

FIELD = VectorField("default", 2)
VECTOR = np.ones(2, np.float32)


def hits(*scores: float) -> list[Hit]:
    return [Hit(score, Record(place, {}, None, None)) for place, score in enumerate(scores)]


def question(**more: object) -> Question:
    asked = Query(vector=[1.0, 1.0], **{"projection": Projection(), "k": 2, **more})  # type: ignore[arg-type]  # the test's own
    return Question(asked, FIELD, None, VECTOR)


APPROXIMATE = Answer(hits(1.0), 9, "graph", exact=False)
EXACT = Answer(hits(1.0), 9, "exact", exact=True)


class Asked:
    """A backend's search that answers what it is told to, and remembers the questions."""

    def __init__(self, approximate: list[Hit], exact: list[Hit]) -> None:
        self.answers = [Answer(approximate, 9, "graph", False), Answer(exact, 9, "exact", True)]
        self.seen: list[tuple[str, list[Search]]] = []

    def __call__(self, collection: str, searches: Sequence[Search]) -> list[Answer]:
        self.seen.append((collection, list(searches)))
        return self.answers


def eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.002)


def checking(
    search: Callable[[str, Sequence[Search]], list[Answer]],
    work: Work,
    *,
    share: float = 1.0,
    busy: bool = False,
    least_gap_s: float = 0.0,
) -> SelfCheck:
    return SelfCheck(share, search=search, busy=lambda: busy, work=work, least_gap_s=least_gap_s)


def test_a_query_is_asked_again_and_exactly_in_one_call() -> None:
    work, asked = Work(), Asked(hits(0.9, 0.5), hits(0.9, 0.8, 0.5, 0.4))
    check = checking(asked, work)
    check.start()
    check.seen("c", [question(k=3, offset=1, score_threshold=0.7, explain=True)], [APPROXIMATE])
    eventually(lambda: work.self_checks["checked"] == 1)
    check.close()
    ((collection, (again, exact)),) = asked.seen
    assert collection == "c"
    assert (again.k, again.offset, again.score_threshold, again.explain) == (4, 0, None, False)
    assert (again.exact, exact.exact) == (False, True)
    assert exact._replace(exact=False) == again
    assert again.projection == Projection(fields=frozenset(), with_text=False)
    assert work.recalls["c"].latest == 0.5
    assert work.recalls["c"].recall.count == 1


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=8),
    st.integers(1, 8),
    st.data(),
)
def test_recall_counts_every_hit_that_ties_with_the_last_exact_one(
    scores: list[float], k: int, data: st.DataObject
) -> None:
    every = sorted(scores, reverse=True)
    found = sorted(data.draw(st.permutations(scores))[:k], reverse=True)
    measured = recall(hits(*found), hits(*every[:k]))
    # The best k by score, whatever their ids, are a full recall; each that is missing counts.
    missing = list(every[:k])
    for score in found:
        if score in missing:
            missing.remove(score)
    assert measured == pytest.approx(1 - len(missing) / len(every[:k]))


def test_what_is_certainly_exact_is_not_sampled() -> None:
    work, asked = Work(), Asked(hits(1.0), hits(1.0))
    check = checking(asked, work)
    check.start()
    check.seen("c", [question()], [EXACT])
    check.seen("d", [question()], [APPROXIMATE])
    eventually(lambda: work.self_checks["checked"] == 1)
    check.close()
    assert [collection for collection, _ in asked.seen] == ["d"]


def test_the_share_that_is_sampled_is_the_one_asked_for() -> None:
    work = Work()
    check = checking(Asked([], []), work, share=0.05)  # not started: all wait, then are dropped
    for _ in range(10_000):
        check.seen("c", [question()], [APPROXIMATE])
    sampled = QUEUE + work.self_checks["dropped"]
    assert 350 < sampled < 650  # 500 ± 7 standard deviations
    check.close()


def test_samples_above_the_queue_are_dropped_and_counted() -> None:
    work = Work()
    check = checking(Asked([], []), work)
    for _ in range(QUEUE + 5):
        check.seen("c", [question()], [APPROXIMATE])
    assert work.self_checks["dropped"] == 5
    check.close()


def test_no_more_than_one_a_second_is_sampled() -> None:
    work = Work()
    check = checking(Asked([], []), work, least_gap_s=60.0)
    for _ in range(QUEUE + 5):
        check.seen("c", [question()], [APPROXIMATE])
    assert work.self_checks["dropped"] == 0
    check.close()


def test_while_callers_wait_nothing_is_checked() -> None:
    work, asked = Work(), Asked(hits(1.0), hits(1.0))
    check = checking(asked, work, busy=True)
    check.start()
    check.seen("c", [question()], [APPROXIMATE])
    eventually(lambda: work.self_checks["busy"] == 1)
    check.close()
    assert asked.seen == []


@pytest.mark.parametrize("error", [CollectionNotFound("c"), ValueError("what")])
def test_a_check_that_fails_is_counted_and_the_next_one_is_made(error: Exception) -> None:
    work, failing = Work(), threading.Event()
    asked = Asked(hits(1.0), hits(1.0))

    def search(collection: str, searches: Sequence[Search]) -> list[Answer]:
        if not failing.is_set():
            failing.set()
            raise error
        return asked(collection, searches)

    check = checking(search, work)
    check.start()
    for _ in range(2):
        check.seen("c", [question()], [APPROXIMATE])
    eventually(lambda: work.self_checks["checked"] == 1)
    check.close()
    assert work.self_checks["failed"] == 1


def test_nothing_matched_is_no_recall() -> None:
    work, asked = Work(), Asked([], [])
    check = checking(asked, work)
    check.start()
    check.seen("c", [question()], [APPROXIMATE])
    eventually(lambda: len(asked.seen) == 1)
    check.close()
    assert work.recalls == {}
