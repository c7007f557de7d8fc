"""Write a manifest as `encoder.toml`: what `read_manifest` reads back as the same value.

A manifest becomes nested tables first, then text. What is as if it were left out is left out.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

from app.encoders.manifest.files import HubSource, ModelFile, PackageSource
from app.encoders.manifest.graph import BuiltGraph, Graph
from app.encoders.manifest.manifest import FORMAT, Manifest
from app.encoders.manifest.specs import tables_of_spec
from app.encoders.manifest.views import Invariance, Views

Entries = dict[str, Any]


def toml_from_manifest(manifest: Manifest, comments: tuple[str, ...] = ()) -> str:
    """Spell a manifest; `comments` are lines at its head."""
    lines = [f"# {line}" for line in comments]
    lines += _spelled(_head(manifest) | _tables(manifest), ())
    return "\n".join(lines) + "\n"


def _head(manifest: Manifest) -> Entries:
    day = datetime.datetime.fromtimestamp(manifest.released, datetime.timezone.utc).date()
    kind = {} if manifest.kind == manifest.modality else {"kind": manifest.kind}
    dimensions: Any = manifest.dimensions
    return {
        "format": FORMAT,
        "name": manifest.name,
        **kind,
        "modality": manifest.modality,
        "dimension": manifest.dimension,
        **({"dimensions": dimensions} if dimensions else {}),
        "owned_by": manifest.owned_by,
        "license": manifest.license,
        "released": day,
    }


def _tables(manifest: Manifest) -> Entries:
    space, _, version = manifest.space.rpartition("@")
    tables: Entries = {"space": {"id": space, "version": int(version)}}
    tables |= tables_of_spec(manifest.spec)
    if manifest.graph is not None:
        tables["graph"] = _graph(manifest.graph)
    if manifest.views is not None:
        tables["views"] = _views(manifest.views)
    if manifest.invariance is not None:
        tables["invariance"] = _invariance(manifest.invariance)
    tables["files"] = list(map(_file, manifest.files))
    tables["sources"] = list(map(_source, manifest.sources))
    return tables


def _graph(graph: Graph) -> Entries:
    if isinstance(graph, BuiltGraph):
        return _built(graph)
    output = {"output": graph.output} if graph.output else {}
    return {"file": graph.file, **output, "batch": graph.batch}


def _built(graph: BuiltGraph) -> Entries:
    shape = graph.architecture
    table: Entries = {"build": "auto" if shape is None else shape.family}
    if shape is None:
        table["config"] = graph.config
    else:
        table["heads"] = shape.heads
        table["layer_norm_eps"] = shape.layer_norm_eps
        table["activation"] = shape.activation
    table |= {"weights": graph.weights, "variant": graph.variant, "head": graph.head}
    if graph.projection:
        table["projection"] = graph.projection
    if graph.modules:
        table["modules"] = graph.modules
    return table


def _views(views: Views) -> Entries:
    orbits: Entries = {"group": views.group, "turns": views.turns}
    orbits |= {"scales": views.scales, "crop": views.crop}
    return {"pool": views.pool} | {key: orbit for key, orbit in orbits.items() if orbit}


def _invariance(promised: Invariance) -> Entries:
    return {"group": promised.group, "tolerance": promised.tolerance}


def _file(file: ModelFile) -> Entries:
    return {"path": file.path, "sha256": file.sha256, "bytes": file.size_bytes}


def _source(source: HubSource | PackageSource) -> Entries:
    if isinstance(source, HubSource):
        return {"kind": "hub", "repository": source.repository, "revision": source.revision}
    return {
        "kind": "package",
        "package": source.package,
        "version": source.version,
        "sha256": source.sha256,
    }


# ── text of tables ───────────────────────────────────────────────────────────────────────────


def _spelled(table: Entries, place: tuple[str, ...]) -> Iterator[str]:
    """The lines of a table: its values, then the tables in it, as TOML wants them."""
    inner = {key: value for key, value in table.items() if _is_inner(value)}
    for key, value in table.items():
        if key not in inner:
            yield f"{key} = {_value(value)}"
    for key, value in inner.items():
        path = (*place, key)
        brackets = "[[{}]]" if isinstance(value, list) else "[{}]"
        for one in value if isinstance(value, list) else [value]:
            yield ""
            yield brackets.format(".".join(path))
            yield from _spelled(one, path)


def _is_inner(value: Any) -> bool:
    """Whether a value is a table or a list of tables; lists of values are tuples here."""
    return isinstance(value, dict | list)


def _value(value: Any) -> str:
    if isinstance(value, str):
        # JSON's escapes are TOML's too, but TOML wants one for DEL as well.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        shown = repr(value)
        return shown if set(shown) & set(".en") else f"{shown}.0"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return value.isoformat() if isinstance(value, datetime.date) else str(value)
