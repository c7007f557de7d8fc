"""The tables of every kind of encoder, made of what was read from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.encoders.manifest.image import ImageSpec
from app.encoders.manifest.pair import PairSpec
from app.encoders.manifest.pointset import PointSetSpec
from app.encoders.manifest.pools import (
    Attend,
    Codebook,
    Context,
    Gem,
    Map,
    OrthFuse,
    PoolTable,
    TopTokens,
)
from app.encoders.manifest.record import Feature, RecordSpec
from app.encoders.manifest.router import RouterSpec
from app.encoders.manifest.text import Output, SparseOutput, TextInput, TextSpec, TokenOutput

if TYPE_CHECKING:
    from app.encoders.manifest.manifest import Spec

Entries = dict[str, Any]


def tables_of_spec(spec: Spec) -> Entries:
    """The tables that `KINDS` reads back as the same spec; a list of tables is a list in it."""
    if isinstance(spec, TextSpec):
        return _text(spec)
    if isinstance(spec, PairSpec):
        return {"pair": _pair(spec)}
    if isinstance(spec, ImageSpec):
        output = {**_given(tokens=spec.tokens), **_output(spec.output)}
        return {"image": _image(spec), "output": output}
    if isinstance(spec, RecordSpec):
        return {"record": _record(spec), "output": _normalised(spec.maps, spec.normalise)}
    if isinstance(spec, PointSetSpec):
        return {"pointset": _pointset(spec), "output": _normalised(spec.maps, spec.normalise)}
    return {"router": _router(spec), "output": {"normalise": spec.normalise}}


def _given(**entries: Any) -> Entries:
    """The entries that say something: no empty names, and no zeros that stand for nothing."""
    return {key: entry for key, entry in entries.items() if entry}


# ── texts ────────────────────────────────────────────────────────────────────────────────────


def _text(spec: TextSpec) -> Entries:
    tables: Entries = {"text": _input(spec.text)}
    if spec.output is not None:
        tables["output"] = _output(spec.output)
    if spec.tokens is not None:
        tables["tokens"] = _tokens(spec.tokens)
    if spec.sparse is not None:
        tables["sparse"] = _sparse(spec.sparse)
    return tables


def _input(text: TextInput) -> Entries:
    prompts = _given(query_prompt=text.query_prompt, document_prompt=text.document_prompt)
    return {"tokenizer": text.tokenizer, "max_tokens": text.max_tokens, **prompts}


def _output(output: Output) -> Entries:
    table: Entries = {"pool": output.pool, **_normalised(output.maps, output.normalise)}
    table["dense"] = [
        {"weights": layer.weights, "activation": layer.activation} for layer in output.dense
    ]
    if output.context is not None:
        table["context"] = _context(output.context)
    if output.table is not None:
        table[output.pool] = _pool(output.table)
    return table


def _tokens(tokens: TokenOutput) -> Entries:
    return {
        **_given(output=tokens.output),
        "dimension": tokens.dimension,
        "normalise": tokens.normalise,
        **_given(projection=tokens.projection),
        "tensor": tokens.tensor,
        "skip_special": tokens.skip_special,
        "skip_punctuation": tokens.skip_punctuation,
        **_given(query_marker=tokens.query_marker, document_marker=tokens.document_marker),
        **_given(query_tokens=tokens.query_tokens),
        "query_fill": tokens.query_fill,
        "attend_to_mask": tokens.attend_to_mask,
    }


def _sparse(sparse: SparseOutput) -> Entries:
    table = {**_given(output=sparse.output), "form": sparse.form, **_given(most=sparse.most)}
    return {**table, "min_weight": sparse.min_weight}


# ── pools and maps ───────────────────────────────────────────────────────────────────────────


def _pool(pool: PoolTable) -> Entries:
    if isinstance(pool, Gem):
        return {"p": pool.p}
    if isinstance(pool, TopTokens):
        return {"k": pool.k}
    if isinstance(pool, Attend):
        return {"query": pool.query, "temperature": pool.temperature, **_given(k=pool.k)}
    if isinstance(pool, OrthFuse):
        return {"global": pool.anchor, "lambda": pool.weight, "weights": pool.shares}
    return _codebook(pool)


def _codebook(pool: Codebook) -> Entries:
    table = {"mode": pool.mode, "words": pool.words, **_given(reference=pool.reference)}
    return table if pool.mode == "cs" else {**table, "temperature": pool.temperature}


def _context(context: Context) -> Entries:
    return {
        "k": context.k,
        "lambda": context.weight,
        "temperature": context.temperature,
        **_given(prototypes=context.prototypes),
        "emit": context.emit,
    }


def _normalised(maps: Sequence[Map], normalise: bool) -> Entries:
    return {"normalise": normalise, "maps": list(map(_map, maps))}


def _map(one: Map) -> Entries:
    files = _given(mean=one.mean, matrix=one.matrix, bias=one.bias)
    return {"op": one.op, **files, **_given(dimension=one.dimension)}


# ── images ───────────────────────────────────────────────────────────────────────────────────


def _image(spec: ImageSpec) -> Entries:
    framing = spec.framing
    if framing is None:
        return {"preprocessor": spec.preprocessor}
    return {
        "resize": framing.resize,
        "size": framing.edges,
        "resample": framing.resample,
        **_given(crop=framing.crop),
        "rescale": framing.rescale,
        "mean": framing.mean,
        "std": framing.std,
        "channels": framing.channels,
    }


# ── others ───────────────────────────────────────────────────────────────────────────────────


def _pair(spec: PairSpec) -> Entries:
    return {
        "tokenizer": spec.tokenizer,
        "max_tokens": spec.max_tokens,
        "truncate": spec.truncate,
        "labels": spec.labels,
        "label": spec.label,
        "activation": spec.activation,
    }


def _record(spec: RecordSpec) -> Entries:
    table = {"rows": spec.rows, "width": spec.width, "seed": spec.seed, **_given(table=spec.table)}
    return {**table, "features": list(map(_feature, spec.features))}


def _feature(feature: Feature) -> Entries:
    table: Entries = {
        "name": feature.name,
        "kind": feature.kind,
        "weight": feature.weight,
        "lookups": feature.lookups,
    }
    if feature.kind == "number":
        table |= {"low": feature.low, "high": feature.high, "buckets": feature.buckets}
    return table


def _pointset(spec: PointSetSpec) -> Entries:
    return {
        "axes": spec.axes,
        "normals": spec.normals,
        "chirality": spec.chirality,
        "bins": spec.bins,
        "unit": spec.unit,
        "max_points": spec.max_points,
    }


def _router(spec: RouterSpec) -> Entries:
    table: Entries = {"experts": spec.experts, "by": spec.by}
    if spec.by == "centroid":
        table |= {"light": spec.light, "centroids": spec.centroids, "mix": spec.mix}
        table["temperature"] = spec.temperature
    table |= _given(default=spec.default, probes=spec.probes)
    return {**table, "agreement": spec.agreement, "max_tokens": spec.max_tokens}
