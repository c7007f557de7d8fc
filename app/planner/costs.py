"""What searching costs, in nanoseconds on the machine where it was measured. Ratios decide.

Measured on 60,000 arXiv abstracts (384-d, M = 16), one thread of a 2.6 GHz AVX-512 server: `make
bench-filtered` prints the families these come from.

                         float32     codes, at 384-d
    scanning a row       33 ns      25 ns     (memory bandwidth: rows of other queries are cold)
    visiting a node     130 ns      55 ns     (memory latency, heaps)

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
    code_scan_fixed_ns: float = 6.0
    code_scan_dimension_ns: float = 0.05
    code_visit_fixed_ns: float = 35.0
    code_visit_dimension_ns: float = 0.052
    visits_fixed: float = 250.0
    visits_per_ef: float = 12.5
    filter_exponent: float = 0.85

    def scan_ns(self, rows: int, dimension: int, coded: bool) -> float:
        """Estimate the time of an exact scan of `rows` rows, with codes or without."""
        if coded:
            return rows * (self.code_scan_fixed_ns + self.code_scan_dimension_ns * dimension)
        return rows * (self.scan_fixed_ns + self.scan_dimension_ns * dimension)

    def visit_ns(self, dimension: int, coded: bool) -> float:
        """Estimate the time of one visited node of a graph walk, with codes or without."""
        if coded:
            return self.code_visit_fixed_ns + self.code_visit_dimension_ns * dimension
        return self.visit_fixed_ns + self.visit_dimension_ns * dimension

    def visits(self, ef: int, selectivity: float) -> float:
        """Estimate how many nodes a walk visits under a filter that keeps the share given."""
        rarity = math.pow(selectivity, -self.filter_exponent)
        return (self.visits_fixed + self.visits_per_ef * ef) * rarity
