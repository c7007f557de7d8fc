"""How one part of a collection is searched for one query; each plan carries its reason."""

from __future__ import annotations

from typing import NamedTuple


class Empty(NamedTuple):
    """Nothing passes the filter."""

    reason: str = "no point passes the filter"
    name: str = "empty"


class ExactScan(NamedTuple):
    """Compute the distance of every match."""

    reason: str
    name: str = "exact"


class GraphWalk(NamedTuple):
    """Walk a graph, returning only matches; scan instead if `budget` distances do not do.

    graph   which of the graphs that were offered
    """

    graph: int
    ef: int
    budget: int
    reason: str
    name: str = "graph"


Plan = Empty | ExactScan | GraphWalk
