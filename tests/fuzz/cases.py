"""How many cases a run tries, and what it says about them at its end."""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
"""Cases of each fuzzer."""

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

noted: dict[str, Counter[str]] = {}


def note(fuzzer: str, cases: int = 1, **outcomes: int) -> None:
    """Count cases of a fuzzer, and what came of them."""
    counted = noted.setdefault(fuzzer, Counter())
    counted["cases"] += cases
    counted.update(outcomes)
