"""Builds one segment, its covers, or its words, in a process of its own.

A build is minutes of hashing, sorting and graph insertion; in the service's process its Python
parts would hold the GIL against every query. Here it has its own, runs at low priority, and gives
all its memory back at its end. For a segment it imports nothing compiled by us, so it starts in
about 0.2 s.

The order comes as one line of JSON on standard input; progress goes out as lines of JSON. Standard
input stays open for as long as the service lives: when it closes, so does this.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from app.segments.covers import Wish
from app.segments.segment import Segment
from app.segments.words import write_words
from app.segments.writer import write_segment
from app.storage.store import StoreReader
from app.types import I64, IndexSettings, Lexical, Metric, VectorField, VectorKind
from app.vectors.arrays import map_array

_NICENESS = 10


@dataclass(frozen=True, slots=True)
class Order:
    """What to build.

    store    the collection's database
    folder   where the segment is to be; it must not exist
    fields   the collection's vector fields, in order: name, dimension, metric, kind
    base     folder of the segment to extend, if any
    rows     int64[any], the store's rows to add to the base's
    lexical  whose words to build as well: fields and language
    """

    store: str
    folder: str
    fields: list[dict[str, Any]]
    m: int
    ef_construction: int
    base: str | None
    rows: I64
    threads: int
    lexical: dict[str, Any] | None = None

    def encode(self) -> bytes:
        """Write the order as one line."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Order:
        """Read what `encode` wrote."""
        raw = orjson.loads(line)
        return cls(**raw | {"rows": np.array(raw["rows"], dtype=np.int64)})


@dataclass(frozen=True, slots=True)
class CoverOrder:
    """Which covers to build.

    segment   folder of the segment; `folder` is where its covers are to be
    fields    the collection's vector fields, in order: name, dimension, metric, kind
    wishes    what they are for
    least, budget   as in `write_covers`
    """

    segment: str
    folder: str
    fields: list[dict[str, Any]]
    wishes: list[Wish]
    m: int
    least: int
    budget: int
    threads: int

    def encode(self) -> bytes:
        """Write the order as one line."""
        return orjson.dumps(asdict(self) | {"wishes": [[*wish] for wish in self.wishes]}) + b"\n"


@dataclass(frozen=True, slots=True)
class WordsOrder:
    """Whose words to build.

    store     the collection's database
    segment   folder of the segment; `folder` is where its words will be
    fields    the collection's vector fields, in order: name, dimension, metric
    lexical   fields and language
    """

    store: str
    segment: str
    folder: str
    fields: list[dict[str, Any]]
    lexical: dict[str, Any]

    def encode(self) -> bytes:
        """Write the order as one line."""
        return orjson.dumps(asdict(self)) + b"\n"


def build(order: Order) -> None:
    """Carry out an order. Raises what goes wrong; then `folder` does not exist."""
    fields = _fields(order.fields)
    base = None
    if order.base is not None:
        base = Segment.open(Path(order.base), fields=fields)
    store = StoreReader(Path(order.store), fields=fields)
    try:
        write_segment(
            Path(order.folder),
            store,
            order.rows,
            fields,
            IndexSettings(order.m, order.ef_construction),
            base=base,
            threads=order.threads,
            progress=_report,
        )
        if order.lexical is not None:
            _write_words(Path(order.folder), store, order.lexical)
    finally:
        store.close()


def build_words(order: WordsOrder) -> None:
    """Carry out an order for words. Raises what goes wrong; then `folder` does not exist."""
    store = StoreReader(Path(order.store), fields=_fields(order.fields))
    try:
        _write_words(Path(order.segment), store, order.lexical)
    finally:
        store.close()


def _write_words(segment: Path, store: StoreReader, lexical: dict[str, Any]) -> None:
    rows = map_array(segment / "rows.npy", (np.int64,), 1)
    index = Lexical(dict.fromkeys(lexical["fields"], 1.0), lexical["language"])
    write_words(segment, store, rows, index, _report)


def build_covers(order: CoverOrder) -> None:
    """Carry out an order for covers. Raises what goes wrong; then `folder` does not exist."""
    from app.segments.cover_writer import write_covers  # compiled: loading it takes a second

    fields = _fields(order.fields)
    write_covers(
        Path(order.folder),
        Segment.open(Path(order.segment), fields=fields),
        [Wish(*wish) for wish in order.wishes],
        [field.metric for field in fields],
        order.m,
        least=order.least,
        budget=order.budget,
        threads=order.threads,
        progress=_report,
    )


def _fields(raw: list[dict[str, Any]]) -> list[VectorField]:
    return [
        VectorField(
            f["name"], f["dimension"], metric=Metric(f["metric"]), kind=VectorKind(f["kind"])
        )
        for f in raw
    ]


def _report(stage: str, done: int, total: int) -> None:
    sys.stdout.write(f'{{"stage":"{stage}","done":{done},"total":{total}}}\n')
    sys.stdout.flush()


def _leave_with_the_service() -> None:
    # Not through sys.stdin: its lock, held by a thread that waits, aborts the interpreter's exit.
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(1)


def main() -> None:
    """Read the order, watch the service, build."""
    line = sys.stdin.buffer.readline()
    threading.Thread(target=_leave_with_the_service, daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    raw = orjson.loads(line)
    if "rows" in raw:
        build(Order.decode(line))
    elif "lexical" in raw:
        build_words(WordsOrder(**raw))
    else:
        build_covers(CoverOrder(**raw))


if __name__ == "__main__":
    main()
