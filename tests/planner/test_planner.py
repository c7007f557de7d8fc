"""Named situations and the plan each gets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.planner.costs import Costs
from app.planner.plan import Empty, ExactScan, GraphWalk, Plan
from app.planner.planner import UNBOUNDED, choose, default_ef, rows_worth_a_graph


def plan(**changes: Any) -> Plan:
    situation: dict[str, Any] = {
        "graphs": [100_000],
        "matches": 100_000,
        "wanted": 10,
        "dimension": 384,
        "coded": True,
        "costs": Costs(),
    }
    return choose(**(situation | changes))


def test_no_match_is_empty() -> None:
    assert isinstance(plan(matches=0), Empty)


def test_no_filter_walks_the_graph_without_a_budget() -> None:
    chosen = plan()
    assert isinstance(chosen, GraphWalk)
    assert chosen.budget == UNBOUNDED
    assert chosen.ef == default_ef(10, nodes=100_000) == 68
    assert default_ef(10) == 64


def test_a_wide_filter_walks_with_a_budget_of_about_one_scan() -> None:
    chosen = plan(matches=50_000)
    assert isinstance(chosen, GraphWalk)
    costs = Costs()
    scan = costs.scan_ns(50_000, 384, True)
    assert chosen.budget * costs.visit_ns(384, True) == pytest.approx(scan, rel=0.01)


def test_a_narrow_filter_scans_its_matches() -> None:
    assert isinstance(plan(matches=1_000), ExactScan)


def test_exact_on_request() -> None:
    chosen = plan(exact=True)
    assert isinstance(chosen, ExactScan)
    assert "requested" in chosen.reason


def test_without_a_graph_everything_is_scanned() -> None:
    assert isinstance(plan(graphs=[]), ExactScan)


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
    coded=st.booleans(),
)
def test_no_plan_is_expected_to_cost_more_than_twice_a_scan(
    slots: int, share: float, wanted: int, dimension: int, coded: bool
) -> None:
    matches = round(slots * share)
    chosen = plan(graphs=[slots], matches=matches, wanted=wanted, dimension=dimension, coded=coded)
    if isinstance(chosen, GraphWalk) and matches < slots:
        costs = Costs()
        scan_ns = costs.scan_ns(matches, dimension, coded)
        visit_ns = costs.visit_ns(dimension, coded)
        assert chosen.budget * visit_ns + scan_ns <= 2.01 * scan_ns + visit_ns


@given(a=st.integers(1, 100_000), b=st.integers(1, 100_000))
def test_fewer_matches_never_turn_a_scan_into_a_walk(a: int, b: int) -> None:
    fewer, more = sorted((a, b))
    if isinstance(plan(matches=more), ExactScan) and more < 100_000:
        assert isinstance(plan(matches=fewer), ExactScan)


def test_the_smallest_graph_that_holds_all_matches_is_walked() -> None:
    chosen = plan(graphs=[100_000, 30_000, 40_000], matches=30_000)
    assert isinstance(chosen, GraphWalk)
    assert (chosen.graph, chosen.budget) == (1, UNBOUNDED)


def test_a_cover_turns_a_scan_into_a_walk() -> None:
    assert isinstance(plan(matches=8_000), ExactScan)
    assert isinstance(plan(graphs=[100_000, 8_000], matches=8_000), GraphWalk)


def test_fewer_rows_than_are_worth_a_graph_are_scanned_even_with_one() -> None:
    least = rows_worth_a_graph(384, True, Costs())
    assert isinstance(plan(graphs=[100_000, least - 50], matches=least - 50), ExactScan)
    assert isinstance(plan(graphs=[100_000, least + 50], matches=least + 50), GraphWalk)


@given(wanted=st.integers(1, 1000), a=st.floats(1e-6, 1), b=st.floats(1e-6, 1))
def test_the_width_grows_with_selectivity_and_never_falls_below_what_is_wanted(
    wanted: int, a: float, b: float
) -> None:
    narrow, wide = sorted((a, b))
    assert wanted <= default_ef(wanted, narrow) <= default_ef(wanted, wide)
    assert default_ef(wanted, wide, 1000) <= default_ef(wanted, wide, 10**7)
