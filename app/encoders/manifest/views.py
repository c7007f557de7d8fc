"""How often an input is seen ([views]) and what its vector must not depend on ([invariance])."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from app.encoders.manifest.table import Table

PixelGroup = Literal["C4", "D4", "flip"]
ViewPool = Literal["mean", "max", "store_all"]


@dataclass(frozen=True, slots=True)
class Views:
    """An orbit of views and how their vectors become one. Exactly one orbit is given.

    group   a group on pixels; "" for none
    turns   so many turns of points, 360° / turns each; 0 for none
    scales  zooms of pixels
    crop    share of each side that five crops keep; 0 for none
    """

    pool: ViewPool
    group: str = ""
    turns: int = 0
    scales: tuple[float, ...] = ()
    crop: float = 0.0


@dataclass(frozen=True, slots=True)
class Invariance:
    """What an encoder promises beyond its views: the group, and how far it may be off, relative."""

    group: PixelGroup
    tolerance: float


def read_views(table: Table, kind: str) -> Views:
    """Read [views]."""
    pool = table.choose("pool", get_args(ViewPool))
    orbits = [key for key in ("group", "turns", "scales", "crop") if key in table]
    if len(orbits) != 1:
        found = " and ".join(map(repr, orbits)) or "none"
        table.fail("pool", "exactly one of group, turns, scales and crop beside it", found)
    on_points = orbits == ["turns"]
    if on_points != (kind == "points") or kind not in ("image", "points"):
        table.fail(orbits[0], "views that fit the kind (image, points)", repr(kind))
    views = Views(
        pool=pool,
        group=table.choose("group", get_args(PixelGroup)) if "group" in table else "",
        turns=table.positive("turns") if on_points else 0,
        scales=tuple(_scale(table, one) for one in table.take("scales", list, [])),
        crop=table.take("crop", float, 0.0),
    )
    if orbits == ["crop"] and not 0.0 < views.crop < 1.0:
        table.fail("crop", "a share between 0 and 1", str(views.crop))
    if orbits == ["scales"] and not views.scales:
        table.fail("scales", "at least one scale", "none")
    table.end()
    return views


def read_invariance(table: Table) -> Invariance:
    """Read [invariance]."""
    promised = Invariance(
        table.choose("group", get_args(PixelGroup)), table.take("tolerance", float)
    )
    if not promised.tolerance > 0.0:
        table.fail("tolerance", "a number above 0", str(promised.tolerance))
    table.end()
    return promised


def _scale(table: Table, found: object) -> float:
    if type(found) is not float or not 0.1 <= found <= 10.0:
        table.fail("scales", "floats from 0.1 to 10.0", repr(found))
    return found
