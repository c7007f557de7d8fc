"""Laws of whose turn it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.encoders.base import LaneName
from app.encoders.turns import LANES, Turns

PATIENCE_S = 1.0
LONGEST_S = 0.25

STEPS = st.lists(
    st.tuples(st.sets(st.sampled_from(LANES), min_size=1), st.floats(0.01, LONGEST_S)),
    max_size=80,
)


@given(STEPS)
def test_whoever_is_next_waits(steps: list[tuple[set[LaneName], float]]) -> None:
    turns = Turns(PATIENCE_S)
    for waiting, seconds in steps:
        chosen = turns.choose(waiting)
        assert chosen is not None
        assert chosen in waiting
        turns.took(chosen, seconds)


@given(st.lists(st.tuples(st.sets(st.sampled_from(LANES)), st.floats(0.01, LONGEST_S))))
def test_no_lane_lets_more_pass_than_its_patience_and_two_batches(
    steps: list[tuple[set[LaneName], float]],
) -> None:
    for patient in LANES:
        turns = Turns(PATIENCE_S)
        passed_s = 0.0
        for others, seconds in steps:
            chosen = turns.choose(others | {patient})
            assert chosen is not None
            turns.took(chosen, seconds)
            higher = LANES.index(chosen) < LANES.index(patient)
            passed_s = 0.0 if chosen == patient else passed_s + seconds * higher
            assert passed_s <= PATIENCE_S + 2 * LONGEST_S


def test_without_much_work_the_higher_lane_goes_first() -> None:
    turns = Turns(PATIENCE_S)
    for _ in range(3):
        assert turns.choose({"query", "write", "bulk"}) == "query"
        turns.took("query", 0.01)
    assert turns.choose({"write", "bulk"}) == "write"
    assert turns.choose({"bulk"}) == "bulk"


def test_a_lane_that_is_not_ones_own_is_chosen_once_it_is_overdue() -> None:
    turns = Turns(PATIENCE_S)
    assert turns.choose({"bulk"}, own=("query", "write")) is None
    turns.took("write", PATIENCE_S)
    assert turns.choose({"write", "bulk"}, own=("query", "write")) == "bulk"
    assert turns.choose({"write", "bulk"}, own=("query", "write")) == "write"


def test_who_was_served_or_did_not_wait_is_owed_nothing() -> None:
    turns = Turns(PATIENCE_S)
    turns.took("query", PATIENCE_S)
    turns.served("bulk")
    assert turns.choose({"query", "bulk"}, own=("query",)) == "query"  # write did not wait
    assert turns.choose({"query", "write", "bulk"}, own=("query",)) == "query"
