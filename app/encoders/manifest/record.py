"""What makes an encoder of records: [record], [[record.features]] and [output]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.encoders.manifest.pools import Map, files_of, read_map
from app.encoders.manifest.table import Table

MOST_LOOKUPS = 8  # eight bytes each of one BLAKE2b digest
MOST_NUMBERS = 1 << 27  # of a table: half a gigabyte


@dataclass(frozen=True, slots=True)
class Feature:
    """One member of a record.

    name       of the member; dots lead into inner objects
    kind       "category": strings, numbers as names, true and false, lists of them; "number"
    weight     of its overlap in the inner product, above 0
    lookups    rows that each value reads
    low, high  of a number; what is outside counts as the border
    buckets    of a number, at least 2
    """

    name: str
    kind: Literal["category", "number"]
    weight: float
    lookups: int
    low: float = 0.0
    high: float = 0.0
    buckets: int = 0


@dataclass(frozen=True, slots=True)
class RecordSpec:
    """An encoder of records: members → rows of one table → sum → maps → normalise.

    rows, width  of the table; width is that of a vector before maps
    seed         of the hashes, and of the table if it is not trained
    table        .npy [row, column] of a trained table, or ""
    """

    rows: int
    width: int
    seed: int
    table: str
    features: tuple[Feature, ...]
    maps: tuple[Map, ...]
    normalise: bool

    @property
    def max_input(self) -> int:
        """Most features of a record."""
        return len(self.features)

    @property
    def paths(self) -> dict[str, str]:
        """The files it reads, by the key that names them."""
        trained = {"record.table": self.table} if self.table else {}
        return trained | files_of(None, None, self.maps)


def read_record(top: Table) -> RecordSpec:
    """Read the tables of an encoder of records."""
    table, output = top.table("record"), top.table("output")
    width = table.positive("width")
    features = tuple(_read_feature(one, width) for one in table.tables("features"))
    names = [feature.name for feature in features]
    if not features or len(set(names)) < len(names):
        table.fail("features", "at least one feature, each name once", f"{len(names)} of them")
    spec = RecordSpec(
        rows=table.positive("rows"),
        width=width,
        seed=table.take("seed", int),
        table=table.take("table", str, ""),
        features=features,
        maps=tuple(read_map(one) for one in output.tables("maps")),
        normalise=output.take("normalise", bool),
    )
    if spec.rows * width > MOST_NUMBERS:
        table.fail("rows", f"rows × width of at most {MOST_NUMBERS}", str(spec.rows * width))
    if not 0 <= spec.seed < 1 << 32:
        table.fail("seed", "a number from 0 to 4294967295", str(spec.seed))
    table.end()
    output.end()
    return spec


def _read_feature(table: Table, width: int) -> Feature:
    kind = table.choose("kind", ("category", "number"))
    number = kind == "number"
    feature = Feature(
        name=table.take("name", str),
        kind=kind,
        weight=table.take("weight", float, 1.0),
        lookups=table.positive("lookups") if "lookups" in table else 1,
        low=table.take("low", float) if number else 0.0,
        high=table.take("high", float) if number else 0.0,
        buckets=table.positive("buckets") if number else 0,
    )
    if not 0.0 < feature.weight < float("inf"):
        table.fail("weight", "a number above 0", str(feature.weight))
    if feature.lookups > MOST_LOOKUPS or width % feature.lookups:
        table.fail(
            "lookups",
            f"at most {MOST_LOOKUPS}, a divisor of the width {width}",
            str(feature.lookups),
        )
    if number and not float("-inf") < feature.low < feature.high < float("inf"):
        table.fail("high", "a number above low", str(feature.high))
    if number and feature.buckets < 2:
        table.fail("buckets", "at least 2", str(feature.buckets))
    table.end()
    return feature
