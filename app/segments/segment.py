"""A graph segment: an immutable folder of mapped arrays, derived from the store.

Theory of operation
-------------------
A segment holds some rows of the collection, copied out of the store when it was built: their ids,
attributes and prepared vectors (once), and adjacency-only graphs over them. Nothing in the folder
ever changes; deletes and updates are bits beside it (`app.engine.snapshot`).

    segment.json            format, counts, graphs, and every file's size and CRC-32
    rows.npy                int64[slots], the store's rows
    keys.*.npy              ids (`app.segments.keys`)
    attributes/             the attribute index
    v<n>.vectors.npy        float32[slots, d] of vector field n, prepared for its metric; of the
                            pooled vectors if it is of tokens; none if it is sparse
    v<n>.{codes,frame,norms,bounds}.npy   their codes (`app.vectors.codes`), unless eight bits are
                            too few for them
    v<n>.tokens.npy         float16[tokens, d] of a field of tokens, at unit length, slot by slot;
    v<n>.offsets.npy        int64[slots + 1], where those of each slot begin
    v<n>.postings.*.npy     the inverted index of a sparse field (`app.postings.postings`)
    v<n>.present.npy        uint64 bits; only if some slot has no such vector
    v<n>.graph.*.npy        the graph; only if some slot has one

Opening verifies every checksum (`app.segments.folder`): a damaged segment raises CorruptFile, and
the collection answers from the store instead until it is rebuilt.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from app.attributes.filter import AnyOf, Range
from app.attributes.index import AttributeIndex
from app.errors import CorruptFile
from app.keys import key_from_id
from app.postings.postings import Postings
from app.segments.folder import read_folder, well_described
from app.segments.keys import KeyColumn
from app.segments.packing import unpacked
from app.segments.part import find_in_rows
from app.types import I64, U32, Bits, PointId, VectorField, VectorKind
from app.vectors.arrays import map_array
from app.vectors.codes import Codes
from app.vectors.column import Column
from app.vectors.graph import Graph
from app.vectors.row_file import RowFile
from app.vectors.token_column import TokenColumn

if TYPE_CHECKING:  # the build process opens segments too, and does without compiled code
    from app.attributes.evaluate import AttributeReader
    from app.segments.covers import Covers, Wish

FORMAT = 2
"""Of the folder; a segment of another format is rebuilt from the store."""

_CACHED_FILTERS = 64


class Segment:
    """An open segment: a `Part` with graphs. Safe for any number of threads."""

    def __init__(
        self,
        folder: Path,
        rows: I64,
        keys: KeyColumn,
        attributes: AttributeIndex,
        columns: list[Column],
        tokens: list[TokenColumn | None],
        postings: list[Postings | None],
        present: list[Bits | None],
        graphs: list[Graph | None],
    ) -> None:
        self.folder = folder
        self.rows = rows
        self._row_order: I64 | None = None
        if np.any(rows[1:] < rows[:-1]):
            self._row_order = np.argsort(rows)
        self._keys = keys
        self._attributes = attributes
        self._columns = columns
        self._tokens = tokens
        self._postings = postings
        self._present = present
        self._graphs = graphs
        self.covers: Covers | None = None
        """Graphs over the rows of single values; set, as a whole, when they have been built."""
        self.wishes: dict[Wish, float] = {}
        """Nanoseconds that queries would have saved with covers of an attribute's values."""
        self._filters: OrderedDict[bytes, Bits] = OrderedDict()

    @classmethod
    def open(
        cls, folder: Path, *, fields: Sequence[VectorField], vectors_on_disk: bool = False
    ) -> Segment:
        """Verify and map a segment.

        fields            the collection's vector fields, in order
        vectors_on_disk   do not map vectors that have codes: read the few that are compared

        Raises CorruptFile if anything is missing or damaged, IncompatibleFormat if it was written
        by a version that this one does not read; other OSErrors say nothing about the segment.
        """
        with well_described(folder):
            described = read_folder(folder, FORMAT)["fields"]
            if len(described) != len(fields):
                raise ValueError("not the fields of the collection")
            rows = map_array(folder / "rows.npy", (np.int64,), 1)
            slots = rows.shape[0]
            keys = KeyColumn.open(folder)
            attributes = AttributeIndex.open(folder / "attributes")
            columns: list[Column] = []
            tokens: list[TokenColumn | None] = []
            postings: list[Postings | None] = []
            present: list[Bits | None] = []
            graphs: list[Graph | None] = []
            for number, (field, own) in enumerate(zip(fields, described, strict=True)):
                present.append(_open_present(folder, number, slots) if own["partial"] else None)
                tokens.append(
                    _open_tokens(folder, number, slots, field.dimension, present[-1])
                    if field.kind is VectorKind.TOKENS
                    else None
                )
                postings.append(
                    _open_postings(folder, number, slots, present[-1])
                    if field.kind is VectorKind.SPARSE
                    else None
                )
                if field.kind is VectorKind.SPARSE:
                    columns.append(Column(np.zeros((slots, 0), dtype=np.float32)))
                    graphs.append(None)
                    continue
                columns.append(_open_column(folder, number, own["coded"], vectors_on_disk))
                graphs.append(
                    Graph.open(
                        folder,
                        f"v{number}.graph",
                        entry=own["graph"]["entry"],
                        levels=own["graph"]["levels"],
                        rows=slots,
                    )
                    if own["graph"]
                    else None
                )
            # Compiled code goes by these; each array by itself was checked where it was opened.
            shapes = [column.shape for column in columns]
            if (
                shapes != [(slots, field.dimension) for field in fields]
                or len(keys) != slots
                or attributes.slots != slots
            ):
                raise ValueError("arrays of different lengths")
        return cls(folder, rows, keys, attributes, columns, tokens, postings, present, graphs)

    @property
    def name(self) -> str:
        """Give the folder's name, by which the store knows the segment."""
        return self.folder.name

    @property
    def slots(self) -> int:
        """Count the slots, dead ones included."""
        return self.rows.size

    @property
    def attributes(self) -> AttributeReader:
        """Give the attribute index."""
        return self._attributes

    def column(self, field: int) -> Column:
        """Give the vectors of a field and their codes, mapped."""
        return self._columns[field]

    def tokens(self, field: int) -> TokenColumn | None:
        """Give the tokens of a field of tokens, mapped."""
        return self._tokens[field]

    def postings(self, field: int) -> Postings | None:
        """Give the postings of a sparse field, mapped."""
        return self._postings[field]

    def present(self, field: int) -> Bits | None:
        """Mark the slots that have a vector of this field; None means all."""
        return self._present[field]

    def graph(self, field: int) -> Graph | None:
        """Give the graph over the slots that have this vector."""
        return self._graphs[field]

    def frequent_values(self, field: str, least: int) -> list[tuple[AnyOf, U32]]:
        """List the single values of an attribute that `least` slots or more hold, and the slots."""
        return self._attributes.frequent_values(field, least)

    def windows(
        self, field: str, over: Literal["numbers", "instants"], spans: Sequence[tuple[float, float]]
    ) -> list[tuple[Range, U32]]:
        """Find ranges that hold spans of an attribute's elements; see `AttributeIndex.windows`."""
        return self._attributes.windows(field, over, spans)

    def key(self, slot: int) -> bytes:
        """Give the key of a slot."""
        return self._keys.key(slot)

    def keys(self, slots: U32) -> list[bytes]:
        """Give the keys of several slots."""
        return self._keys.keys(slots)

    def find_ids(self, ids: Sequence[PointId]) -> U32:
        """Find the slots of those ids that stand here, dead versions included."""
        return self._keys.find([key_from_id(id_) for id_ in ids])

    def find_rows(self, rows: I64) -> U32:
        """Find the slots of those rows that stand here."""
        return find_in_rows(self.rows, self._row_order, rows)

    def after(self, key: bytes | None) -> U32:
        """List slots in order of key, from just after `key`."""
        return self._keys.after(key)

    def wish(self, wish: Wish, saved_ns: float) -> None:
        """Note that covers would have saved time. Threads may lose each other's notes: so be it."""
        self.wishes[wish] = self.wishes.get(wish, 0.0) + saved_ns

    def cached_filter(self, canonical: bytes) -> Bits | None:
        """Look up the bits of a filter seen before; read-only."""
        bits = self._filters.get(canonical)
        if bits is not None:
            with contextlib.suppress(KeyError):  # evicted just now: the bits are still right
                self._filters.move_to_end(canonical)
        return bits

    def cache_filter(self, canonical: bytes, bits: Bits) -> None:
        """Keep the bits of a filter; segments never change, so they never go stale.

        canonical   a digest of the filter's canonical form, so that keys stay small
        """
        bits.flags.writeable = False
        self._filters[canonical] = bits
        while len(self._filters) > _CACHED_FILTERS:
            try:
                self._filters.popitem(last=False)
            except KeyError:
                break


