"""How one part of a collection is searched for one query; each plan can give its reason."""

from __future__ import annotations

from typing import NamedTuple


class Empty(NamedTuple):
    """Nothing passes the filter."""

    name: str = "empty"

    @property
    def reason(self) -> str:
        """Say why."""
        return "no point passes the filter"


class ExactScan(NamedTuple):
    """Compute the distance of every match.

    why                what leaves no choice; empty if the walk would cost more
    matches            rows to compare
    scan_ns, walk_ns   the estimates that were compared
    """

    why: str
    matches: int = 0
    scan_ns: float = 0.0
    walk_ns: float = 0.0
    name: str = "exact"

    @property
    def reason(self) -> str:
        """Say why."""
        return self.why or (
            f"scanning {self.matches} matches (~{self.scan_ns / 1000:.0f} µs) is cheaper than a "
            f"walk (~{self.walk_ns / 1000:.0f} µs)"
        )


class GraphWalk(NamedTuple):
    """Walk a graph, returning only matches; scan instead if `budget` distances do not do.

    graph              which of the graphs that were offered
    nodes, matches     how many nodes it has, how many of them match
    scan_ns, walk_ns   the estimates that were compared
    """

    graph: int
    ef: int
    budget: int
    nodes: int
    matches: int
    scan_ns: float
    walk_ns: float
    name: str = "graph"

    @property
    def reason(self) -> str:
        """Say why. Written when it is asked for: most answers are not explained."""
        return (
            f"a walk of {self.nodes} nodes (~{self.walk_ns / 1000:.0f} µs) is cheaper than "
            f"scanning {self.matches} matches (~{self.scan_ns / 1000:.0f} µs)"
        )


Plan = Empty | ExactScan | GraphWalk
"""What is planned for one part."""
