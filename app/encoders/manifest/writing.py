"""Write a manifest as `encoder.toml`: what `read_manifest` reads back as the same value."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator

from app.encoders.manifest.files import HubSource
from app.encoders.manifest.graph import BuiltGraph, Graph
from app.encoders.manifest.manifest import FORMAT, Manifest
from app.encoders.manifest.text import TextSpec


def toml_from_manifest(manifest: Manifest, comments: tuple[str, ...] = ()) -> str:
    """Spell a manifest of an encoder of texts; `comments` are lines at its head."""
    assert isinstance(manifest.spec, TextSpec)
    lines = [f"# {line}" for line in comments]
    lines += _head(manifest)
    lines += ["", *_text(manifest.spec), "", "[graph]"]
    assert manifest.graph is not None
    lines += _graph(manifest.graph)
    lines += ["", *_output(manifest.spec)]
    for file in manifest.files:
        lines += ["", "[[files]]", f"path = {_string(file.path)}"]
        lines += [f"sha256 = {_string(file.sha256)}", f"bytes = {file.size_bytes}"]
    for source in manifest.sources:
        lines += ["", "[[sources]]"]
        if isinstance(source, HubSource):
            lines += ['kind = "hub"', f"repository = {_string(source.repository)}"]
            lines += [f"revision = {_string(source.revision)}"]
        else:
            lines += ['kind = "package"', f"package = {_string(source.package)}"]
            lines += [f"version = {_string(source.version)}"]
            lines += [f"sha256 = {_string(source.sha256)}"]
    return "\n".join(lines) + "\n"


def _head(manifest: Manifest) -> Iterator[str]:
    yield f"format = {FORMAT}"
    yield f"name = {_string(manifest.name)}"
    if manifest.kind != manifest.modality:
        yield f"kind = {_string(manifest.kind)}"
    yield f"modality = {_string(manifest.modality)}"
    yield f"dimension = {manifest.dimension}"
    if manifest.dimensions == "any":
        yield 'dimensions = "any"'
    elif manifest.dimensions:
        yield f"dimensions = {list(manifest.dimensions)}"
    yield f"owned_by = {_string(manifest.owned_by)}"
    yield f"license = {_string(manifest.license)}"
    day = datetime.datetime.fromtimestamp(manifest.released, datetime.timezone.utc).date()
    yield f"released = {day.isoformat()}"
    space, _, version = manifest.space.rpartition("@")
    yield f"space = {{ id = {_string(space)}, version = {version} }}"


def _text(spec: TextSpec) -> Iterator[str]:
    yield "[text]"
    yield f"tokenizer = {_string(spec.text.tokenizer)}"
    yield f"max_tokens = {spec.text.max_tokens}"
    if spec.text.query_prompt:
        yield f"query_prompt = {_string(spec.text.query_prompt)}"
    if spec.text.document_prompt:
        yield f"document_prompt = {_string(spec.text.document_prompt)}"


def _graph(graph: Graph) -> Iterator[str]:
    if isinstance(graph, BuiltGraph):
        yield from _built(graph)
        return
    yield f"file = {_string(graph.file)}"
    if graph.output:
        yield f"output = {_string(graph.output)}"
    yield f"batch = {_string(graph.batch)}"


def _built(graph: BuiltGraph) -> Iterator[str]:
    shape = graph.architecture
    yield f"build = {_string('auto' if shape is None else shape.family)}"
    if shape is None:
        yield f"config = {_string(graph.config)}"
    else:
        yield f"heads = {shape.heads}"
        yield f"layer_norm_eps = {_float(shape.layer_norm_eps)}"
        yield f"activation = {_string(shape.activation)}"
    yield f"weights = {_string(graph.weights)}"
    yield f"variant = {_string(graph.variant)}"
    if graph.head != "vectors":
        yield f"head = {_string(graph.head)}"
    if graph.projection:
        yield f"projection = {_string(graph.projection)}"
    if graph.modules:
        yield f"modules = [{', '.join(map(_string, graph.modules))}]"


def _output(spec: TextSpec) -> Iterator[str]:
    assert spec.output is not None  # folders that state other outputs come with a manifest
    yield "[output]"
    yield f"pool = {_string(spec.output.pool)}"
    yield f"normalise = {str(spec.output.normalise).lower()}"
    for layer in spec.output.dense:
        yield ""
        yield "[[output.dense]]"
        yield f"weights = {_string(layer.weights)}"
        yield f"activation = {_string(layer.activation)}"


def _string(text: str) -> str:
    # JSON's escapes are TOML's too, but TOML wants one for DEL as well.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _float(value: float) -> str:
    shown = repr(value)
    return shown if set(shown) & set(".en") else f"{shown}.0"
