"""What an ONNX file says of itself, read without its weights: inputs, outputs, kinds of nodes.

An ONNX file is one protobuf message, and the weights are fields of known length in it: they are
stepped over, so that a graph of a gigabyte is read as fast as a small one. Field numbers:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3; wire format:
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import CorruptFile

_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_NODE_OP_TYPE, _NODE_ATTRIBUTE = 4, 5
_ATTRIBUTE_GRAPHS = (6, 11)
_TENSOR_NAME, _TENSOR_EXTERNAL = 8, 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_PORT_NAME, _PORT_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_AXIS = 1, 2, 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: `rank` is None if the file does not say it."""

    name: str
    rank: int | None


@dataclass(frozen=True, slots=True)
class GraphHeader:
    """What a graph takes, gives and is made of.

    inputs    those that a caller fills; constants left out
    kinds     op types of all nodes, those of inner graphs too
    external  files beside it that hold weights
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    kinds: frozenset[str]
    external: frozenset[str]

    @property
    def quantises_by_batch(self) -> bool:
        """Whether a scale is taken over a whole batch, so that texts change their neighbours."""
        return any(kind.startswith("DynamicQuantize") for kind in self.kinds)


def read_graph_header(path: Path) -> GraphHeader:
    """Read the header of an ONNX file. Raises CorruptFile if it is none; OSError."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            return _Reader(raw).header()
    except (ValueError, IndexError, RecursionError) as exc:
        raise CorruptFile(f"{path} is not an ONNX graph: {exc}", path=str(path)) from exc


class _Reader:
    def __init__(self, raw: mmap.mmap) -> None:
        self._raw = raw
        self._kinds: set[str] = set()
        self._constants: set[str] = set()
        self._external: set[str] = set()

    def header(self) -> GraphHeader:
        whole = self._fields(0, len(self._raw))
        span = next(((begin, end) for number, begin, end in whole if number == _MODEL_GRAPH), None)
        if span is None:
            raise ValueError("it holds no graph")
        inputs, outputs = self._graph(*span)
        return GraphHeader(
            inputs=tuple(port for port in inputs if port.name not in self._constants),
            outputs=tuple(outputs),
            kinds=frozenset(self._kinds),
            external=frozenset(self._external),
        )

    def _graph(self, begin: int, end: int) -> tuple[list[Port], list[Port]]:
        inputs: list[Port] = []
        outputs: list[Port] = []
        for number, start, stop in self._fields(begin, end):
            if number == _GRAPH_NODE:
                self._node(start, stop)
            elif number == _GRAPH_INITIALIZER:
                self._constant(start, stop)
            elif number in (_GRAPH_INPUT, _GRAPH_OUTPUT):
                port = self._port(start, stop)
                (inputs if number == _GRAPH_INPUT else outputs).append(port)
        return inputs, outputs

    def _node(self, begin: int, end: int) -> None:
        for number, start, stop in self._fields(begin, end):
            if number == _NODE_OP_TYPE:
                self._kinds.add(self._text(start, stop))
            elif number == _NODE_ATTRIBUTE:
                for inner, first, last in self._fields(start, stop):
                    if inner in _ATTRIBUTE_GRAPHS:
                        self._graph(first, last)

    def _constant(self, begin: int, end: int) -> None:
        for number, start, stop in self._fields(begin, end):
            if number == _TENSOR_NAME:
                self._constants.add(self._text(start, stop))
            elif number == _TENSOR_EXTERNAL:
                entry = {field: self._text(*span) for field, *span in self._fields(start, stop)}
                if entry.get(_ENTRY_KEY) == "location":
                    self._external.add(entry[_ENTRY_VALUE])

    def _port(self, begin: int, end: int) -> Port:
        name, rank = "", None
        for number, start, stop in self._fields(begin, end):
            if number == _PORT_NAME:
                name = self._text(start, stop)
            elif number == _PORT_TYPE:
                rank = self._rank(start, stop)
        return Port(name, rank)

    def _rank(self, begin: int, end: int) -> int | None:
        for number, start, stop in self._fields(begin, end):
            if number == _TYPE_TENSOR:
                for inner, first, last in self._fields(start, stop):
                    if inner == _TENSOR_SHAPE:
                        axes = (axis for axis, _, _ in self._fields(first, last))
                        return sum(axis == _SHAPE_AXIS for axis in axes)
        return None

    def _fields(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Number, begin and end of the content of each field of a message."""
        at = begin
        while at < end:
            tag, at = self._varint(at)
            kind, start = tag & 7, at
            if kind == _VARINT:
                _, at = self._varint(at)
            elif kind == _BYTES:
                length, start = self._varint(at)
                at = start + length
            elif kind in (_FIXED64, _FIXED32):
                at += 8 if kind == _FIXED64 else 4
            else:
                raise ValueError(f"no field begins at byte {start}")
            if at > end:
                raise ValueError(f"a field at byte {start} leaves its message")
            yield tag >> 3, start, at

    def _text(self, begin: int, end: int) -> str:
        return self._raw[begin:end].decode()

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._raw[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
            if shift > 63:
                raise ValueError(f"a number at byte {at} has no end")
