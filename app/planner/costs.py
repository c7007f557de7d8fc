"""What searching costs, in nanoseconds on the machine where it was measured. Ratios decide.

Measured on 60,000 arXiv abstracts (384-d, float32, M = 16), one thread of a 2.6 GHz AVX-512
server: `make bench` prints the families these come from.

    scanning a row        33 ns at 384-d: 11 ns + 0.058 ns a dimension   (rows are prefetched)
    visiting a node      130 ns at 384-d: 85 ns + 0.12 ns a dimension    (memory latency, heaps)
    nodes visited        about 250 + 12.5 ef without a filter; about s^−0.85 times that when a
                         filter that is independent of the vectors keeps the share s
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Costs:
    """The planner's cost model; see the module for where the numbers come from."""

    scan_fixed_ns: float = 11.0
    scan_dimension_ns: float = 0.058
    visit_fixed_ns: float = 85.0
    visit_dimension_ns: float = 0.12
    visits_fixed: float = 250.0
    visits_per_ef: float = 12.5
    filter_exponent: float = 0.85

    def scan_ns(self, rows: int, dimension: int) -> float:
        """Estimate the time of an exact scan of `rows` rows."""
        return rows * (self.scan_fixed_ns + self.scan_dimension_ns * dimension)

    def visit_ns(self, dimension: int) -> float:
        """Estimate the time of one visited node of a graph walk."""
        return self.visit_fixed_ns + self.visit_dimension_ns * dimension

    def visits(self, ef: int, selectivity: float) -> float:
        """Estimate how many nodes a walk visits under a filter that keeps the share given."""
        rarity = math.pow(selectivity, -self.filter_exponent)
        return (self.visits_fixed + self.visits_per_ef * ef) * rarity
