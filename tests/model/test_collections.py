"""The machine of `machine.py`, run with hypothesis: short here, long by `make model-test`.

MODEL_RUNS     runs of each machine
MODEL_STEPS    most steps of a run
MODEL_NO_SHRINK   set: tell of the first failure as it came, without making it small
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings

from .machine import Collections
from .world import WALKED, tiny

RUNS = int(os.environ.get("MODEL_RUNS", "10"))
STEPS = int(os.environ.get("MODEL_STEPS", "30"))


@pytest.fixture(autouse=True, scope="module")
def encoders() -> Iterator[None]:
    Collections.encoders = tiny()
    yield
    Collections.encoders.end()


class CollectionsOnGraphs(Collections):
    """The same with scans so dear that every graph is walked."""

    costs = WALKED
    searched: ClassVar[list[int]] = [0, 0]


chosen = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    phases=(Phase.reuse, Phase.generate) if os.environ.get("MODEL_NO_SHRINK") else tuple(Phase),
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
TestCollections = Collections.TestCase
TestCollections.settings = chosen
TestCollectionsOnGraphs = CollectionsOnGraphs.TestCase
TestCollectionsOnGraphs.settings = chosen


def test_approximate_answers_were_near_the_true_ones() -> None:
    """Over all queries of the run before: a walk may miss one, not many."""
    for machine in (Collections, CollectionsOnGraphs):
        near, wanted = machine.searched
        assert near >= 0.99 * wanted - 3, (near, wanted)
    if RUNS >= 100:  # few runs may happen to ask for no graph
        assert CollectionsOnGraphs.searched[1] > 0
