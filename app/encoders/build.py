"""Build a model's ONNX graph from its weights, once, and know later whether it still fits.

`built.json` beside the graphs records for each what it was built from and the sha256 of what came
out. A graph that does not fit its record is built again: after an update of the builder, another
setting in the manifest, or damage to the file. The record guards against accidents; trust rests on
the sha256 of the weights in the manifest.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from app.encoders.base import Progress
from app.encoders.files import is_whole, replacing, sha256_of
from app.encoders.manifest import BertGraph, Manifest, Output, TextSpec
from app.encoders.networks.families import Architecture, open_tensors, read_network
from app.encoders.networks.heads import Pool, Pooled, build_network
from app.encoders.safetensors import read_safetensors

BUILDER = 1
"""Raise it with every change to the graph or its quantisation. If vectors change by more than
float noise, raise the version of the spaces too."""

RECORD = "built.json"


def graph_path(manifest: Manifest, folder: Path) -> Path:
    """Where the graph of a model is, or will be."""
    graph = manifest.graph
    if isinstance(graph, BertGraph):
        return folder / ("model.int8.onnx" if graph.variant == "int8" else "model.onnx")
    assert graph is not None
    return folder / graph.file


def is_built(manifest: Manifest, folder: Path) -> bool:
    """Whether the graph is there, built as the manifest and this builder would, and undamaged."""
    path = graph_path(manifest, folder)
    entry = _read_record(folder).get(path.name, {})
    sha256 = entry.get("sha256")
    return (
        entry.get("built_from") == _built_from(manifest)
        and isinstance(sha256, str)
        and is_whole(path, sha256)
    )


def build(manifest: Manifest, folder: Path, progress: Progress) -> None:
    """Build the graph and record it. The weights must be there and checked.

    Raises CorruptFile if the weights do not hold a BERT of this shape.
    """
    graph = manifest.graph
    assert isinstance(graph, BertGraph)
    path, weights = graph_path(manifest, folder), folder / graph.weights
    progress(f"build {path.name}", 0, 1)
    architecture = Architecture("bert", graph.heads, graph.layer_norm_eps)
    tensors = open_tensors(read_safetensors(weights), architecture, str(weights))
    pool: Pool = "cls" if _output(manifest).pool == "cls" else "mean"
    head = Pooled(pool, normalise=_output(manifest).normalise)
    model = build_network(read_network(tensors, architecture), head)
    with replacing(path) as file:
        file.write(quantised(model) if graph.variant == "int8" else model.SerializeToString())
    entry = {"sha256": sha256_of(path), "built_from": _built_from(manifest)}
    with replacing(folder / RECORD) as file:
        file.write(json.dumps(_read_record(folder) | {path.name: entry}, indent=1).encode())
    progress(f"build {path.name}", 1, 1)


def quantised(model: onnx.ModelProto) -> bytes:
    """Turn the products with weights into int8: weights per output channel, inputs per call.

    Products of two inputs, embeddings and everything elementwise stay float32.
    """
    with tempfile.TemporaryDirectory() as scratch, _quiet_root():
        out = Path(scratch) / "model.onnx"
        quantize_dynamic(
            model,
            out,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        return out.read_bytes()


@contextmanager
def _quiet_root() -> Iterator[None]:
    """Drop what is logged on the root logger itself: the quantiser tells it about every node.

    Records of other loggers pass: a logger's filter does not see what its children hand up.
    """
    root = logging.getLogger()

    def drop(record: logging.LogRecord) -> bool:
        return False

    root.addFilter(drop)
    try:
        yield
    finally:
        root.removeFilter(drop)


def _built_from(manifest: Manifest) -> dict[str, Any]:
    graph = manifest.graph
    assert isinstance(graph, BertGraph)
    return {
        "builder": BUILDER,
        "weights_sha256": manifest.file(graph.weights).sha256,
        "variant": graph.variant,
        "heads": graph.heads,
        "layer_norm_eps": graph.layer_norm_eps,
        "pool": _output(manifest).pool,
        "normalise": _output(manifest).normalise,
    }


def _output(manifest: Manifest) -> Output:
    assert isinstance(manifest.spec, TextSpec)
    return manifest.spec.output


def _read_record(folder: Path) -> dict[str, Any]:
    """The record, or an empty one if it is missing or unreadable: then everything is rebuilt."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
