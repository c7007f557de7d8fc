"""Writes a segment: a pure function of store rows and settings, run in the build process.

Everything but the graph of an extended segment is made anew from the store, so a segment cannot
drift from the truth by being merged again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.attributes.index import AttributeIndex
from app.postings.postings import Rows
from app.segments.folder import finished_folder
from app.segments.keys import KeyColumn
from app.segments.packing import packed, unpacked
from app.segments.segment import FORMAT, Segment
from app.storage.store import StoreReader, attributes_from_json
from app.types import (
    F32,
    I64,
    Attributes,
    IndexSettings,
    Metric,
    Sparse,
    VectorField,
    VectorKind,
)
from app.vectors.arrays import save_array
from app.vectors.builder import build_graph
from app.vectors.codes import Codes
from app.vectors.graph import Graph
from app.vectors.metric import prepare
from app.vectors.token_column import TokenFile
from app.vectors.tokens import token_set

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, in all)."""


_NO_SLOTS = np.empty(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class _Column:
    """One vector field of the segment to be: its vectors as they are searched, of no numbers if
    they are sparse, and who has one."""

    vectors: F32
    has: NDArray[np.bool_]


def write_segment(
    folder: Path,
    store: StoreReader,
    rows: I64,
    fields: Sequence[VectorField],
    settings: IndexSettings,
    *,
    base: Segment | None,
    threads: int,
    progress: Progress,
) -> None:
    """Build a segment over `rows` and leave it, synced, at `folder`.

    rows      int64[any] to take from the store; rows that are gone are left out
    base      a segment whose slots come first and whose graphs are extended; its rows that are
              gone keep their slots (dead), since a graph cannot lose a node
    """
    kept = base.rows if base is not None else np.empty(0, dtype=np.int64)
    described = []
    with finished_folder(folder) as (work, files):
        with ExitStack() as stack:
            tokens = {
                number: stack.enter_context(TokenFile(work, f"v{number}", field.dimension))
                for number, field in enumerate(fields)
                if field.kind is VectorKind.TOKENS
            }
            sparse = {
                number: Rows()
                for number, field in enumerate(fields)
                if field.kind is VectorKind.SPARSE
            }
            every = np.concatenate([kept, rows])
            gathered = _gather(store, every, fields, tokens, sparse, base, progress)
        files += [path for file in tokens.values() for path in file.paths]
        files += gathered.save(work)
        for number, (field, column) in enumerate(zip(fields, gathered.columns, strict=True)):
            prefix = f"v{number}"
            partial = not column.has.all()
            if partial:
                save_array(work / f"{prefix}.present.npy", packed(column.has))
                files.append(work / f"{prefix}.present.npy")
            if field.kind is VectorKind.SPARSE:
                files += sparse[number].inverted().save(work, f"{prefix}.postings")
                described.append(
                    {"name": field.name, "partial": partial, "coded": False, "graph": None}
                )
                continue
            save_array(work / f"{prefix}.vectors.npy", column.vectors)
            files.append(work / f"{prefix}.vectors.npy")
            codes = None
            if gathered.rows.size:  # else all that was to be built was deleted meanwhile
                codes = Codes.made(column.vectors, field.metric)
            if codes is not None:
                files += codes.save(work, prefix)
            graph = _graph(column, field.metric, settings, base, number, work, threads, progress)
            if graph is not None:
                files += graph.save(work, f"{prefix}.graph")
            described.append(
                {
                    "name": field.name,
                    "partial": partial,
                    "coded": codes is not None,
                    "graph": None
                    if graph is None
                    else {"entry": graph.entry, "levels": graph.levels},
                }
            )
        files.describe({"format": FORMAT, "slots": int(gathered.rows.size), "fields": described})


@dataclass(slots=True)
class _Gathered:
    rows: I64
    keys: KeyColumn
    attributes: AttributeIndex
    columns: list[_Column]

    def save(self, folder: Path) -> list[Path]:
        save_array(folder / "rows.npy", self.rows)
        inner = folder / "attributes"
        inner.mkdir()
        return [folder / "rows.npy", *self.keys.save(folder), *self.attributes.save(inner)]


def _gather(
    store: StoreReader,
    wanted: I64,
    fields: Sequence[VectorField],
    tokens: Mapping[int, TokenFile],
    sparse: Mapping[int, Rows],
    base: Segment | None,
    progress: Progress,
) -> _Gathered:
    """Read rows from the store into slots: the base's slots as they are, then those that exist.

    tokens   the files that tokens go into at once, by number of the field
    sparse   where sparse vectors are put, likewise
    """
    fixed = base.slots if base is not None else 0
    upto = wanted.shape[0]
    rows = np.empty(upto, dtype=np.int64)
    rows[:fixed] = wanted[:fixed]
    keys: list[bytes] = [base.key(slot) for slot in range(fixed)] if base is not None else []
    attributes: list[Attributes] = [{} for _ in range(fixed)]
    columns = [
        _Column(np.zeros((upto, f.dimension), dtype=np.float32), np.zeros(upto, dtype=bool))
        for f in fields
    ]
    if base is not None:
        for number, column in enumerate(columns):
            column.vectors[:fixed] = base.column(number).vectors
            present = base.present(number)
            column.has[:fixed] = True if present is None else unpacked(present, fixed)
            held = base.tokens(number)
            if held is not None:
                tokens[number].copy(held)
            postings = base.postings(number)
            if postings is not None:
                sparse[number].extend(*postings.by_slot(fixed))
        slot_of = {row: slot for slot, row in enumerate(base.rows.tolist())}
        for row, point in store.scan(list(slot_of), vectors=False):
            attributes[slot_of[row]] = attributes_from_json(point.attributes)
    slots = fixed
    for row, point in store.scan(wanted[fixed:].tolist(), vectors=True):
        rows[slots] = row
        keys.append(point.key)
        attributes.append(attributes_from_json(point.attributes))
        for number, vector in enumerate(point.vectors):
            column = columns[number]
            column.has[slots] = vector is not None
            if number in tokens:
                assert not isinstance(vector, Sparse)
                own = None if vector is None else token_set(vector)
                tokens[number].append(None if own is None else own.tokens)
                if own is not None:
                    column.vectors[slots] = own.pooled
            elif number in sparse:
                assert vector is None or isinstance(vector, Sparse)
                sparse[number].append(vector)
            elif vector is not None:
                assert not isinstance(vector, Sparse)
                column.vectors[slots] = prepare(fields[number].metric, vector)
        slots += 1
        if slots % 5000 == 0:
            progress("reading", slots, upto)
    progress("reading", upto, upto)
    return _Gathered(
        rows[:slots],
        KeyColumn.build(keys),
        AttributeIndex.build(attributes),
        [_Column(column.vectors[:slots], column.has[:slots]) for column in columns],
    )


def _graph(
    column: _Column,
    metric: Metric,
    settings: IndexSettings,
    base: Segment | None,
    number: int,
    scratch: Path,
    threads: int,
    progress: Progress,
) -> Graph | None:
    """Build or extend the graph over the slots that have this vector."""
    has = np.flatnonzero(column.has).astype(np.uint32)
    if has.size == 0:
        return None
    everyone = has.size == column.has.shape[0]
    old = base.graph(number) if base is not None else None
    if old is not None and old.links.shape[1] != 2 * settings.m:
        old = None  # the settings have changed since
    graph = build_graph(
        column.vectors if everyone else column.vectors[has],
        metric,
        settings,
        scratch=scratch,
        threads=threads,
        # The base's slots come first, so its nodes are the first of the new graph, in order.
        base=None if old is None else replace(old, slots=_NO_SLOTS),
        progress=lambda done, total: progress("building", done, total),
    )
    return graph if everyone else replace(graph, slots=has)
