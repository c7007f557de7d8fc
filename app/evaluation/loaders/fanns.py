"""The files of the benchmark of filtered search (arXiv 2507.21989): arxiv-for-fanns-….

    database_vectors.fvecs          every row its length as int32, then as many float32
    database_attributes.jsonl       a line each, of the same point
    query_vectors.fvecs
    {em,r,emis}_query_attributes.jsonl
                                    em, emis: {"label": …}; r: {"range_start": …, "range_end": …}
    ground_truth[_em|_r|_emis].ivecs
                                    the nearest by Euclidean distance, by their places; fewer where
                                    fewer match

`em` is equality of `number_of_sub_categories`, `r` a range of `update_date`, `emis` an element of
`main_categories`. Numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import InvalidRequest
from app.evaluation.loaders.lines import Row, rows
from app.types import F32, I64

FILTERS = {"em": "number_of_sub_categories", "r": "update_date", "emis": "main_categories"}
"""Kind of filter → the attribute that it is of."""


@dataclass(frozen=True, slots=True)
class FannsSet:
    """A folder of the benchmark.

    vectors   float32[points, dim], a map of the file
    queries   float32[queries, dim], likewise
    """

    folder: Path
    vectors: F32
    queries: F32

    @property
    def kinds(self) -> list[str]:
        """Kinds of filters whose files are there; "none" is no filter."""
        found = ["none"] if (self.folder / "ground_truth.ivecs").is_file() else []
        return found + [
            kind for kind in FILTERS if (self.folder / f"{kind}_query_attributes.jsonl").is_file()
        ]

    def attributes(self) -> Iterator[dict[str, Any]]:
        """Read the attributes of all points, in order: those of kinds that a point may have.

        Raises InvalidRequest with file and line, or where points and lines are not as many.
        """
        path, count = self.folder / "database_attributes.jsonl", 0
        for row in rows(path):
            count += 1
            yield {name: value for name, value in row.members.items() if _flat(value)}
        if count != len(self.vectors):
            raise InvalidRequest(f"{path}: {count} lines, and {len(self.vectors)} vectors")

    def filters(self, kind: str, most: int) -> list[dict[str, Any] | None]:
        """Give the filters of the first queries. Raises InvalidRequest with file and line."""
        count = min(most, len(self.queries))
        if kind == "none":
            return [None] * count
        path = self.folder / f"{kind}_query_attributes.jsonl"
        found: list[dict[str, Any] | None] = []
        for row in rows(path):
            if len(found) == count:
                break
            found.append(_filter(row, kind))
        if len(found) < count:
            raise InvalidRequest(f"{path}: {len(found)} lines, and {len(self.queries)} queries")
        return found

    def truth(self, kind: str, most: int) -> list[I64] | None:
        """Give the places of the nearest, of the first queries; None if the file is not there."""
        path = self.folder / f"ground_truth{'' if kind == 'none' else f'_{kind}'}.ivecs"
        if not path.is_file():
            return None
        found = read_ragged(path, most)
        count = min(most, len(self.queries))
        if len(found) < count:
            raise InvalidRequest(f"{path}: {len(found)} rows, and {len(self.queries)} queries")
        for number, row in enumerate(found):
            if row.size and not 0 <= int(row.min()) <= int(row.max()) < len(self.vectors):
                raise InvalidRequest(f"{path}: row {number + 1} names a point that is not there")
        return found


def is_fanns(folder: Path) -> bool:
    """Tell whether a folder looks like one of the benchmark."""
    return (folder / "database_vectors.fvecs").is_file()


def read_fanns(folder: Path) -> FannsSet:
    """Open a folder. Raises InvalidRequest with the file that is missing or damaged."""
    vectors = read_rows(folder / "database_vectors.fvecs")
    queries = read_rows(folder / "query_vectors.fvecs")
    if vectors.shape[1] != queries.shape[1]:
        raise InvalidRequest(
            f"{folder}: vectors of {vectors.shape[1]} numbers, and queries of {queries.shape[1]}"
        )
    found = FannsSet(folder, vectors, queries)
    if not found.kinds:
        raise InvalidRequest(f"{folder}: expected ground_truth.ivecs or *_query_attributes.jsonl")
    return found


def read_rows(path: Path) -> F32:
    """Map a file of equally long rows: float32[rows, dim]. Raises InvalidRequest."""
    try:
        size = path.stat().st_size
        head = np.fromfile(path, "<i4", 1)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror or error}") from None
    dimension = int(head[0]) if head.size else 0
    if not 0 < dimension <= 65_536 or size % (4 * (dimension + 1)):
        raise InvalidRequest(f"{path}: expected rows of their length and as many float32")
    whole = np.memmap(path, "<i4", "r", shape=(size // (4 * (dimension + 1)), dimension + 1))
    uneven = np.flatnonzero(whole[:, 0] != dimension)
    if uneven.size:
        raise InvalidRequest(f"{path}: row {int(uneven[0]) + 1} is of another length")
    found: F32 = whole[:, 1:].view("<f4")
    return found


def read_ragged(path: Path, most: int) -> list[I64]:
    """Read the first rows of an .ivecs file, whose lengths may differ. Raises InvalidRequest."""
    try:
        numbers = np.fromfile(path, "<i4")
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror or error}") from None
    found: list[I64] = []
    at = 0
    while at < numbers.size and len(found) < most:
        length = int(numbers[at])
        if length < 0 or at + 1 + length > numbers.size:
            raise InvalidRequest(f"{path}: row {len(found) + 1} is not as long as it says")
        found.append(numbers[at + 1 : at + 1 + length].astype(np.int64))
        at += 1 + length
    return found


def write_rows(path: Path, vectors: F32) -> None:
    """Write an .fvecs file: float32[rows, dim]."""
    lengths = np.full((len(vectors), 1), vectors.shape[1], "<i4")
    np.concatenate((lengths, vectors.astype("<f4").view("<i4")), axis=1).tofile(path)


def _filter(row: Row, kind: str) -> dict[str, Any]:
    name = FILTERS[kind]
    if kind == "r":
        bounds = row.members.get("range_start"), row.members.get("range_end")
        if None in bounds:
            raise row.fault("expected range_start and range_end")
        return {name: {"$gte": bounds[0], "$lte": bounds[1]}}
    label = row.members.get("label")
    if not isinstance(label, str | int | float):
        raise row.fault("expected label, a string or a number")
    return {name: label}


def _flat(value: object) -> bool:
    scalar = str | int | float
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, scalar) for one in value)
    return isinstance(value, scalar)
