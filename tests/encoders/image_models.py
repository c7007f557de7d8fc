"""Image encoders for tests: one with a vector for each patch, and the descriptor with views."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.encoders.descriptor import NAME, write_descriptor
from app.encoders.inputs import Picture
from app.encoders.manifest import FILE_NAME
from tests.encoders.pipelines import array_bytes, write_folder

Array = NDArray[np.float32]

TILE, SIDE = 4, 6
EDGE = TILE * SIDE
DIMENSION = 24

FRAMING = f"""\
[image]
resize = "exact"
size = [{EDGE}, {EDGE}]
resample = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""
GRAPH = '[graph]\nfile = "model.onnx"\noutput = "last_hidden_state"\nbatch = "together"\n'


def write_patches(
    folder: Path,
    output: str,
    arrays: Mapping[str, Array] | None = None,
    *,
    dimension: int = DIMENSION,
    more: str = "",
    framing: str = FRAMING,
    graph: str = GRAPH,
) -> Path:
    """An encoder over `patch_graph`. `output` is [output] and its tables, `more` other tables."""
    files = {"model.onnx": patch_graph()}
    files |= {name: array_bytes(array) for name, array in (arrays or {}).items()}
    body = f"{framing}{graph}[output]\n{output}{more}"
    return write_folder(
        folder, body, files, kind="image", modality="image", dimension=dimension, space="patches"
    )


def write_descriptor_as(folder: Path, more: str = "") -> Path:
    """The built-in descriptor under the folder's name, with more tables: [views], [invariance]."""
    write_descriptor(folder)
    path = folder / FILE_NAME
    manifest = path.read_text(encoding="utf-8")
    manifest = manifest.replace(f'name = "{NAME}"', f'name = "{folder.name}"')
    path.write_text(manifest.replace("[[files]]", f"{more}[[files]]"), encoding="utf-8")
    return folder


def patch_graph() -> bytes:
    """Outputs `last_hidden_state` [picture, patch, dim], `planes`, `pooler_output` [picture, dim].

    `planes` are the same patches, as a convolution leaves them; the third is the first patch.
    """
    numbers = 3 * TILE * TILE
    turn = np.linalg.qr(np.random.RandomState(21).standard_normal((numbers, numbers)))[0]
    kernel = turn[:DIMENSION].reshape(DIMENSION, 3, TILE, TILE).astype(np.float32)
    rows = np.array([0, DIMENSION, -1], np.int64)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["pixels", "kernel"], ["planes"], strides=[TILE, TILE]),
            helper.make_node("Reshape", ["planes", "rows"], ["flat"]),
            helper.make_node("Transpose", ["flat"], ["last_hidden_state"], perm=[0, 2, 1]),
            helper.make_node("Gather", ["last_hidden_state", "first"], ["pooler_output"], axis=1),
        ],
        "patches",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, "height", "width"])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("last_hidden_state", "planes", "pooler_output")
        ],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(rows, "rows"),
            numpy_helper.from_array(np.array(0, np.int64), "first"),
        ],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    content: bytes = model.SerializeToString()
    return content


def tiled(tiles: NDArray[np.float64]) -> Picture:
    """A picture of tiles [SIDE · SIDE, 3, TILE, TILE], numbers from -1 (black) to 1."""
    grid = tiles.reshape(SIDE, SIDE, 3, TILE, TILE).transpose(0, 3, 1, 4, 2)
    return file_of(127.5 + 127.5 * grid.reshape(EDGE, EDGE, 3))


def file_of(pixels: NDArray[np.float64]) -> Picture:
    """A picture of pixels [height, width, 3], from 0 to 255."""
    height, width = pixels.shape[:2]
    rows = pixels.round().clip(0, 255).astype(np.uint8)
    return Picture(b"P6 %d %d 255\n" % (width, height) + rows.tobytes())


def mosaic(seed: int, height: int = 40, width: int = 40, block: int = 8) -> Picture:
    """Blocks of one colour each, the same on every machine."""
    random = np.random.RandomState(seed)
    blocks = random.uniform(0, 255, (-(-height // block), -(-width // block), 3))
    return file_of(np.kron(blocks, np.ones((block, block, 1)))[:height, :width])
