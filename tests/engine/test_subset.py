"""Counts and orders over parts, head and segment, against a look at every point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.attributes.evaluate import AttributeReader
from app.attributes.growing import GrowingIndex
from app.attributes.index import AttributeIndex
from app.attributes.places import Place
from app.engine.snapshot import LivePart
from app.engine.subset import SnapshotSubset
from app.exchange import Order, Ordered
from app.kernels import bits as bitset
from app.keys import id_from_key, key_from_id
from app.types import I64, U32, Attributes, Point, PointId
from tests.attributes.strategies import attributes, places
from tests.reference_backend import ReferenceSubset


@dataclass
class Piece:
    """As much of a `Part` as counting and ordering look at."""

    rows: I64
    ids: Sequence[PointId]
    attributes: AttributeReader

    @property
    def slots(self) -> int:
        return self.rows.size

    def keys(self, slots: U32) -> list[bytes]:
        return [key_from_id(self.ids[slot]) for slot in slots.tolist()]

    def after(self, key: bytes | None) -> U32:
        order = sorted(range(self.slots), key=lambda slot: key_from_id(self.ids[slot]))
        return np.array(order, dtype=np.uint32)


def indexed(points: Sequence[Attributes], *, grows: bool) -> AttributeReader:
    if not grows:
        return AttributeIndex.build(points)
    index = GrowingIndex()
    for one in [*points, {"a": 1, "b": "newer", "c~/": {"lat": 0, "lon": 0}}]:  # not seen yet
        index.append(one)
    return index


Dealt = list[tuple[Attributes, int, bool]]
"""Attributes, which part they stand in, and whether they are chosen."""


def subsets(dealt: Dealt, seed: int) -> tuple[SnapshotSubset, ReferenceSubset]:
    ids = np.random.default_rng(seed).permutation(len(dealt)).tolist()
    parts = []
    for number in range(3):
        rows = [row for row, (_, part, _) in enumerate(dealt) if part == number]
        piece: Any = Piece(
            np.array(rows, dtype=np.int64),
            [ids[row] for row in rows],
            indexed([dealt[row][0] for row in rows], grows=number == 2),
        )
        bits = bitset.empty(len(rows))
        chosen = [slot for slot, row in enumerate(rows) if dealt[row][2]]
        bitset.set_slots(bits, np.array(chosen, dtype=np.uint32))
        parts.append((LivePart.of(piece, bitset.full(len(rows))), bits))
    points = [
        (row, Point(ids[row], {}, one)) for row, (one, _, chosen) in enumerate(dealt) if chosen
    ]
    points.sort(key=lambda pair: pair[1].id)
    return SnapshotSubset(parts), ReferenceSubset(points)


dealt = st.lists(st.tuples(attributes, st.integers(0, 2), st.booleans()), max_size=25)
orders = st.builds(
    Order,
    st.sampled_from(("a", "b")),
    st.sampled_from(("values", "values", "instants", "distance")),
    st.booleans(),
    places.map(lambda place: Place(place["lat"], place["lon"])),
)


def plain(numbers: Any) -> list[Any]:
    return [part.tolist() if isinstance(part, np.ndarray) else part for part in numbers]


def is_typed_alike(ours: Any, theirs: Any) -> bool:
    return repr(ours) == repr(theirs)  # 1, 1.0 and True are equal, and not the same


@settings(max_examples=150, deadline=None)
@given(dealt, st.integers(0, 99), st.sampled_from((1, 3, 100)))
def test_counts_do_not_depend_on_how_points_are_spread(points: Dealt, seed: int, most: int) -> None:
    ours, theirs = subsets(points, seed)
    assert ours.points == theirs.points
    for field in ("a", "b", "no such"):
        assert is_typed_alike(ours.facet(field, most), theirs.facet(field, most))
        assert plain(ours.numbers(field, "numbers")) == plain(theirs.numbers(field, "numbers"))
        assert plain(ours.numbers(field, "instants")) == plain(theirs.numbers(field, "instants"))


@settings(max_examples=150, deadline=None)
@given(dealt, st.integers(0, 99), orders, st.sampled_from((1, 2, 5, 100)))
def test_an_order_does_not_depend_on_how_points_are_spread(
    points: Dealt, seed: int, order: Order, most: int
) -> None:
    ours, theirs = (each.in_order(order, most) for each in subsets(points, seed))
    assert ours.rows.shape == theirs.rows.shape
    if order.over != "distance":
        assert is_typed_alike(listed(ours), listed(theirs))
        return
    for mine, other in zip(ours.values, theirs.values, strict=True):
        # Near antipodes a distance is known to decimetres.
        assert mine == (None if other is None else pytest.approx(other, abs=0.5))


def listed(found: Ordered) -> list[tuple[PointId, Any, int]]:
    return list(zip(map(id_from_key, found.keys), found.values, found.rows.tolist(), strict=True))


def test_what_shares_the_last_value_is_cut_by_id() -> None:
    points: Dealt = [({"a": n // 10}, n % 3, True) for n in range(60)]
    ours, theirs = (each.in_order(Order("a"), 13) for each in subsets(points, 7))
    assert listed(ours) == listed(theirs)
    assert [value for _, value, _ in listed(ours)] == [0] * 10 + [1] * 3
