"""Encoders of the pipeline for tests: small folders with every mechanism, written from seeds."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.encoders.base import Encoder
from app.encoders.manifest import Manifest, read_manifest
from app.encoders.obtain import obtain
from app.encoders.opening import open_encoder
from tests.encoders.models import TINY

DIMENSION = 8
ROWS = 600

HEADER = """\
format = 1
name = "{name}"
kind = "{kind}"
modality = "{modality}"
dimension = {dimension}
owned_by = "tests"
license = "none"
released = 2024-01-02
space = {{ id = "{space}", version = 1 }}
"""

TEXT = """\
[text]
tokenizer = "tokenizer.json"
max_tokens = 40
[graph]
file = "model.onnx"
output = "last_hidden_state"
batch = "together"
"""


def array_bytes(array: NDArray[np.float32]) -> bytes:
    """The content of an .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def seeded(seed: int, *shape: int) -> NDArray[np.float32]:
    """Gaussian numbers that never change (NEP 19)."""
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def token_graph(words: NDArray[np.float32] | None = None) -> bytes:
    """A published graph: token vectors, and a global vector beside them.

    words  [row, dim], the vector of each token id
    """
    words = seeded(11, ROWS, DIMENSION) if words is None else words
    axes = ["text", "token"]
    first = numpy_helper.from_array(np.array(0, np.int64), "first")
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["words", "input_ids"], ["last_hidden_state"]),
            helper.make_node("Gather", ["last_hidden_state", "first"], ["head"], axis=1),
            helper.make_node("Tanh", ["head"], ["pooler_output"]),
        ],
        "published",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, axes)],
        [
            helper.make_tensor_value_info(
                "last_hidden_state", TensorProto.FLOAT, [*axes, words.shape[1]]
            ),
            helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, None),
        ],
        [numpy_helper.from_array(words, "words"), first],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    content: bytes = model.SerializeToString()
    return content


def write_folder(
    folder: Path,
    body: str,
    files: Mapping[str, bytes],
    *,
    kind: str = "text",
    modality: str = "text",
    dimension: int = DIMENSION,
    space: str = "",
) -> Path:
    """Write a model folder: the header, `body`, and [[files]]."""
    folder.mkdir(parents=True)
    for path, content in files.items():
        (folder / path).write_bytes(content)
    listed = "".join(
        f'[[files]]\npath = "{path}"\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n'
        f"bytes = {len(content)}\n"
        for path, content in files.items()
    )
    header = HEADER.format(
        name=folder.name,
        kind=kind,
        modality=modality,
        dimension=dimension,
        space=space or folder.name,
    )
    (folder / "encoder.toml").write_text(header + body + listed, encoding="utf-8")
    return folder


def write_text(
    folder: Path,
    output: str,
    arrays: Mapping[str, NDArray[np.float32]] | None = None,
    *,
    dimension: int = DIMENSION,
    words: NDArray[np.float32] | None = None,
    space: str = "",
) -> Path:
    """A text encoder over `token_graph`. `output` is the content of [output] and its tables."""
    files = {
        "tokenizer.json": (TINY / "tokenizer.json").read_bytes(),
        "model.onnx": token_graph(words),
        **{name: array_bytes(array) for name, array in (arrays or {}).items()},
    }
    body = f"{TEXT}[output]\n{output}"
    return write_folder(folder, body, files, dimension=dimension, space=space)


RECORD = """\
[record]
rows = 512
width = 64
seed = 7
[[record.features]]
name = "brand"
kind = "category"
[[record.features]]
name = "tags"
kind = "category"
weight = 2.0
lookups = 4
[[record.features]]
name = "maker.country"
kind = "category"
lookups = 2
[[record.features]]
name = "price"
kind = "number"
low = 0.0
high = 100.0
buckets = 11
[output]
normalise = true
"""


def write_record(folder: Path) -> Path:
    """An encoder of records with every kind of feature."""
    return write_folder(folder, RECORD, {}, kind="record", modality="record", dimension=64)


def write_points(
    folder: Path,
    *,
    axes: int = 3,
    normals: bool = False,
    chirality: bool = True,
    bins: int = 6,
    more: str = "",
) -> Path:
    """An encoder of point sets."""
    body = (
        f"[pointset]\naxes = {axes}\nnormals = {str(normals).lower()}\n"
        f"chirality = {str(chirality).lower()}\nbins = {bins}\nmax_points = 128\n"
        f"[output]\nnormalise = true\n{more}"
    )
    dimension = bins**3 + (2 * bins if chirality else 0)
    return write_folder(folder, body, {}, kind="points", modality="points", dimension=dimension)


def write_router(folder: Path, *, mix: int = 1) -> Path:
    """A router over two experts of one space, written beside it, and a light encoder."""
    words = seeded(11, ROWS, DIMENSION)
    plain = 'pool = "mean"\nnormalise = true\n'
    write_text(folder.parent / "law", plain, words=words, space="shared")
    other = words + 0.3 * seeded(12, ROWS, DIMENSION)
    write_text(folder.parent / "medicine", plain, words=other, space="shared")
    write_text(folder.parent / "light", plain, words=words)
    body = (
        '[router]\nexperts = ["law", "medicine"]\nby = "centroid"\nlight = "light"\n'
        f'centroids = "centroids.npy"\nmix = {mix}\nmax_tokens = 40\n'
        'probes = "probes.json"\n[output]\nnormalise = true\n'
    )
    probes = ["the sun", "a cat in the tea", "one day", "all you see", "ice"]
    files = {
        "centroids.npy": array_bytes(seeded(13, 2, DIMENSION)),
        "probes.json": json.dumps(probes).encode(),
    }
    return write_folder(folder, body, files, kind="router", space="shared")


def opened(folder: Path) -> tuple[Manifest, Encoder]:
    """Read and open a folder whose files are all there."""
    manifest = read_manifest(folder)
    obtain(manifest, folder)
    return manifest, open_encoder(manifest, folder, threads=2)
