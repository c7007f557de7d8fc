"""Places on the earth, and areas of it: what `$geoRadius`, `$geoBox` and `$geoPolygon` take.

Distances are great-circle distances on a sphere of the mean radius of the earth, by the haversine
formula: off by up to half a percent from those on the ellipsoid, as those of most databases are.
Boxes and polygons are figures on the map whose axes are latitude and longitude. The meridians 180
and −180 are one: a place on it is kept as −180. What an area holds is said here, point by point;
`app.kernels.geo` says the same for many, with the same operations in the same order.

Sources: the mean radius (2a + b) / 3 of H. Moritz, Geodetic Reference System 1980 (Journal of
Geodesy 74, 2000); the formula of R. W. Sinnott, Virtues of the Haversine (Sky and Telescope 68(2),
1984).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from app.types import F64, AttributePlace

EARTH_RADIUS_M = 6_371_008.8
MAX_RING = 1000
"""Most corners of a polygon: every candidate is held against every side."""

_RADIAN = math.pi / 180

RADIUS, BOX, POLYGON = range(3)


class Problem(NamedTuple):
    """What keeps JSON from being a place or an area.

    path   names and numbers that lead from the value to what is to blame
    """

    detail: str
    path: tuple[str | int, ...] = ()


class Place(NamedTuple):
    """A latitude and a longitude, in degrees, −180 for 180: equal places are equal."""

    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Radius:
    """Places at most `radius_m` metres from a centre, along the sphere."""

    centre: Place
    radius_m: float

    kind = RADIUS

    @property
    def shape(self) -> F64:
        """Give the numbers that the kernels take: centre, greatest haversine, metres."""
        angle = self.radius_m / EARTH_RADIUS_M
        most = math.sin(angle / 2) ** 2 if angle < math.pi else 1.0
        return np.array([*self.centre, most, self.radius_m])

    def holds(self, place: Place) -> bool:
        """Decide for one place."""
        return haversine(self.centre, place) <= float(self.shape[2])


@dataclass(frozen=True, slots=True)
class Box:
    """Places between two latitudes and, going east, between two longitudes, edges included."""

    south: float
    west: float
    north: float
    east: float

    kind = BOX

    @property
    def shape(self) -> F64:
        """Give the numbers that the kernels take: latitudes, and two spans of longitudes."""
        return np.array([self.south, self.north, *_spans(self.west, self.east)])

    def holds(self, place: Place) -> bool:
        """Decide for one place."""
        south, north, west, east, west_2, east_2 = self.shape.tolist()
        if not south <= place.lat <= north:
            return False
        return bool(west <= place.lon <= east or west_2 <= place.lon <= east_2)


@dataclass(frozen=True, slots=True)
class Polygon:
    """Places inside a ring of corners, joined by straight lines on the map, the short way round.

    ring   (lat, lon) each, whose longitudes go on past ±180 rather than jump
    """

    ring: tuple[Place, ...]

    kind = POLYGON

    @property
    def shape(self) -> F64:
        """Give the numbers that the kernels take: those of the box around it, then the ring."""
        lats, lons = zip(*self.ring, strict=True)
        if max(lons) - min(lons) >= 360:
            spans = _spans(-180.0, 180.0)
        else:
            spans = _spans(_wrapped(min(lons)), _wrapped(max(lons)))
        return np.array(
            [min(lats), max(lats), *spans, *(x for corner in self.ring for x in corner)]
        )

    def holds(self, place: Place) -> bool:
        """Decide for one place: an odd number of sides lies east of it."""
        return any(self._inside(place.lat, place.lon + turn) for turn in (0.0, 360.0, -360.0))

    def _inside(self, lat: float, lon: float) -> bool:
        odd = False
        before = self.ring[-1]
        for corner in self.ring:
            if (before.lat > lat) != (corner.lat > lat):
                across = (lat - before.lat) / (corner.lat - before.lat)
                odd ^= lon < before.lon + across * (corner.lon - before.lon)
            before = corner
        return odd


Area: TypeAlias = Radius | Box | Polygon


def haversine(a: Place, b: Place) -> float:
    """Give the haversine of the angle between two places: 0 for one place, 1 for antipodes."""
    apart = abs(a.lon - b.lon)
    if apart > 180.0:
        apart = 360.0 - apart
    lat_a, lat_b = a.lat * _RADIAN, b.lat * _RADIAN
    y = math.sin((lat_b - lat_a) * 0.5)
    x = math.sin(apart * _RADIAN * 0.5)
    return y * y + math.cos(lat_a) * math.cos(lat_b) * x * x


def distance_m(a: Place, b: Place) -> float:
    """Give the metres between two places, along the sphere."""
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, haversine(a, b))))


def place_from(element: Mapping[str, float]) -> Place:
    """Read a place that `place_problem` found nothing wrong with."""
    lat, lon = float(element["lat"]), float(element["lon"])
    return Place(lat + 0.0, -180.0 if lon == 180.0 else lon + 0.0)  # no -0.0


_LIMITS = {"lat": 90, "lon": 180}


def place_problem(raw: object, more: Sequence[str] = ()) -> Problem | None:
    """Say what keeps `raw` from being a place; None if nothing does.

    more   names that stand beside `lat` and `lon`
    """
    if not isinstance(raw, dict):
        return Problem('expected a place, {"lat": degrees, "lon": degrees}')
    expected = ("lat", "lon", *more)
    if raw.keys() != set(expected):
        detail = f"expected an object of {', '.join(expected[:-1])} and {expected[-1]}"
        return Problem(detail + ("" if more else ", which is a place"))
    for name, limit in _LIMITS.items():
        if not _is_number(raw[name]) or not -limit <= raw[name] <= limit:
            return Problem(f"expected a number of degrees, −{limit} … {limit}", (name,))
    return None


def read_place(raw: object) -> Place | Problem:
    """Read a place from JSON."""
    problem = place_problem(raw)
    if problem is not None:
        return problem
    assert isinstance(raw, dict)
    return place_from(raw)


def read_radius(raw: object) -> Radius | Problem:
    """Read `{"lat", "lon", "radius"}`."""
    problem = place_problem(raw, ("radius",))
    if problem is not None:
        return problem
    assert isinstance(raw, dict)
    radius = raw["radius"]
    if not _is_number(radius) or not 0 <= radius < math.inf:
        return Problem("expected a number of metres, 0 or more", ("radius",))
    return Radius(place_from(raw), float(radius))


def read_box(raw: object) -> Box | Problem:
    """Read `{"min": place, "max": place}`: the south-west corner and the north-east one."""
    if not isinstance(raw, dict) or raw.keys() != {"min", "max"}:
        return Problem("expected an object of min and max, the south-west and north-east corners")
    for name in ("min", "max"):
        problem = place_problem(raw[name])
        if problem is not None:
            return Problem(problem.detail, (name, *problem.path))
    low: AttributePlace = raw["min"]
    high: AttributePlace = raw["max"]
    if low["lat"] > high["lat"]:
        return Problem(
            "expected a latitude not below that of min; only longitudes may wrap around",
            ("max", "lat"),
        )
    return Box(float(low["lat"]), float(low["lon"]), float(high["lat"]), float(high["lon"]))


def read_polygon(raw: object) -> Polygon | Problem:
    """Read a list of places, the corners of a ring; the first may be repeated as the last."""
    if not isinstance(raw, list) or not 3 <= len(raw) <= MAX_RING:
        return Problem(f"expected a list of 3 … {MAX_RING} places, the corners of a ring")
    for i, corner in enumerate(raw):
        problem = place_problem(corner)
        if problem is not None:
            return Problem(problem.detail, (i, *problem.path))
    ring = [place_from(raw[0])]
    for corner in map(place_from, raw[1:]):
        lon = ring[-1].lon + _short_way(corner.lon - ring[-1].lon)
        ring.append(Place(corner.lat, lon))
    if abs(ring[-1].lon - ring[0].lon) > 180:
        return Problem("expected a ring that does not go around a pole; a $geoBox can hold one")
    return Polygon(tuple(ring))


def _short_way(apart: float) -> float:
    """Turn a difference of longitudes, −360 … 720, into that of the shorter way."""
    while apart > 180.0:
        apart -= 360.0
    while apart < -180.0:
        apart += 360.0
    return apart


def _wrapped(lon: float) -> float:
    while lon > 180.0:
        lon -= 360.0
    while lon < -180.0:
        lon += 360.0
    return lon


def _spans(west: float, east: float) -> tuple[float, float, float, float]:
    """Cut the longitudes from west to east at the meridian 180, which is kept as −180."""
    if west > east:
        return west, 180.0, -180.0, east
    if east == 180.0 and west > -180.0:
        return west, east, -180.0, -180.0
    return west, east, 1.0, 0.0


def _is_number(raw: Any) -> bool:
    return isinstance(raw, int | float) and not isinstance(raw, bool)
