"""What makes an encoder of point sets: [pointset] and [output]."""

from __future__ import annotations

from dataclasses import dataclass

from app.encoders.manifest.pools import Map, files_of, read_map
from app.encoders.manifest.table import Table

MOST_POINTS = 512  # a quarter of a million pairs
MOST_BINS = 16


@dataclass(frozen=True, slots=True)
class PointSetSpec:
    """An encoder of point sets: pairs → invariants → histogram → maps → normalise.

    axes       2 or 3
    normals    whether every point has one
    chirality  whether mirrored shapes shall differ
    bins       of each of three axes
    unit       the length that counts as one; 0 for each set's own
    """

    axes: int
    normals: bool
    chirality: bool
    bins: int
    unit: float
    max_points: int
    maps: tuple[Map, ...]
    normalise: bool

    @property
    def width(self) -> int:
        """Numbers of a descriptor before maps."""
        return int(self.bins**3) + (2 * self.bins if self.chirality else 0)

    @property
    def max_input(self) -> int:
        """Most points of a set."""
        return self.max_points

    @property
    def paths(self) -> dict[str, str]:
        """The files it reads, by the key that names them."""
        return files_of(None, None, self.maps)


def read_pointset(top: Table) -> PointSetSpec:
    """Read the tables of an encoder of point sets."""
    table, output = top.table("pointset"), top.table("output")
    spec = PointSetSpec(
        axes=table.positive("axes"),
        normals=table.take("normals", bool),
        chirality=table.take("chirality", bool),
        bins=table.positive("bins"),
        unit=table.take("unit", float, 0.0),
        max_points=table.positive("max_points"),
        maps=tuple(read_map(one) for one in output.tables("maps")),
        normalise=output.take("normalise", bool),
    )
    if spec.axes not in (2, 3):
        table.fail("axes", "2 or 3", str(spec.axes))
    if not 2 <= spec.bins <= MOST_BINS:
        table.fail("bins", f"a number from 2 to {MOST_BINS}", str(spec.bins))
    if not 0.0 <= spec.unit < float("inf"):
        table.fail("unit", "a length, or 0.0", str(spec.unit))
    if not 3 <= spec.max_points <= MOST_POINTS:
        table.fail("max_points", f"a number from 3 to {MOST_POINTS}", str(spec.max_points))
    table.end()
    output.end()
    return spec
