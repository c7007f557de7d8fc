"""Areas of the earth, against formulas of another kind, and both indexes against them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.attributes import places
from app.attributes.building import morton_codes
from app.attributes.filter import Within, parse_filter
from app.attributes.places import Place, place_from
from app.kernels import geo
from tests.attributes.strategies import areas
from tests.attributes.strategies import places as place_strategy
from tests.attributes.test_evaluate import built, expected, grown, passing


def vector_of(place: Place) -> tuple[float, float, float]:
    lat, lon = math.radians(place.lat), math.radians(place.lon)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)


def angle(a: Place, b: Place) -> float:
    """The angle between two places by the lengths of the sum and the difference of vectors."""
    one, other = vector_of(a), vector_of(b)
    apart = math.dist(one, other)
    along = math.hypot(*(x + y for x, y in zip(one, other, strict=True)))
    return 2 * math.atan2(apart, along)


@given(place_strategy, place_strategy)
def test_a_distance_is_the_angle_times_the_mean_radius(
    a: dict[str, float], b: dict[str, float]
) -> None:
    found = places.distance_m(place_from(a), place_from(b))
    assert found == pytest.approx(
        angle(place_from(a), place_from(b)) * places.EARTH_RADIUS_M, rel=1e-9, abs=0.2
    )


def test_a_known_distance_is_found() -> None:
    berlin, paris = Place(52.5200, 13.4050), Place(48.8566, 2.3522)
    assert places.distance_m(berlin, paris) == pytest.approx(877_463, rel=1e-4)


@settings(max_examples=150, deadline=None)
@given(areas, st.lists(place_strategy, min_size=1, max_size=150), st.integers(0, 3))
def test_both_indexes_hold_what_the_area_holds(
    area: dict[str, Any], found: list[dict[str, float]], times: int
) -> None:
    # Near each other as well, so that cells are cut down to a few places.
    near = [{**one, "lon": one["lon"] / (1 + 1e-7 * n)} for one in found for n in range(times)]
    points = [(i, {"at": place}) for i, place in enumerate([*found, *near])]
    filter = parse_filter({"at": area})
    wanted = expected(filter, points, len(points))
    assert passing(filter, built(points), points, len(points)) == wanted
    assert passing(filter, grown(points), points, len(points)) == wanted


@settings(max_examples=20, deadline=None)
@given(areas, st.integers(0, 2**32))
def test_the_tree_of_many_places_agrees_with_a_look_at_each(
    area: dict[str, Any], seed: int
) -> None:
    draw = np.random.default_rng(seed)
    lats = np.degrees(np.arcsin(draw.uniform(-1, 1, 3000))).tolist()
    lons = draw.uniform(-180, 180, 3000).tolist()
    points = [
        (i, {"at": {"lat": lat, "lon": lon}})
        for i, (lat, lon) in enumerate(zip(lats, lons, strict=True))
    ]
    filter = parse_filter({"at": area})
    wanted = expected(filter, points, len(points))
    assert passing(filter, built(points), points, len(points)) == wanted


@given(place_strategy, st.floats(1, 2e7))
def test_a_radius_holds_the_places_up_to_it_and_none_beyond(
    centre: dict[str, float], radius: float
) -> None:
    filter = parse_filter({"at": {"$geoRadius": {**centre, "radius": radius}}})
    assert isinstance(filter, Within)
    middle = place_from(centre)
    for share in (0.0, 0.5, 0.999, 1.001, 1.5):
        lat = middle.lat + math.degrees(share * radius / places.EARTH_RADIUS_M)
        if lat <= 90:
            assert filter.area.holds(Place(lat, middle.lon)) == (share <= 1)


def test_a_box_whose_west_is_east_of_its_east_crosses_the_date_line() -> None:
    filter = parse_filter(
        {"at": {"$geoBox": {"min": {"lat": -20, "lon": 170}, "max": {"lat": 0, "lon": -170}}}}
    )
    assert isinstance(filter, Within)
    held = {lon: filter.area.holds(Place(-10, lon)) for lon in (169, 175, -180, -175, -169, 0)}
    assert held == {169: False, 175: True, -180: True, -175: True, -169: False, 0: False}


@given(st.sampled_from((180, -180)), st.sampled_from((180, -180)))
def test_the_meridians_180_and_minus_180_are_one(place: int, edge: int) -> None:
    point = [(0, {"at": {"lat": 1, "lon": place}})]
    box = {"min": {"lat": 0, "lon": edge}, "max": {"lat": 2, "lon": edge}}
    radius = {"lat": 1, "lon": edge, "radius": 0}
    for area in ({"$geoBox": box}, {"$geoRadius": radius}):
        filter = parse_filter({"at": area})
        assert expected(filter, point, 1) == [0]
        assert passing(filter, built(point), point, 1) == [0]


def test_a_polygon_over_the_date_line_is_not_the_rest_of_the_world() -> None:
    ring = [{"lat": lat, "lon": lon} for lat, lon in ((-20, 170), (-20, -170), (0, 180))]
    filter = parse_filter({"at": {"$geoPolygon": ring}})
    assert isinstance(filter, Within)
    held = {lon: filter.area.holds(Place(-15, lon)) for lon in (169, 178, -178, -169, 0)}
    assert held == {169: False, 178: True, -178: True, -169: False, 0: False}


@given(st.lists(place_strategy, min_size=1, max_size=20))
def test_a_morton_code_interleaves_the_bits_of_both_coordinates(
    found: list[dict[str, float]],
) -> None:
    degrees = np.array([place_from(place) for place in found])
    for (lat, lon), code in zip(degrees.tolist(), morton_codes(degrees).tolist(), strict=True):
        y = min(int((lat + 90.0) * (2.0**32 / 180.0)), 2**32 - 1)
        x = min(int((lon + 180.0) * (2.0**32 / 360.0)), 2**32 - 1)
        assert code == sum(
            (y >> bit & 1) << 2 * bit + 1 | (x >> bit & 1) << 2 * bit for bit in range(32)
        )


def test_the_kernels_know_the_same_earth() -> None:
    assert geo._EARTH_RADIUS_M == places.EARTH_RADIUS_M
