"""Encode several views of each input and make one vector of them.

Averaging an encoder over a finite group G, `f_G(x) = 1/|G| Σ_{g∈G} f(g·x)`, makes it invariant to
G whatever the encoder: `f_G(h·x)` sums the same vectors in another order. Scales and crops are no
groups; over them the average is only steadier. The actions are in `app.encoders.pipeline.groups`
and work on prepared inputs, so one decoding and one resize serve all views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.encoders.base import Encoder, OutputKind, Prepared, Several, TextKind
from app.encoders.inputs import Input
from app.encoders.manifest.views import Views
from app.encoders.pipeline.arrays import unit
from app.encoders.pipeline.groups import Action, crops, pixel_orbit, point_turns, zooms
from app.errors import LikewiseError
from app.types import F32


def orbit_of(views: Views) -> list[Action]:
    """The actions that a manifest's [views] names."""
    if views.group:
        return pixel_orbit(views.group)
    if views.turns:
        return point_turns(views.turns)
    return zooms(views.scales) if views.scales else crops(views.crop)


class ViewsEncoder:
    """An encoder that sees each input several times.

    inner      the encoder of one view; closed with this one
    actions    one for each view
    pool       "mean" or "max" over the views' vectors; "store_all" gives the mean, and every
               view's vector where `tokens` are asked for
    normalise  whether pooled vectors are brought to length one again

    A view costs what an input costs, and a batch counts them all.
    """

    def __init__(
        self, inner: Encoder, actions: Sequence[Action], *, pool: str, normalise: bool
    ) -> None:
        self.name, self.dimension = inner.name, inner.dimension
        self.parallel = inner.parallel
        self._inner, self._actions = inner, tuple(actions)
        self._pool, self._normalise = pool, normalise

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Make inputs complete, as the inner encoder does."""
        return self._inner.address(inputs, kind)

    def estimate(self, given: Input) -> int:
        """Guess the cost of all views."""
        return len(self._actions) * self._inner.estimate(given)

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """Prepare each input once; its views are made when it runs."""
        views = len(self._actions)
        return [
            one
            if isinstance(one, LikewiseError)
            else Prepared(one.value, views * one.cost, views * one.tokens)
            for one in self._inner.prepare(inputs)
        ]

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32 | list[Any]:
        """Pooled vectors [input, dim]; for "tokens" a list of [view, dim]; for "all" both."""
        views = len(self._actions)
        seen = [
            Prepared(action(one.value), one.cost // views, one.tokens // views)
            for one in batch
            for action in self._actions
        ]
        made = np.asarray(self._inner.run(seen, "dense"), np.float32)
        made = made.reshape(len(batch), views, self.dimension)
        if output == "tokens":
            return list(made)
        pooled: F32 = made.max(axis=1) if self._pool == "max" else made.mean(axis=1)
        if self._normalise:
            pooled = unit(pooled)
        if output == "all":
            return [Several(vector, of, None) for vector, of in zip(pooled, made, strict=True)]
        return pooled

    def close(self) -> None:
        """Close the inner encoder."""
        self._inner.close()


@dataclass(frozen=True, slots=True)
class Invariance:
    """How far actions move an encoder's vectors.

    farthest  largest `‖f(g·x) − f(x)‖` over inputs and actions, relative to `‖f(x)‖`
    cosine    mean cosine of f(g·x) and f(x)
    """

    farthest: float
    cosine: float


def measure_invariance(
    encoder: Encoder, inputs: Sequence[Input], actions: Sequence[Action]
) -> Invariance:
    """Measure how far an encoder is from invariant to actions on its prepared inputs.

    Raises the error of the first input that cannot be read, and whatever the runtime raises.
    """
    farthest, cosines = 0.0, []
    for one in encoder.prepare(encoder.address(inputs, "document")):
        if isinstance(one, LikewiseError):
            raise one
        moved = [Prepared(action(one.value), one.cost, one.tokens) for action in actions]
        # One by one: what is measured is the actions, not the company.
        still = np.asarray(encoder.run([one], "dense"), np.float64)[0]
        for each in moved:
            other = np.asarray(encoder.run([each], "dense"), np.float64)[0]
            length = float(np.linalg.norm(still)) or 1.0
            farthest = max(farthest, float(np.linalg.norm(other - still)) / length)
            cosines.append(float(still @ other) / (length * (float(np.linalg.norm(other)) or 1.0)))
    return Invariance(farthest, float(np.mean(cosines)) if cosines else 1.0)
