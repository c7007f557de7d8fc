"""hnswlib's index file: read into our arrays, and written back to be extended.

Theory of operation
-------------------
hnswlib 0.8 saves a graph as one file, without magic, version or checksum (`saveIndex` in its
hnswalg.h). All numbers are little-endian:

    header, 96 bytes   u64 offset_level0, max_elements, count, bytes_per_row, label_offset,
                       data_offset; i32 max_level; u32 entry; u64 maxM, maxM0, M; f64 mult;
                       u64 ef_construction
    rows               count × (u32 count word | maxM0 × u32 links | vector | u64 label)
    upper levels       per row: u32 byte length, then per level (u32 count word | maxM × u32 links)

In a count word the low 16 bits are the count and bit 16 is hnswlib's delete mark, so the whole
word must never be read as the count. Rows stand in the order in which threads inserted them; the
label says which of *our* rows each is, so reading renumbers everything from rows to labels.

Files live only between hnswlib and us inside one build: what is kept are the arrays, with their
checksums. A file whose sizes do not add up exactly is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.errors import CorruptFile, IncompatibleFormat
from app.types import F32, I64, U8, U32
from app.vectors.graph import NONE, Graph

_HEADER = struct.Struct("<6Q i I 3Q d Q")
assert _HEADER.size == 96


@dataclass(frozen=True, slots=True)
class _Header:
    offset_level0: int
    max_elements: int
    count: int
    bytes_per_row: int
    label_offset: int
    data_offset: int
    max_level: int
    entry: int
    max_m: int
    max_m0: int
    m: int
    mult: float
    ef_construction: int

    def check(self, path: Path, dimension: int) -> None:
        data_offset = 4 + 4 * self.max_m0
        expected = (
            self.offset_level0 == 0
            and self.max_m == self.m
            and self.max_m0 == 2 * self.m
            and self.data_offset == data_offset
            and self.label_offset == data_offset + 4 * dimension
            and self.bytes_per_row == self.label_offset + 8
            and 0 < self.count <= self.max_elements
            and self.entry < self.count
            and self.max_level >= 0
        )
        if not expected:
            raise IncompatibleFormat(
                "the graph file's header is not what hnswlib 0.8 writes", path=str(path)
            )


def read_graph(path: Path, dimension: int) -> Graph:
    """Read the links out of an hnswlib file over float32[count, dimension], nodes = labels.

    Raises IncompatibleFormat for a header of another version or dimension, CorruptFile where
    sizes, labels or links do not add up.
    """
    raw: U8 = np.fromfile(path, dtype=np.uint8)
    if raw.size < _HEADER.size:
        raise CorruptFile("the graph file is shorter than its header", path=str(path))
    header = _Header(*_HEADER.unpack(raw[: _HEADER.size].tobytes()))
    header.check(path, dimension)
    rows_end = _HEADER.size + header.count * header.bytes_per_row
    if raw.size < rows_end:
        raise CorruptFile("the graph file ends inside its rows", path=str(path))
    rows = raw[_HEADER.size : rows_end].reshape(header.count, header.bytes_per_row)

    labels = rows[:, header.label_offset :].copy().view(np.uint64)[:, 0].astype(np.int64)
    if not np.array_equal(np.sort(labels), np.arange(header.count)):
        raise CorruptFile("the graph file's labels are not 0 … count−1", path=str(path))

    words = rows[:, : header.data_offset].copy().view(np.uint32)
    ground = _renumbered(words[:, 1:], words[:, 0], labels)
    links = np.empty_like(ground)
    links[labels] = ground

    return _arranged(links, _read_upper(raw[rows_end:].tobytes(), header, path), labels, header)


def _renumbered(links: U32, words: U32, numbers: I64) -> U32:
    """Map links[row, slot] through `numbers`, and pad past each row's count with NONE."""
    counts = (words & 0xFFFF).astype(np.int64)
    used = np.arange(links.shape[1])[None, :] < counts[:, None]
    if np.any(links[used] >= len(numbers)):
        raise CorruptFile("the graph file links to rows that it does not hold")
    mapped = np.full(links.shape, NONE, dtype=np.uint32)
    mapped[used] = numbers[links[used].astype(np.int64)]
    return mapped


