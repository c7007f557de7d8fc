"""How one part of a collection is searched for one query; each plan carries its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Empty:
    """Nothing passes the filter."""

    reason: str = "no point passes the filter"
    name: str = "empty"


@dataclass(frozen=True, slots=True)
class ExactScan:
    """Compute the distance of every match."""

    reason: str
    name: str = "exact"


@dataclass(frozen=True, slots=True)
class GraphWalk:
    """Walk a graph, returning only matches; scan instead if `budget` distances do not do.

    graph   which of the graphs that were offered
    """

    graph: int
    ef: int
    budget: int
    reason: str
    name: str = "graph"


Plan = Empty | ExactScan | GraphWalk
