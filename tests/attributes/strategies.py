"""Generated attributes and filters, drawn from few fields and values so that they meet often."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from app.attributes.listed import MANY

FIELDS = ("a", "b", "c~/", "é")

STRINGS = ("", "x", "X", "é", "1", "true", "a longer string", "2024-05-01", "2024-05-01T00:00:00Z",
           "2024-05-01T02:00:00+02:00", "2024-05-01T00:00:00.000001Z", "1969-12-31T23:59:59.5Z",
           "2016-12-31T23:59:60Z", "2017-01-01", "0000-01-01T00:00:00+23:59", "9999-12-31",
           "2024-13-01", "2024-05-01T00:00:00")  # fmt: skip
INSTANTS = tuple(s for s in STRINGS if s[4:5] == "-" and s not in STRINGS[-2:])
INTS = (0, 1, -1, 2, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63 - 2, -(2**63), -(2**63) + 1)
FLOATS = (0.0, -0.0, 1.0, 0.5, -0.5, 2.0**53, 2.0**63, -(2.0**63), 2.0**64, 1e300, -1e300, 5e-324)
# Two strings of one CRC-32: they are told apart by their bytes (a test asserts it).
TWINS = ("plumless", "buckeroo")

numbers = st.sampled_from(INTS + FLOATS) | st.integers(-4, 4)
scalars = st.sampled_from((*STRINGS, *TWINS)) | numbers | st.booleans() | st.none()
LATS = (-90, -89.999, -45, 0, -0.0, 45, 45.000001, 52.5, 90)
LONS = (-180, 180, 179.999, -179.999, 0, 13.4, 13.400001, 90, -90)
# Few coordinates, so that places meet; and any, so that areas meet their edges.
places = st.fixed_dictionaries(
    {
        "lat": st.sampled_from(LATS) | st.floats(-90, 90),
        "lon": st.sampled_from(LONS) | st.floats(-180, 180),
    }
)
elements = scalars | places
values = elements | st.lists(elements, max_size=4)
attributes = st.dictionaries(st.sampled_from(FIELDS), values, max_size=4)
ids = st.sampled_from((0, 1, 2, 3, 2**64 - 1, "0", "1", "2", "é"))


def _ranges(operands: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(
        st.sampled_from(("$gt", "$gte", "$lt", "$lte")), operands, min_size=1, max_size=4
    )


_lists = st.one_of(
    st.lists(scalars, max_size=5),
    st.lists(scalars | st.integers(5, 99), min_size=MANY, max_size=2 * MANY),
)
_operators = st.fixed_dictionaries(
    {},
    optional={
        "$eq": scalars,
        "$ne": scalars,
        "$contains": scalars,
        "$in": _lists,
        "$nin": _lists,
        "$containsAny": _lists,
        "$containsAll": st.lists(scalars, max_size=3),
        "$exists": st.booleans(),
    },
).filter(len)
ranges = _ranges(numbers) | _ranges(st.sampled_from(INSTANTS))
radii = st.builds(
    lambda place, radius: {**place, "radius": radius},
    places,
    st.sampled_from((0, 0.01, 1000, 1_000_000, 10_007_557, 20_015_115, 3e7)) | st.floats(0, 2.1e7),
)
boxes = st.builds(
    lambda one, other: {
        "min": {**one, "lat": min(one["lat"], other["lat"])},
        "max": {**other, "lat": max(one["lat"], other["lat"])},
    },
    places,
    places,
)
# Corners of a third of the map: no ring of them goes around a pole.
polygons = st.builds(
    lambda corners, west: [
        {"lat": corner["lat"], "lon": (corner["lon"] / 3 + west + 180) % 360 - 180}
        for corner in corners
    ],
    st.lists(places, min_size=3, max_size=6),
    st.sampled_from((0, 180, -100)),
)
areas = st.one_of(
    radii.map(lambda operand: {"$geoRadius": operand}),
    boxes.map(lambda operand: {"$geoBox": operand}),
    polygons.map(lambda operand: {"$geoPolygon": operand}),
)
_conditions = st.one_of(
    areas,
    scalars,
    scalars.map(lambda operand: {"$ne": operand}),
    _lists.map(lambda operand: {"$in": operand}),
    _lists.map(lambda operand: {"$nin": operand}),
    st.lists(scalars, max_size=3).map(lambda operand: {"$containsAll": operand}),
    st.booleans().map(lambda operand: {"$exists": operand}),
    _operators,
    ranges,
    _ranges(numbers).map(lambda operators: {"$not": operators}),
)
_ids = st.one_of(
    ids,
    st.lists(ids, max_size=3),
    st.dictionaries(st.sampled_from(("$eq", "$ne")), ids, min_size=1),
    st.dictionaries(st.sampled_from(("$in", "$nin")), st.lists(ids, max_size=3), min_size=1),
)
_leaves = st.dictionaries(st.sampled_from(FIELDS), _conditions, max_size=2) | st.fixed_dictionaries(
    {"$id": _ids}
)
filters: st.SearchStrategy[dict[str, Any]] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=4)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=4)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=8,
)
"""Filters as JSON, all of them valid."""

_words = st.sampled_from(
    ("$and", "$or", "$not", "$id", "$eq", "$in", "$gt", "$lte", "$containsAll", "$exists", "$x",
     "a", "", "\ud800", "2024-05-01", "x" * 300)
)  # fmt: skip
_anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | _words
any_json: st.SearchStrategy[Any] = st.recursive(
    _anything,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_words | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
"""Whatever JSON can hold, made of words that filters are made of, and NaN, which Python reads."""
