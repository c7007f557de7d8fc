"""Make the built-in image encoder in `models/image-descriptor`: classical features as a graph.

    python -m app.encoders.descriptor models/image-descriptor

Nothing in it is learned, so nothing has to be downloaded: it finds near-duplicates and other views
of the same object, and knows nothing of what a picture means. It runs like any encoder of pictures,
so that all that holds for those holds for it.

Theory of operation
-------------------
A picture comes as [3, EDGE, EDGE] in 0 … 1, squeezed to a square: all of it counts, and its shape
does not. Three parts are measured, each made robust by the same steps, weighted and put together:

- *Shape*: histograms of gradient directions in cells (HOG: Dalal and Triggs 2005). The gradient of
  luminance at a scale of `SIGMA` pixels votes for the `DIRECTIONS` around it with the positive part
  of the cosine to the power `SHARPNESS`, which is a soft bin that needs no angle, times the root of
  its length. Votes are spread over neighbouring cells by triangular windows: what moves a little
  changes a little. Each cell is then divided by the strength of its neighbourhood, against uneven
  light. Grids of several sizes make a spatial pyramid (Lazebnik, Schmid and Ponce 2006).
- *Colour*: soft histograms of two opponent colours together, red to green and yellow to blue, over
  the whole picture and its quarters; and of luminance likewise.
- *Layout*: the low frequencies of luminance, by the discrete cosine transform, without the mean:
  light and contrast do not matter.

Histograms go through the square root before they are brought to length one, so that their product
compares them as the Hellinger kernel does (RootSIFT: Arandjelović and Zisserman 2012); the
transform's numbers through the signed root.

The weights and sizes below were chosen on the first half of the people of the ORL faces and
transformed versions of them, and are reported on the other half (`python -m bench.images`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.encoders.tiny import listed

OPSET = 17  # read by every ONNX Runtime that we allow
IR_VERSION = 8
NAME = "image-descriptor"

LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class Design:
    """The sizes and weights of a descriptor. Edges and widths are pixels of the square picture.

    grids     cells along each side, for each level of the pyramid of shape
    levels    weight of each of them
    clip      most of a cell's vote after it was divided by its neighbourhood
    weights   of shape, colour, brightness and layout: lengths of the parts of a vector
    """

    edge: int = 128
    sigma: float = 2.5
    directions: int = 12
    sharpness: float = 16.0
    strength: float = 0.5
    grids: tuple[int, ...] = (7, 3)
    levels: tuple[float, ...] = (1.0, 1.0)
    clip: float = 0.2
    colours: int = 5
    greys: int = 8
    frequencies: int = 5
    weights: tuple[float, float, float, float] = (1.0, 0.5, 0.3, 0.1)


class _Graph:
    """Nodes and constants as they are written; values are named by what they are."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, values: object, dtype: type = np.float32) -> str:
        """Add a constant; returns its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def scaled(self, value: str, factor: float) -> str:
        """A value times a number."""
        return self.add("Mul", value, self.constant(factor))

    def unit(self, value: str) -> str:
        """Rows [n, m] of length one; rows of zeros stay zeros."""
        return self.add("Div", value, self.add("Add", self._length(value), self.constant(1e-6)))

    def signed_root(self, value: str) -> str:
        """The root of the size, with the sign."""
        root = self.add("Sqrt", self.add("Abs", value))
        return self.add("Mul", self.add("Sign", value), root)

    def rows(self, value: str) -> str:
        """All numbers of a picture in one row."""
        return self.add("Flatten", value, axis=1)

    def _length(self, value: str) -> str:
        return self.add("ReduceL2", value, axes=[1], keepdims=1)


def build_descriptor(design: Design) -> tuple[onnx.ModelProto, int]:
    """Write the graph: `pixel_values` [n, 3, edge, edge] in 0 … 1 → `vector` [n, dim], unit length.

    returns  the model and its dimension
    """
    graph = _Graph()
    luminance = graph.add("Conv", "pixel_values", graph.constant([[[[c]] for c in LUMINANCE]]))
    shape, brightness, layout, colour = design.weights[0], *design.weights[2:], design.weights[1]
    parts = [
        (shape, *_shape(graph, luminance, design)),
        (colour, *_colour(graph, design)),
        (brightness, *_brightness(graph, luminance, design)),
        (layout, *_layout(graph, luminance, design)),
    ]
    kept = [graph.scaled(graph.unit(value), weight) for weight, value, _ in parts if weight]
    graph.unit(graph.add("Concat", *kept, axis=1))
    graph.nodes[-1].output[0] = "vector"
    dimension = sum(size for weight, _, size in parts if weight)
    edge = design.edge
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            NAME,
            [
                helper.make_tensor_value_info(
                    "pixel_values", TensorProto.FLOAT, ["n", 3, edge, edge]
                )
            ],
            [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", dimension])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="likewise",
    )
    onnx.checker.check_model(model, full_check=True)
    return model, dimension


def _shape(graph: _Graph, luminance: str, design: Design) -> tuple[str, int]:
    """Histograms of gradient directions, in a pyramid of grids."""
    kernels = _gradient_kernels(design.sigma)
    margin = kernels.shape[-1] // 2
    pads = graph.constant([0, 0, margin, margin, 0, 0, margin, margin], np.int64)
    gradient = graph.add(
        "Conv", graph.add("Pad", luminance, pads, mode="edge"), graph.constant(kernels)
    )
    squared = graph.add("ReduceSumSquare", gradient, axes=[1], keepdims=1)
    # What is flatter than a 500th of the range from black to white is noise, and hardly votes.
    length = graph.add("Sqrt", graph.add("Add", squared, graph.constant(4e-6)))
    angles = 2 * np.pi * np.arange(design.directions) / design.directions
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)[:, :, None, None]
    cosine = graph.add("Div", graph.add("Conv", gradient, graph.constant(around)), length)
    votes = graph.add(
        "Mul",
        graph.add("Pow", graph.add("Relu", cosine), graph.constant(design.sharpness)),
        graph.add("Pow", length, graph.constant(design.strength)),
    )
    levels, size = [], 0
    for cells, weight in zip(design.grids, design.levels, strict=True):
        histograms = _pooled(graph, votes, design.edge, cells)
        levels.append(graph.scaled(graph.unit(_evened(graph, histograms, design.clip)), weight))
        size += design.directions * cells * cells
    return graph.add("Concat", *levels, axis=1), size


def _evened(graph: _Graph, histograms: str, clip: float) -> str:
    """Divide each cell by the strength of the 3 × 3 around it, clip, take the root; rows."""
    squared = graph.add("ReduceSumSquare", histograms, axes=[1], keepdims=1)
    around = graph.add("AveragePool", squared, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    strength = graph.add("Sqrt", graph.add("Add", around, graph.constant(1e-6)))
    evened = graph.add(
        "Min", graph.add("Div", histograms, strength), graph.constant(np.float32(clip))
    )
    return graph.rows(graph.add("Sqrt", evened))


def _colour(graph: _Graph, design: Design) -> tuple[str, int]:
    """Soft histograms of two opponent colours together, of the whole and of its quarters."""
    opponent = np.array([[1, -1, 0], [0.5, 0.5, -1]], np.float32)  # each from -1 to 1
    small = graph.add("AveragePool", "pixel_values", kernel_shape=[4, 4], strides=[4, 4])
    both = graph.add("Conv", small, graph.constant(opponent[:, :, None, None]))
    # The root spreads the greys, where most of the world is.
    spread = graph.signed_root(both)
    halves = graph.constant([1, 1], np.int64)
    nodes = helper.make_node("Split", [spread, halves], ["red_green", "yellow_blue"], axis=1)
    graph.nodes.append(nodes)
    count = design.colours
    first = graph.add(
        "Unsqueeze",
        _soft_bins(graph, "red_green", -1.0, 1.0, count),
        graph.constant([2], np.int64),
    )
    second = graph.add(
        "Unsqueeze",
        _soft_bins(graph, "yellow_blue", -1.0, 1.0, count),
        graph.constant([1], np.int64),
    )
    edge = design.edge // 4
    shape = graph.constant([0, count * count, edge, edge], np.int64)
    joint = graph.add("Reshape", graph.add("Mul", first, second), shape)
    return _whole_and_quarters(graph, joint, count * count, edge)


def _brightness(graph: _Graph, luminance: str, design: Design) -> tuple[str, int]:
    """Soft histograms of luminance, of the whole and of its quarters."""
    small = graph.add("AveragePool", luminance, kernel_shape=[4, 4], strides=[4, 4])
    bins = _soft_bins(graph, small, 0.0, 1.0, design.greys)
    return _whole_and_quarters(graph, bins, design.greys, design.edge // 4)


def _layout(graph: _Graph, luminance: str, design: Design) -> tuple[str, int]:
    """Low frequencies of luminance, without the mean."""
    edge, count = design.edge // 4, design.frequencies
    small = graph.add("AveragePool", luminance, kernel_shape=[4, 4], strides=[4, 4])
    waves = _cosines(count, edge)
    found = graph.add("MatMul", graph.constant(waves), small)
    found = graph.add("MatMul", found, graph.constant(waves.T))
    places = graph.constant(np.arange(1, count * count), np.int64)
    numbers = graph.add("Gather", graph.rows(found), places, axis=1)
    return graph.signed_root(graph.unit(numbers)), count * count - 1


def _whole_and_quarters(graph: _Graph, bins: str, count: int, edge: int) -> tuple[str, int]:
    whole = graph.rows(graph.add("GlobalAveragePool", bins))
    quarters = graph.rows(_pooled(graph, bins, edge, 2))
    roots = [graph.unit(graph.add("Sqrt", part)) for part in (whole, quarters)]
    return graph.add("Concat", *roots, axis=1), 5 * count


def _soft_bins(graph: _Graph, values: str, low: float, high: float, count: int) -> str:
    """Memberships [n, count, h, w] in bins around `count` centres, triangular; they add up to 1."""
    width = (high - low) / (count - 1)
    centres = np.linspace(low, high, count, dtype=np.float32).reshape(1, count, 1, 1)
    away = graph.add("Abs", graph.add("Sub", values, graph.constant(centres)))
    return graph.add(
        "Relu", graph.add("Sub", graph.constant(1.0), graph.scaled(away, float(1 / width)))
    )


def _pooled(graph: _Graph, planes: str, edge: int, cells: int) -> str:
    """Averages over cells with triangular windows, which reach to the middle of the next cells."""
    cell = edge / cells
    middles = (np.arange(cells)[:, None] + 0.5) * cell
    windows = np.maximum(0, 1 - np.abs(np.arange(edge) + 0.5 - middles) / cell)
    windows /= windows.sum(axis=1, keepdims=True)
    found = graph.add("MatMul", graph.constant(windows), planes)
    return graph.add("MatMul", found, graph.constant(windows.T))


def _gradient_kernels(sigma: float) -> NDArray[np.float32]:
    """Derivatives of a Gaussian along x and y: [2, 1, m, m]. A ramp of slope 1 answers with 1."""
    reach = max(1, round(3 * sigma))
    along = np.arange(-reach, reach + 1)
    bell = np.exp(-0.5 * (along / sigma) ** 2)
    slope = along * bell
    slope = slope / (slope * along).sum()
    bell = bell / bell.sum()
    both = np.stack([np.outer(bell, slope), np.outer(slope, bell)])[:, None]
    return np.asarray(both, np.float32)


def _cosines(count: int, edge: int) -> NDArray[np.float32]:
    """The first waves of the orthonormal cosine transform (DCT-II): [count, edge]."""
    wave, place = np.arange(count)[:, None], np.arange(edge)[None]
    waves = np.sqrt(2 / edge) * np.cos(np.pi * wave * (2 * place + 1) / (2 * edge))
    waves[0] /= np.sqrt(2)
    return np.asarray(waves, np.float32)


def write_descriptor(folder: Path) -> None:
    """Write model.onnx and encoder.toml into `folder`, over what is there."""
    design = Design()
    model, dimension = build_descriptor(design)
    content = model.SerializeToString(deterministic=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "encoder.toml").write_text(_manifest(content, design, dimension), encoding="utf-8")


def _manifest(content: bytes, design: Design, dimension: int) -> str:
    return f"""\
# Written by `python -m app.encoders.descriptor`: classical features, nothing learned.
format = 1
name = "{NAME}"
modality = "image"
dimension = {dimension}
owned_by = "likewise"
license = "Apache-2.0"
released = 2026-11-23
space = {{ id = "{NAME}", version = 2 }}

[image]
resize = "exact"
size = [{design.edge}, {design.edge}]
resample = "bilinear"
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]

[graph]
file = "model.onnx"
output = "vector"
batch = "together"

[output]
pool = "graph"
normalise = false
{listed({"model.onnx": content})}"""


def main(arguments: Sequence[str]) -> None:
    """Write the folder that is named."""
    write_descriptor(Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
