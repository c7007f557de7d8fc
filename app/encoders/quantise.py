"""Make the products of a graph int8, with the scales of their inputs measured once.

Theory of operation. A product rows @ weight, with a constant weight, becomes

    QuantizeLinear(rows × 1/factor)  →  MatMulIntegerToFloat(…, weight × factor, bias)

- **Weights** are int8 with a scale for each column. **Rows** are uint8 with one scale and one zero
  point, which calibration finds: the graph runs in float32 on samples, and the smallest and the
  largest number that each input took are kept. Nothing is measured while texts are encoded, so a
  text's vector does not depend on the texts beside it.
- **Factors** even the channels out. A few channels of a normalised row are ten times as large as
  the rest, and one scale for all leaves the rest few of its 256 steps. Dividing each channel by
  (its largest number) ** `EVENING`, and multiplying the weight's row by the same, moves the
  difference into the weight, which is small and takes it better (Xiao et al. 2022, arXiv
  2211.10438, with the factor formed of the activations alone). Only inputs that a
  LayerNormalization made are evened out: their rows have bounded length, so what calibration saw
  bounds what comes. After an activation a channel may be silent in all samples and loud later.
- Products of two inputs, embeddings and everything elementwise stay float32; so does a product with
  fewer than `FEWEST_COLUMNS`, which costs nothing and may be a score.

uint8 times int8, and in no other order: ONNX Runtime's product of two int8 on x86 is slower than
float32 (docs/decisions/0018).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from app.types import F32

EVENING = 0.7
"""How much of the difference between channels moves into the weights: 0 nothing, 1 all."""

FEWEST_COLUMNS = 16

CONTRIB = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

Feeds = Mapping[str, NDArray[Any]]
"""One run's inputs by name."""


@dataclass(slots=True)
class Range:
    """The least and the largest number of each channel, [channel]."""

    low: F32
    high: F32


@dataclass(frozen=True, slots=True)
class _Product:
    """A MatMul with a constant weight [in, out], and the Add of a constant bias behind it.

    output  what the Add returns, or the MatMul where there is none
    """

    node: Any
    add: Any | None
    weight: F32
    bias: F32 | None

    @property
    def rows(self) -> str:
        return str(self.node.input[0])

    @property
    def output(self) -> str:
        return str((self.add or self.node).output[0])


def quantise(model: onnx.ModelProto, samples: Iterable[Feeds]) -> onnx.ModelProto:
    """Make the products of a float32 graph int8; the model itself is left as it is.

    samples  inputs that reach the ranges of real ones; see `app.encoders.calibration`
    """
    products = _products(model)
    ranges = measure(model, {product.rows for product in products}, samples)
    normed = {node.output[0] for node in model.graph.node if node.op_type == "LayerNormalization"}
    written = _Rewriting(ranges, normed)
    for product in products:
        written.replace(product)
    return written.finish(model)


