"""Places in areas: who is inside, for one place or for the sorted places of an index.

What the areas mean is `app.attributes.places`, whose numbers (`kind`, `shape`) come in here and
whose operations are repeated in the same order, so that both decide alike to the last bit.

Theory of operation
-------------------
An index keeps its places in the order of their Morton codes: latitude and longitude as 32-bit
integers, bits interleaved. Such an array is a quadtree without nodes: all places whose codes begin
with the same 2n bits stand together, and lie in one of 4ⁿ cells of the map. The search descends
from the whole map. A cell that is certainly outside is dropped, the places of one that is certainly
inside are taken without a look, and the rest is cut in four by bisection; a few places are looked
at one by one. So the work follows the edge of the area, not the number of places inside it.

Whether a cell is inside a radius is decided by the triangle inequality: no place of a cell is
farther from its middle than half its height along the meridian and then half its width along the
parallel. That needs no case for poles or for the meridian 180, where cells merely end. What the
codes' rounding may have moved across a cell's edge is allowed for; wherever there is doubt, the
places themselves decide.

Sources: G. M. Morton, A computer oriented geodetic data base (IBM, 1966); linear quadtrees, I.
Gargantini, An effective way to represent quadtrees (CACM 25(12), 1982).
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from app.types import F64, U32, U64

_EARTH_RADIUS_M = 6_371_008.8
_RADIAN = math.pi / 180
_FEW = 16  # places that are looked at rather than cut in four
_GROWN = 1e-9  # degrees a cell is grown by: a tenth of a millimetre, far above any rounding
_DOUBT_M = 1.0  # of a distance: near antipodes the square root loses half of the digits
_OUTSIDE, _INSIDE, _UNSURE = range(3)


@nb.njit(nogil=True)
def _haversine(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    apart = abs(lon_a - lon_b)
    if apart > 180.0:
        apart = 360.0 - apart
    a, b = lat_a * _RADIAN, lat_b * _RADIAN
    y = math.sin((b - a) * 0.5)
    x = math.sin(apart * _RADIAN * 0.5)
    return y * y + math.cos(a) * math.cos(b) * x * x


@nb.njit(nogil=True)
def _metres(haversine: float) -> float:
    return 2.0 * _EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, haversine)))


@nb.njit(nogil=True, boundscheck=False)
def _in_ring(shape: F64, lat: float, lon: float) -> bool:
    odd = False
    last = shape.shape[0] - 2
    before_lat, before_lon = shape[last], shape[last + 1]
    for i in range(6, shape.shape[0], 2):
        if (before_lat > lat) != (shape[i] > lat):
            across = (lat - before_lat) / (shape[i] - before_lat)
            if lon < before_lon + across * (shape[i + 1] - before_lon):
                odd = not odd
        before_lat, before_lon = shape[i], shape[i + 1]
    return odd


@nb.njit(nogil=True, boundscheck=False)
def _holds(kind: int, shape: F64, lat: float, lon: float) -> bool:
    if kind == 0:
        return bool(_haversine(shape[0], shape[1], lat, lon) <= shape[2])
    if kind == 2:
        return bool(
            _in_ring(shape, lat, lon)
            or _in_ring(shape, lat, lon + 360.0)
            or _in_ring(shape, lat, lon - 360.0)
        )
    if not (shape[0] <= lat <= shape[1]):
        return False
    return bool(shape[2] <= lon <= shape[3] or shape[4] <= lon <= shape[5])


@nb.njit(nogil=True, boundscheck=False)
def _where(kind: int, shape: F64, level: int, y: int, x: int) -> int:
    """Say whether cell (y, x) of 2ᴸ × 2ᴸ lies outside an area, inside, or neither for certain."""
    cells = math.ldexp(1.0, level)
    south = -90.0 + y * (180.0 / cells) - _GROWN
    north = -90.0 + (y + 1) * (180.0 / cells) + _GROWN
    west = -180.0 + x * (360.0 / cells) - _GROWN
    east = -180.0 + (x + 1) * (360.0 / cells) + _GROWN
    if kind == 0:
        # Of the cell's latitudes the one nearest the equator has the longest parallel.
        widest = 0.0 if south <= 0.0 <= north else min(abs(south), abs(north))
        reach = _EARTH_RADIUS_M * (
            (north - south) * _RADIAN * 0.5
            + (east - west) * _RADIAN * 0.5 * math.cos(widest * _RADIAN)
        )
        middle = _metres(_haversine(shape[0], shape[1], (south + north) * 0.5, (west + east) * 0.5))
        if middle > shape[3] + reach + _DOUBT_M:
            return _OUTSIDE
        return _INSIDE if middle + reach + _DOUBT_M <= shape[3] else _UNSURE
    if south > shape[1] or north < shape[0]:
        return _OUTSIDE
    if (west > shape[3] or east < shape[2]) and (west > shape[5] or east < shape[4]):
        return _OUTSIDE
    if kind == 2 or south < shape[0] or north > shape[1]:
        return _UNSURE
    if (shape[2] <= west and east <= shape[3]) or (shape[4] <= west and east <= shape[5]):
        return _INSIDE
    return _UNSURE


@nb.njit(nogil=True, boundscheck=False)
def _first_not_below(codes: U64, code: np.uint64, low: int, high: int) -> int:
    while low < high:
        middle = (low + high) >> 1
        if codes[middle] < code:
            low = middle + 1
        else:
            high = middle
    return low


_CODES = nb.types.Array(nb.uint64, 1, "C", readonly=True)
_DEGREES = nb.types.Array(nb.float64, 1, "C", readonly=True)
_SLOTS = nb.types.Array(nb.uint32, 1, "C", readonly=True)
_OFFSETS = [nb.types.Array(width, 1, "C", readonly=True) for width in (nb.uint32, nb.uint64)]


@nb.njit(
    [
        nb.types.Tuple((nb.uint32[::1], nb.float64[::1]))(
            nb.int64,
            nb.float64[::1],
            _CODES,
            _DEGREES,
            _DEGREES,
            nb.int64,
            nb.int64,
            offsets,
            _SLOTS,
            nb.boolean,
        )
        for offsets in _OFFSETS
    ],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def slots_within(
    kind: int,
    shape: F64,
    codes: U64,
    lats: F64,
    lons: F64,
    first: int,
    last: int,
    offsets: NDArray[np.uint64],
    slots: U32,
    measured: bool,
) -> tuple[U32, F64]:
    """List the slots of the places `first` … `last − 1` inside an area: any order, with repeats.

    codes     of the places, ascending; the other arrays are those of a filing, all read-only
    measured  also give the metres from the centre, of a radius, to each place
    """
    most = np.int64(offsets[last]) - np.int64(offsets[first])
    out = np.empty(most, np.uint32)
    metres = np.empty(most if measured else 0, np.float64)
    filled = 0
    # Of each level at most three cells wait while a fourth is looked into.
    low, high = np.empty(128, np.int64), np.empty(128, np.int64)
    levels, ys, xs = np.empty(128, np.int64), np.empty(128, np.int64), np.empty(128, np.int64)
    prefixes = np.empty(128, np.uint64)
    low[0], high[0], levels[0], ys[0], xs[0], prefixes[0] = first, last, 0, 0, 0, np.uint64(0)
    waiting = 1
    while waiting > 0:
        waiting -= 1
        start, end, level = low[waiting], high[waiting], levels[waiting]
        y, x, prefix = ys[waiting], xs[waiting], prefixes[waiting]
        if start == end:
            continue
        where = _where(kind, shape, level, y, x)
        if where == _OUTSIDE:
            continue
        if where == _INSIDE and not measured:
            for i in range(np.int64(offsets[start]), np.int64(offsets[end])):
                out[filled] = slots[i]
                filled += 1
        elif where == _INSIDE or end - start <= _FEW or level == 32:
            for place in range(start, end):
                if where == _INSIDE or _holds(kind, shape, lats[place], lons[place]):
                    far = 0.0
                    if measured:
                        far = _metres(_haversine(shape[0], shape[1], lats[place], lons[place]))
                    for i in range(np.int64(offsets[place]), np.int64(offsets[place + 1])):
                        out[filled] = slots[i]
                        if measured:
                            metres[filled] = far
                        filled += 1
        else:
            level += 1
            for quarter in range(4):
                inner = (prefix << np.uint64(2)) | np.uint64(quarter)
                after = end
                if quarter < 3:
                    following = (inner + np.uint64(1)) << np.uint64(64 - 2 * level)
                    after = _first_not_below(codes, following, start, end)
                low[waiting], high[waiting], levels[waiting] = start, after, level
                ys[waiting], xs[waiting] = 2 * y + (quarter >> 1), 2 * x + (quarter & 1)
                prefixes[waiting] = inner
                waiting += 1
                start = after
    return out[:filled], metres[:filled] if measured else metres


@nb.njit(
    [nb.float64[::1](nb.float64, nb.float64, nb.float64[:, ::1])],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def metres_from(lat: float, lon: float, places: F64) -> F64:
    """Measure the way from one place to each of float64[n, 2]: float64[n]."""
    out = np.empty(places.shape[0], np.float64)
    for i in range(places.shape[0]):
        out[i] = _metres(_haversine(lat, lon, places[i, 0], places[i, 1]))
    return out


@nb.njit(
    [nb.uint32[::1](nb.int64, nb.float64[::1], nb.float64[:, ::1], nb.uint32[::1])],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def slots_inside(kind: int, shape: F64, places: F64, slots: U32) -> U32:
    """Copy the slots whose place, float64[n, 2] of latitude and longitude, is inside an area."""
    out = np.empty(places.shape[0], np.uint32)
    filled = 0
    for i in range(places.shape[0]):
        if _holds(kind, shape, places[i, 0], places[i, 1]):
            out[filled] = slots[i]
            filled += 1
    return out[:filled]
