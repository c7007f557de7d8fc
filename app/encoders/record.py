"""The encoder of records: categories and numbers to a vector, by hashing, without a vocabulary.

One table E [row, column] serves all features (feature multiplexing). A value v of feature t reads
k_t rows, each a share of the vector, chosen by a hash of (seed, t, v):

    z(x) = Σ_t √w_t · 1/√|V_t| · Σ_{v ∈ V_t} concat_{i < k_t} E[h_i(t, v)]

With a seeded table of signs ±1/√dimension nothing is trained and `z(x)·z(y)` is about
`Σ_t w_t |V_t ∩ V'_t| / √(|V_t| |V'_t|)`, the weighted overlap of two records, with an error that
shrinks as 1/√dimension. With a trained table it is the Unified Embedding. A number lies between
two of its buckets' rows and reads both: near numbers are alike, those two buckets apart are not.

Memory is the table, whatever the vocabulary. A value never seen before needs no refit. Hashes are
BLAKE2b of bytes that this file defines, so they agree between processes, machines and versions;
Python's own `hash` differs from one process to the next.

Source: feature multiplexing, Coleman et al. 2023 (arXiv 2305.12102); signed overlap as in feature
hashing, Weinberger et al. 2009 (arXiv 0902.2206).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.encoders.base import OutputKind, Prepared, TextKind
from app.encoders.inputs import Input, Record
from app.encoders.manifest import Manifest
from app.encoders.manifest.record import Feature, RecordSpec
from app.encoders.pipeline.arrays import read_array
from app.encoders.pipeline.head import Head
from app.errors import CorruptFile, InvalidField, LikewiseError
from app.types import F32


class RecordEncoder:
    """An encoder of records. Thread-safe; computes on the caller's thread.

    Raises CorruptFile if the trained table does not fit the manifest.
    """

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        assert isinstance(manifest.spec, RecordSpec)
        self.name, self.dimension = manifest.name, manifest.dimension
        self.parallel = 1
        self._spec = manifest.spec
        self._width = manifest.spec.width
        self._table = _open_table(manifest.spec, folder)
        self._head = Head(
            folder,
            maps=manifest.spec.maps,
            normalise=manifest.spec.normalise,
            dimension=manifest.dimension,
        )

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Take records as they are. Raises InvalidField (pointer `/i`) for anything else."""
        for place, given in enumerate(inputs):
            if not isinstance(given, Record):
                raise InvalidField(
                    f'{self.name} reads records only: {{"record": {{…}}}}', pointer=f"/{place}"
                )
        return list(inputs)

    def estimate(self, given: Input) -> int:
        """One for each feature: all records cost about the same."""
        return len(self._spec.features)

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """Find what to read of the table. A record without any of the features is an error."""
        prepared: list[Prepared | LikewiseError] = []
        for given in inputs:
            assert isinstance(given, Record)
            try:
                reads = self._reads(json.loads(given.canonical))
            except LikewiseError as error:
                prepared.append(error)
            else:
                prepared.append(Prepared(reads, self.estimate(given), len(reads)))
        return prepared

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32:
        """Vectors [record, dim]."""
        vectors = np.zeros((len(batch), self._width), np.float32)
        columns = self._table.shape[1]
        for vector, one in zip(vectors, batch, strict=True):
            for row, start, width, weight in one.value:
                # A table as wide as the vector has a part for each look-up; a narrower one (a
                # trained one) is as wide as a look-up.
                read = start % columns
                vector[start : start + width] += weight * self._table[row, read : read + width]
        return self._head.finish(vectors)

    def close(self) -> None:
        """Nothing to end."""

    def _reads(self, record: Mapping[str, Any]) -> list[tuple[int, int, int, float]]:
        """(row, first column of the vector, width, weight) of all that the record reads."""
        reads: list[tuple[int, int, int, float]] = []
        for feature in self._spec.features:
            value = _at(record, feature.name)
            if value is None:
                continue
            shares = (
                _between_buckets(feature, value)
                if feature.kind == "number"
                else _each(feature, value)
            )
            width = self._width // feature.lookups
            scale = math.sqrt(feature.weight)
            for key, share in shares:
                rows = _rows(self._spec.seed, feature, key, len(self._table))
                reads += [
                    (row, place * width, width, scale * share) for place, row in enumerate(rows)
                ]
        if not reads:
            raise InvalidField("the record has none of the encoder's features", pointer="/record")
        return reads


