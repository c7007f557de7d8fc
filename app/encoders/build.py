"""Build a model's ONNX graph from its weights, once, and know later whether it still fits.

`built.json` beside the graphs records for each what it was built from and the sha256 of what came
out. A graph that does not fit its record is built again: after an update of the builder, another
setting in the manifest, or damage to the file. The record guards against accidents; trust rests on
the sha256 of the weights in the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import onnx

from app.encoders.base import Progress
from app.encoders.calibration import random_rows
from app.encoders.files import is_whole, replacing, sha256_of
from app.encoders.manifest import (
    FILE_NAME,
    BuiltGraph,
    Manifest,
    ModelFile,
    PairSpec,
    TextSpec,
    Variant,
)
from app.encoders.networks.checkpoint import read_checkpoint, read_module
from app.encoders.networks.config import read_config
from app.encoders.networks.families import (
    open_tensors,
    read_classifier,
    read_network,
    read_predictor,
)
from app.encoders.networks.heads import (
    Head,
    Logits,
    Pooled,
    TokenVectors,
    WordWeights,
    build_network,
    check_steps,
)
from app.encoders.networks.network import Dense, Network, Norm, Pool
from app.encoders.networks.tensors import Tensors
from app.encoders.networks.transformer import WORDS
from app.encoders.quantise import Feeds, quantise
from app.encoders.tokenizer import Tokenizer
from app.errors import StoredDataError

BUILDER = 4
"""Raise it with every change to the graph or its quantisation. If vectors change by more than
float noise, raise the version of the spaces too."""

RECORD = "built.json"
GRAPH_FILES: dict[Variant, str] = {
    "fp32": "model.onnx",
    "fp16": "model.fp16.onnx",
    "int8": "model.int8.onnx",
}


def graph_path(manifest: Manifest, folder: Path) -> Path:
    """Where the graph of a model is, or will be."""
    graph = manifest.graph
    if isinstance(graph, BuiltGraph):
        return folder / GRAPH_FILES[graph.variant]
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

    Raises CorruptFile if the tensors are not those of the stated network, and StoredDataError if
    the model's configuration asks for something that is not built.
    """
    graph = manifest.graph
    assert isinstance(graph, BuiltGraph)
    path = graph_path(manifest, folder)
    progress(f"build {path.name}", 0, 1)
    model = float_graph(manifest, folder)
    if graph.variant == "int8":
        model = quantise(model, samples(manifest, folder, model))
    with replacing(path) as file:
        file.write(model.SerializeToString())
    entry = {"sha256": sha256_of(path), "built_from": _built_from(manifest)}
    with replacing(folder / RECORD) as file:
        file.write(json.dumps(_read_record(folder) | {path.name: entry}, indent=1).encode())
    progress(f"build {path.name}", 1, 1)


def float_graph(manifest: Manifest, folder: Path) -> onnx.ModelProto:
    """The graph of a manifest before any quantisation: what `build` starts from."""
    graph = manifest.graph
    assert isinstance(graph, BuiltGraph)
    architecture = graph.architecture or read_config(folder / graph.config)
    weights = folder / graph.weights
    tensors = open_tensors(read_checkpoint(weights), architecture, str(weights))
    network = read_network(tensors, architecture)
    if manifest.spec.max_input > network.positions:
        raise StoredDataError(
            f"{folder / FILE_NAME}: expected at most {network.positions} tokens, which {weights} "
            f"has positions for, found {manifest.spec.max_input}",
            path=str(folder / FILE_NAME),
        )
    head: Head
    if graph.head == "logits":
        head = Logits(read_classifier(tensors, architecture, network))
    elif graph.head == "word_weights":
        head = WordWeights(read_predictor(tensors, architecture, network))
    else:
        steps = _steps(graph, folder, tensors, network)
        assert isinstance(manifest.spec, TextSpec)
        # What the graph cannot do of [output] is done on its outputs: `app.encoders.pipeline`.
        output = manifest.spec.output
        if manifest.spec.tokens is not None:
            tokens = manifest.spec.tokens
            head = TokenVectors(tokens.normalise, steps, masked=not tokens.query_tokens)
        elif output is not None and output.table is not None:
            head = TokenVectors(normalise=False, steps=steps)
        else:
            assert output is not None
            # The manifest holds no other pool: `app.encoders.manifest.manifest.BUILT_POOLS`.
            head = Pooled(cast(Pool, output.pool), output.normalise and output.inside, steps)
    # Classifiers judge pairs of texts.
    return build_network(network, head, pairs=graph.head == "logits", half=graph.variant == "fp16")


def samples(manifest: Manifest, folder: Path, model: onnx.ModelProto) -> Iterator[Feeds]:
    """Inputs that calibrate a built graph of float32."""
    spec = manifest.spec
    assert isinstance(spec, TextSpec | PairSpec)
    tokenizer = spec.text.tokenizer if isinstance(spec, TextSpec) else spec.tokenizer
    longest = spec.max_input
    frame = Tokenizer(folder / tokenizer, longest).ids([""])[0]
    (words,) = (table.dims[0] for table in model.graph.initializer if table.name == WORDS)
    return random_rows(frame, words, longest)


def _steps(
    graph: BuiltGraph, folder: Path, tensors: Tensors, network: Network
) -> list[Dense | Norm]:
    steps: list[Dense | Norm] = []
    if graph.projection:
        steps.append(Dense(tensors.maybe_biased(graph.projection, None, network.dimension)))
    steps += [read_module(folder / module) for module in graph.modules]
    check_steps(steps, network.dimension, str(folder))
    return steps


def weight_files(manifest: Manifest) -> list[ModelFile]:
    """The files that only the build reads: what is needed no more once the graph is built."""
    graph = manifest.graph
    assert isinstance(graph, BuiltGraph)
    kept = set(manifest.spec.paths.values())
    return [
        file
        for file in manifest.files
        if file.path not in kept
        and (file.path.endswith(".safetensors") or file.path in graph.paths.values())
    ]


def _built_from(manifest: Manifest) -> dict[str, Any]:
    graph = manifest.graph
    assert isinstance(graph, BuiltGraph)
    record = {
        "builder": BUILDER,
        "files": {file.path: file.sha256 for file in weight_files(manifest)},
        "graph": asdict(graph),
        "output": _outputs(manifest),
    }
    # As it comes back from the file: lists for tuples.
    written: dict[str, Any] = json.loads(json.dumps(record))
    return written


def _outputs(manifest: Manifest) -> dict[str, Any]:
    """What the graph depends on of the manifest's outputs."""
    spec = manifest.spec
    if isinstance(spec, TextSpec) and spec.output is not None:
        output = spec.output
        pool = "token_vectors" if output.table is not None else output.pool
        return {"pool": pool, "normalise": output.normalise and output.inside}
    if isinstance(spec, TextSpec) and spec.tokens is not None:
        unmasked = {"masked": False} if spec.tokens.query_tokens else {}
        return {"normalise": spec.tokens.normalise, **unmasked}
    return {}


def _read_record(folder: Path) -> dict[str, Any]:
    """The record, or an empty one if it is missing or unreadable: then everything is rebuilt."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
