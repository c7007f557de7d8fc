"""Named situations and the plan each gets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.planner.costs import Costs
from app.planner.plan import Empty, ExactScan, GraphWalk, Plan
from app.planner.planner import UNBOUNDED, choose, default_ef


def plan(**changes: Any) -> Plan:
    situation: dict[str, Any] = {
        "slots": 100_000, "matches": 100_000, "wanted": 10, "dimension": 384, "has_graph": True,
    }  # fmt: skip
    return choose(**(situation | changes))


def test_no_match_is_empty() -> None:
    assert isinstance(plan(matches=0), Empty)


def test_no_filter_walks_the_graph_without_a_budget() -> None:
    chosen = plan()
    assert isinstance(chosen, GraphWalk)
    assert chosen.budget == UNBOUNDED
    assert chosen.ef == default_ef(10) == 64


def test_a_wide_filter_walks_with_a_budget_of_about_one_scan() -> None:
    chosen = plan(matches=50_000)
    assert isinstance(chosen, GraphWalk)
    costs = Costs()
    scan = costs.scan_ns(50_000, 384)
    assert chosen.budget * costs.visit_ns(384) == pytest.approx(scan, rel=0.01)


def test_a_narrow_filter_scans_its_matches() -> None:
    assert isinstance(plan(matches=1_000), ExactScan)


def test_exact_on_request() -> None:
    chosen = plan(exact=True)
    assert isinstance(chosen, ExactScan)
    assert "requested" in chosen.reason


def test_without_a_graph_everything_is_scanned() -> None:
    assert isinstance(plan(has_graph=False), ExactScan)


def test_wanting_all_matches_scans_them() -> None:
    assert isinstance(plan(matches=50_000, wanted=50_000), ExactScan)


def test_a_requested_width_is_kept_but_never_below_what_is_wanted() -> None:
    wide, narrow = plan(ef=300), plan(ef=5, wanted=20)
    assert isinstance(wide, GraphWalk)
    assert isinstance(narrow, GraphWalk)
    assert (wide.ef, narrow.ef) == (300, 20)


@given(
    slots=st.integers(1, 10**7),
    share=st.floats(0, 1),
    wanted=st.integers(1, 10_000),
    dimension=st.integers(1, 4096),
)
def test_no_plan_is_expected_to_cost_more_than_twice_a_scan(
    slots: int, share: float, wanted: int, dimension: int
) -> None:
    matches = round(slots * share)
    chosen = plan(slots=slots, matches=matches, wanted=wanted, dimension=dimension)
    if isinstance(chosen, GraphWalk) and matches < slots:
        costs = Costs()
        worst = chosen.budget * costs.visit_ns(dimension) + costs.scan_ns(matches, dimension)
        assert worst <= 2.01 * costs.scan_ns(matches, dimension) + costs.visit_ns(dimension)


@given(a=st.integers(1, 100_000), b=st.integers(1, 100_000))
def test_fewer_matches_never_turn_a_scan_into_a_walk(a: int, b: int) -> None:
    fewer, more = sorted((a, b))
    if isinstance(plan(matches=more), ExactScan) and more < 100_000:
        assert isinstance(plan(matches=fewer), ExactScan)