def _read_upper(tail: bytes, header: _Header, path: Path) -> list[list[U32]]:
    """Split the file's tail into per-row lists of levels, each uint32[1 + maxM]."""
    per_level = 4 + 4 * header.max_m
    levels: list[list[U32]] = []
    at = 0
    for _ in range(header.count):
        if at + 4 > len(tail):
            raise CorruptFile("the graph file ends inside its upper levels", path=str(path))
        (length,) = struct.unpack_from("<I", tail, at)
        at += 4
        if length % per_level or at + length > len(tail):
            raise CorruptFile("the graph file's upper levels do not add up", path=str(path))
        row = [
            np.frombuffer(tail, dtype=np.uint32, count=1 + header.max_m, offset=at + start)
            for start in range(0, length, per_level)
        ]
        levels.append(row)
        at += length
    if at != len(tail):
        raise CorruptFile("the graph file is longer than its contents", path=str(path))
    return levels


def _arranged(links: U32, levels: list[list[U32]], labels: I64, header: _Header) -> Graph:
    """Number the (row, level) pairs by level, then label, and rewrite their links so."""
    uppers: dict[tuple[int, int], int] = {}
    tall = [row for row in np.argsort(labels).tolist() if levels[row]]
    for level in range(1, header.max_level + 1):
        for row in tall:
            if len(levels[row]) >= level:
                uppers[row, level] = len(uppers)
    upper_links = np.full((len(uppers), header.max_m), NONE, dtype=np.uint32)
    upper_node = np.empty(len(uppers), dtype=np.uint32)
    upper_down = np.empty(len(uppers), dtype=np.uint32)
    for (row, level), upper in uppers.items():
        words = levels[row][level - 1]
        count = int(words[0]) & 0xFFFF
        try:
            upper_links[upper, :count] = [uppers[int(to), level] for to in words[1 : 1 + count]]
        except KeyError as exc:
            raise CorruptFile("the graph file links to rows that it does not hold") from exc
        upper_node[upper] = labels[row]
        upper_down[upper] = labels[row] if level == 1 else uppers[row, level - 1]
    top = header.max_level
    return Graph(
        links=links,
        upper_links=upper_links,
        upper_node=upper_node,
        upper_down=upper_down,
        slots=np.empty(0, dtype=np.uint32),
        entry=uppers[header.entry, top] if top else int(labels[header.entry]),
        levels=top,
    )


def write_graph(path: Path, graph: Graph, vectors: F32, *, ef_construction: int) -> None:
    """Write an hnswlib file over vectors float32[nodes, d], row = label = node, to be extended.

    Only for graphs over all rows (`slots` empty).
    """
    assert graph.slots.size == 0
    assert vectors.shape[0] == graph.nodes
    nodes, width = graph.links.shape
    m = width // 2
    dimension = vectors.shape[1]
    data_offset = 4 + 4 * width
    entry = int(graph.upper_node[graph.entry]) if graph.levels else graph.entry
    header = _HEADER.pack(
        0, nodes, nodes, data_offset + 4 * dimension + 8, data_offset + 4 * dimension, data_offset,
        graph.levels, entry, m, width, m, 1.0 / np.log(m), ef_construction,
    )  # fmt: skip
    per_level = 1 + m
    by_node: dict[int, list[U32]] = {}
    for upper in range(graph.upper_node.size):
        # Uppers are numbered level by level, so a node's levels arrive from the lowest up.
        own = graph.upper_links[upper]
        used = own[own != NONE]
        words = np.zeros(per_level, dtype=np.uint32)
        words[0] = used.size
        words[1 : 1 + used.size] = graph.upper_node[used]
        by_node.setdefault(int(graph.upper_node[upper]), []).append(words)

    with path.open("wb") as file:
        file.write(header)
        for start in range(0, nodes, 65536):
            part = graph.links[start : start + 65536]
            used_links = part != NONE
            block = np.zeros((len(part), data_offset + 4 * dimension + 8), dtype=np.uint8)
            block[:, :4] = used_links.sum(axis=1).astype(np.uint32)[:, None].view(np.uint8)
            block[:, 4:data_offset] = np.where(used_links, part, 0).astype(np.uint32).view(np.uint8)
            block[:, data_offset:-8] = vectors[start : start + 65536].view(np.uint8)
            labels = np.arange(start, start + len(part), dtype=np.uint64)
            block[:, -8:] = labels[:, None].view(np.uint8)
            file.write(block.tobytes())
        for node in range(nodes):
            levels = by_node.get(node, ())
            file.write(struct.pack("<I", 4 * per_level * len(levels)))
            for words in levels:
                file.write(words.tobytes())