def _open_present(folder: Path, number: int, slots: int) -> Bits:
    """Map the bits of who has a vector. Raises CorruptFile if they are not those of the slots."""
    path = folder / f"v{number}.present.npy"
    bits: Bits = map_array(path, (np.uint64,), 1)
    past = slots % 64
    if bits.shape != ((slots + 63) // 64,) or (past and int(bits[-1]) >> past):
        raise CorruptFile(f"{path.name} holds bits of other slots", path=str(path))
    return bits


def _open_tokens(
    folder: Path, number: int, slots: int, dimension: int, present: Bits | None
) -> TokenColumn:
    """Map tokens. Raises CorruptFile if others have some than those that have a vector."""
    column = TokenColumn.open(folder, f"v{number}", slots=slots, dimension=dimension)
    has = True if present is None else unpacked(present, slots)
    if ((np.diff(column.offsets) > 0) != has).any():
        path = folder / f"v{number}.offsets.npy"
        raise CorruptFile(f"{path.name} gives other slots tokens", path=str(path))
    return column


def _open_postings(folder: Path, number: int, slots: int, present: Bits | None) -> Postings:
    """Map postings. Raises CorruptFile if any are of slots that have no vector."""
    postings = Postings.open(folder, f"v{number}.postings", slots)
    if present is not None and not unpacked(present, slots)[postings.slots].all():
        path = folder / f"v{number}.postings.slots.npy"
        raise CorruptFile(f"{path.name} gives other slots weights", path=str(path))
    return postings


def _open_column(folder: Path, number: int, coded: bool, on_disk: bool) -> Column:
    path = folder / f"v{number}.vectors.npy"
    if coded and on_disk:
        file = RowFile(path)
        return Column.on_disk(file, Codes.open(folder, f"v{number}", file.rows, file.dimension))
    vectors = map_array(path, (np.float32,), 2)
    if not coded:
        return Column(vectors)
    return Column(vectors, Codes.open(folder, f"v{number}", *vectors.shape))
