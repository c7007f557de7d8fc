"""Class means that move along with new examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.backends.base import View
from app.query.labels import Label
from app.query.memory.classify import Everywhere
from app.query.memory.inputs import Bench, Thing
from app.query.running import Leaves, Running
from app.types import F64, VectorField


class Example(NamedTuple):
    """A thing, and what it is."""

    thing: Thing
    label: Label


def learned(view: View, field: VectorField, examples: Sequence[Example], leaves: Leaves) -> F64:
    """Give examples as vectors in the form that is searched: float64[examples, d]."""
    things = [one.thing for one in examples]
    return Bench(Running(view, Everywhere(field), leaves), field, things).vectors()
