"""JSON lines, plain or gzip, with the place of every fault."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from app.errors import InvalidRequest

KINDS = ("text", "image", "vector")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file."""

    path: Path
    line: int
    members: Mapping[str, Any]

    def fault(self, expected: str) -> InvalidRequest:
        """Make the error that blames this line."""
        return InvalidRequest(f"{self.path}:{self.line}: {expected}")

    def text(self, *names: str) -> str:
        """Give the first of these members that is there: a string, or a number as one."""
        for name in names:
            value = self.members.get(name)
            if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
                return str(value)
        raise self.fault(f"expected {' or '.join(names)}, a string")

    def number(self, name: str) -> float:
        """Give a member that is a number, or a string that says one."""
        value = self.members.get(name)
        try:
            if isinstance(value, bool) or value is None:
                raise ValueError
            return float(value)
        except (TypeError, ValueError):
            raise self.fault(f"expected {name}, a number") from None


@dataclass(frozen=True, slots=True)
class Item:
    """A thing to be encoded or compared: a text, the path of an image, or a vector."""

    kind: str
    value: Any


def rows(path: Path) -> Iterator[Row]:
    """Read the objects of a file of JSON lines. Raises InvalidRequest with file and line."""
    with opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except ValueError:
                raise InvalidRequest(f"{path}:{number}: expected a line of JSON") from None
            if not isinstance(found, dict):
                raise InvalidRequest(f"{path}:{number}: expected an object")
            yield Row(path, number, found)


def rows_of_table(path: Path, delimiter: str) -> Iterator[Row]:
    """Read a table whose first line names its columns. Raises as `rows`."""
    with opened(path) as lines:
        table = csv.DictReader(lines, delimiter=delimiter)
        for cells in table:
            members = {name: value for name, value in cells.items() if name and value is not None}
            yield Row(path, table.line_num, members)


def item_of(row: Row, raw: Mapping[str, Any] | None = None) -> Item:
    """Read the one of text, image and vector that an object has; images lie beside the file."""
    members = row.members if raw is None else raw
    given = [kind for kind in KINDS if members.get(kind) is not None]
    if len(given) != 1:
        raise row.fault("expected exactly one of text, image (a path) and vector")
    (kind,) = given
    value = members[kind]
    if kind == "vector":
        if not isinstance(value, list) or not all(
            isinstance(x, int | float) and not isinstance(x, bool) for x in value
        ):
            raise row.fault("expected a vector, a list of numbers")
        return Item(kind, value)
    if not isinstance(value, str):
        raise row.fault(f"expected {kind}, a string")
    if kind == "image":
        return Item(kind, row.path.parent / value)
    return Item(kind, value)


def first_of(folder: Path, *names: str) -> Path:
    """Find the first of these files. Raises InvalidRequest that names them."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise InvalidRequest(f"{folder}: expected a file {' or '.join(names)}")


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Open a text, plain or gzip. Raises InvalidRequest where it cannot be read."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8", newline="") as packed:
                yield packed
        else:
            with path.open("rt", encoding="utf-8", newline="") as plain:
                yield plain
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InvalidRequest(f"{path} cannot be read: {reason}") from None