def measure(
    model: onnx.ModelProto, names: Iterable[str], samples: Iterable[Feeds]
) -> dict[str, Range]:
    """Run a model on samples and keep the range of each channel (the last axis) of values."""
    names = sorted(names)
    if not names:
        return {}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        _showing(model, names), options, providers=["CPUExecutionProvider"]
    )
    wanted = [entry.name for entry in session.get_inputs()]
    ranges: dict[str, Range] = {}
    for feeds in samples:
        seen = session.run(names, {name: feeds[name] for name in wanted})
        for name, values in zip(names, seen, strict=True):
            rows = values.reshape(-1, values.shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            if name in ranges:
                known = ranges[name]
                low, high = np.minimum(low, known.low), np.maximum(high, known.high)
            ranges[name] = Range(low, high)
    return ranges


def _showing(model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    """The model with these values as its outputs, serialised."""
    graph = model.graph
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    shown = helper.make_model(
        helper.make_graph(graph.node, graph.name, graph.input, outputs, graph.initializer),
        opset_imports=model.opset_import,
    )
    shown.ir_version = model.ir_version
    content: bytes = shown.SerializeToString()
    return content


class _Rewriting:
    """Nodes and constants that replace products."""

    def __init__(self, ranges: dict[str, Range], normed: set[str]) -> None:
        self._ranges = ranges
        self._normed = normed
        self._before: dict[str, list[Any]] = {}  # new nodes, by the node that they replace
        self._dropped: set[str] = set()  # outputs of nodes that go
        self._constants: dict[str, NDArray[Any]] = {}
        self._factors: dict[str, F32] = {}  # of inputs that are quantised already

    def replace(self, product: _Product) -> None:
        """Put a quantised product in the place of one in float32."""
        rows, nodes = product.rows, []
        if rows not in self._factors:  # several products may share an input
            nodes += self._quantise_rows(rows)
        weight = product.weight * self._factors[rows][:, None]
        scales = np.abs(weight).max(axis=0) / np.float32(127)
        scales[scales == 0] = 1
        name = product.output
        inputs = [
            f"{rows}.uint8",
            self._constant(f"{name}.int8", np.rint(weight / scales).astype(np.int8)),
            f"{rows}.scale",
            self._constant(f"{name}.scales", scales),
            f"{rows}.zero",
        ]
        if product.bias is not None:
            inputs += ["", self._constant(f"{name}.bias", product.bias)]
        nodes.append(
            helper.make_node("MatMulIntegerToFloat", inputs, [name], name=name, domain=CONTRIB)
        )
        self._before[product.node.output[0]] = nodes
        self._dropped.add(product.node.output[0])
        if product.add is not None:
            self._dropped.add(product.add.output[0])

    def finish(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The model with everything replaced, and without the constants that nobody reads."""
        nodes = []
        for node in model.graph.node:
            nodes += self._before.get(node.output[0], [])
            if node.output[0] not in self._dropped:
                nodes.append(node)
        read = {name for node in nodes for name in node.input}
        constants = [constant for constant in model.graph.initializer if constant.name in read]
        constants += [
            numpy_helper.from_array(values, name) for name, values in self._constants.items()
        ]
        graph = helper.make_graph(
            nodes, model.graph.name, model.graph.input, model.graph.output, constants
        )
        made = helper.make_model(
            graph,
            opset_imports=[*model.opset_import, helper.make_opsetid(CONTRIB, 1)],
            producer_name=model.producer_name,
        )
        made.ir_version = model.ir_version
        onnx.checker.check_model(made)
        return made

    def _quantise_rows(self, rows: str) -> list[Any]:
        nodes, given, known = [], rows, self._ranges[rows]
        factor = np.ones_like(known.high)
        if rows in self._normed:
            factor = _factor(known)
            given = f"{rows}.even"
            inverse = self._constant(f"{rows}.factor", 1 / factor)
            nodes.append(helper.make_node("Mul", [rows, inverse], [given], name=given))
        self._factors[rows] = factor
        scale, zero = _scale((known.low / factor).min(), (known.high / factor).max())
        inputs = [
            given,
            self._constant(f"{rows}.scale", scale),
            self._constant(f"{rows}.zero", zero),
        ]
        output = f"{rows}.uint8"
        # ONNX Runtime's own: 1.23, the newest on Python 3.10, lacks the standard's opset 23.
        node = helper.make_node("QuantizeLinear", inputs, [output], name=output, domain=CONTRIB)
        nodes.append(node)
        return nodes

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants[name] = values
        return name


def _factor(known: Range) -> F32:
    largest = np.maximum(np.abs(known.low), np.abs(known.high))
    # A channel that hardly moves must not become loud by its factor.
    factor: F32 = np.maximum(largest, largest.max() / 1000 or 1) ** np.float32(EVENING)
    return factor


def _scale(low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Scale and zero point that spread [low, high] and 0 over uint8."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    return np.array(scale, np.float32), np.array(round(-low / scale), np.uint8)


def _products(model: onnx.ModelProto) -> list[_Product]:
    constants = {constant.name: constant for constant in model.graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in model.graph.output}
    products: list[_Product] = []
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in constants:
            continue
        weight = numpy_helper.to_array(constants[node.input[1]])
        if weight.ndim != 2 or weight.shape[1] < FEWEST_COLUMNS or weight.dtype != np.float32:
            continue
        add, bias = None, None
        after = readers.get(node.output[0], [])
        if len(after) == 1 and after[0].op_type == "Add" and node.output[0] not in outputs:
            (other,) = [name for name in after[0].input if name != node.output[0]] or [""]
            if other in constants and list(constants[other].dims) == [weight.shape[1]]:
                add, bias = after[0], numpy_helper.to_array(constants[other])
        products.append(_Product(node, add, weight, bias))
    return products
