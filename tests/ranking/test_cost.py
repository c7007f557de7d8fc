"""The cost is known before the work, grows with it, and is bounded."""

from __future__ import annotations

import pytest

from app.errors import LimitExceeded
from app.ranking.tokens.aggregation import Aggregation
from app.ranking.tokens.anchors import Anchors
from app.ranking.tokens.cost import (
    MAX_CANDIDATES,
    MAX_COST,
    MAX_TOKENS,
    check_cost,
    cost,
)
from app.ranking.tokens.dense import Dense
from app.ranking.tokens.matching import Matching
from app.ranking.tokens.mutual import MutualNearest
from app.ranking.tokens.second_order import SecondOrder
from app.ranking.tokens.segment import Segment
from app.ranking.tokens.sinkhorn import Sinkhorn

HOWS: list[Aggregation | Matching] = [
    Aggregation("mean"), Aggregation("max"), Aggregation("lse"), Aggregation("attend", topk=4),
    Aggregation("isa"), Aggregation("regulated"), Aggregation("attend", symmetric=True),
    *(Matching(by) for by in (
        MutualNearest(), Sinkhorn(), SecondOrder(), Segment(), Segment(cyclic=True), Anchors(),
        Dense(),
    )),
]  # fmt: skip


def test_maxsim_costs_its_products() -> None:
    assert cost(Aggregation("max"), 32, [32] * 100, 128) == 100 * 32 * 32 * 128


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_cost_rises_with_everything_that_a_caller_can_size(how: Aggregation | Matching) -> None:
    base = cost(how, 16, [16, 20], 64)
    assert cost(how, 16, [16, 20, 1], 64) > base
    assert cost(how, 16, [16, 40], 64) > base
    assert cost(how, 16, [16, 20], 128) > base
    assert cost(how, 32, [16, 20], 64) > base


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_a_hundred_ordinary_candidates_are_allowed(how: Aggregation | Matching) -> None:
    assert check_cost(how, 32, [32] * 100, 128, "") <= MAX_COST


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_what_is_too_much_is_refused_with_its_place(how: Aggregation | Matching) -> None:
    for m, lengths, limit in (
        (MAX_TOKENS + 1, [1], MAX_TOKENS),
        (1, [MAX_TOKENS + 1], MAX_TOKENS),
        (1, [1] * (MAX_CANDIDATES + 1), MAX_CANDIDATES),
        (MAX_TOKENS, [MAX_TOKENS] * MAX_CANDIDATES, MAX_COST),
    ):
        with pytest.raises(LimitExceeded) as caught:
            check_cost(how, m, lengths, 64, "/rescore/aggregate")
        assert caught.value.pointer == "/rescore/aggregate"
        assert caught.value.context["limit"] == limit


def test_no_candidates_cost_nothing() -> None:
    assert check_cost(Aggregation("max"), 8, [], 16, "") == 0