def canonical(record: Mapping[str, Any]) -> str:
    """JSON that is the same for equal records: keys sorted, no spaces, `null` members left out.

    Raises ValueError for numbers that JSON does not know, and TypeError for other values.
    """
    given = {key: value for key, value in record.items() if value is not None}
    return json.dumps(
        given, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def example_record(spec: RecordSpec) -> Record:
    """A record with the first feature."""
    feature = spec.features[0]
    value: Any = feature.low if feature.kind == "number" else ""
    return Record(canonical({feature.name: value}))


def _open_table(spec: RecordSpec, folder: Path) -> F32:
    if not spec.table:
        # Signs rather than Gaussian numbers: every part of a row has its exact length, so equal
        # values count exactly (docs/decisions/0022). RandomState never changes (NEP 19).
        signs = np.random.RandomState(spec.seed).randint(0, 2, (spec.rows, spec.width), np.int8)
        return (2 * signs - 1).astype(np.float32) / np.float32(math.sqrt(spec.width))
    path = folder / spec.table
    table = read_array(path, "row column")
    fits = table.shape[1] == spec.width or all(
        table.shape[1] * feature.lookups == spec.width for feature in spec.features
    )
    if len(table) != spec.rows or not fits:
        raise CorruptFile(
            f"{path}: expected {spec.rows} rows as wide as a vector or as one look-up, "
            f"found {table.shape}",
            path=str(path),
        )
    return table


def _at(record: Mapping[str, Any], name: str) -> Any:
    """The value of a feature; "a.b" is looked up as a whole and then as member b of a."""
    if name in record:
        return record[name]
    first, _, rest = name.partition(".")
    inner = record.get(first)
    return _at(inner, rest) if rest and isinstance(inner, dict) else None


def _each(feature: Feature, value: Any) -> list[tuple[bytes, float]]:
    """The distinct values of a category, each with its share."""
    values = value if isinstance(value, list) else [value]
    keys = sorted({_key(feature, one) for one in values if one is not None})
    return [(key, 1.0 / math.sqrt(len(keys))) for key in keys]


def _between_buckets(feature: Feature, value: Any) -> list[tuple[bytes, float]]:
    """The two buckets beside a number, weighted by nearness; the weights' squares sum to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(feature, "a number")
    share = (min(max(float(value), feature.low), feature.high) - feature.low) / (
        feature.high - feature.low
    )
    place = share * (feature.buckets - 1)
    below = min(int(place), feature.buckets - 2)
    above = place - below
    length = math.hypot(1.0 - above, above)
    both = [(below, (1.0 - above) / length), (below + 1, above / length)]
    return [(b"#%d" % bucket, weight) for bucket, weight in both if weight > 0.0]


def _key(feature: Feature, value: Any) -> bytes:
    """Bytes of a category: its kind and its value. 1 and 1.0 are one; 1 and "1" differ."""
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool):
        return b"b1" if value else b"b0"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (int, float)):
        return b"n" + repr(value).encode()
    raise _wrong(feature, "a string, a number, true, false, or a list of them")


def _rows(seed: int, feature: Feature, key: bytes, rows: int) -> list[int]:
    """The rows that a value reads: eight bytes of one hash for each look-up."""
    name = feature.name.encode()
    # The length of the name keeps ("ab", "c") from meeting ("a", "bc").
    given = b"%d:%d:" % (seed, len(name)) + name + key
    digest = hashlib.blake2b(given, digest_size=8 * feature.lookups).digest()
    parts = (digest[start : start + 8] for start in range(0, len(digest), 8))
    return [int.from_bytes(part, "little") % rows for part in parts]


def _wrong(feature: Feature, expected: str) -> InvalidField:
    escaped = feature.name.replace("~", "~0").replace("/", "~1")
    return InvalidField(f"expected {expected}", pointer=f"/record/{escaped}")
