"""A nearest-neighbour question as a value, so that one can be asked alone or many at once."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ._filters import FilterLike
from ._images import ImageLike, image_to_wire
from ._points import PointId
from ._vectors import SparseVector, TokenVectors, Vector, vector_to_base64, vector_to_wire


@dataclass(frozen=True, slots=True)
class Rerank:
    """Recall more points than are wanted, and let a reranker order them.

    model       None for the service's default one
    field       a string attribute that is read; the points' own texts if neither this nor
                `template` is given
    template    several attributes, in braces: "{title}. {abstract}"
    query       what the points are compared with, if not the query's own text
    candidates  how many points are recalled; None lets the service choose

    >>> Rerank("tiny-cross", field="title").field
    'title'
    """

    model: str | None = None
    _: KW_ONLY
    field: str | None = None
    template: str | None = None
    query: str | None = None
    candidates: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What to search for and what to return; give exactly one of `text`, `image`, `record`,
    `vector` and `id`.

    image            bytes, a path or a URL
    record           named values, for an encoder of records
    encoder          reads the text, image or record instead of the vector's own; of the same space
    id               a stored point, whose neighbours are wanted; it is left out of the answer
    using            the vector to search, needed only where the collection has several
    score_threshold  hits below it are left out
    fields           attributes to return; None for all
    ef               search width of graphs; None lets the service choose
    exact            whether approximation is forbidden
    rerank           who orders the hits by another model: a `Rerank`, or a dict with its keys
    using            may also weigh several vectors: {"title": 2, "body": 1}
    query            a composition in the place of a single thing, as docs/queries.md has it;
                     vectors in it may be lists or arrays, sparse ones a `SparseVector` or a dict
                     of `indices` and `values`, images bytes
    prefetch, fuse, normalise, hybrid, rescore   the parts of a plan, likewise
    boost            functions of attributes that raise and lower scores
    diversity        how hits are chosen that differ: "mmr", "dpp", or an object
    order_by         the attribute that orders all points that pass, or a query's candidates
    group_by         the attribute whose values make groups: hits come group after group
    correct          the query bank by which hubs are corrected: docs/similarity/fusion.md

    >>> Query("a white whale", filter={"year": {"$lt": 1900}}, k=3).k
    3
    """

    text: str | None = None
    _: KW_ONLY
    image: ImageLike | None = None
    record: Mapping[str, object] | None = None
    encoder: str | None = None
    vector: Vector | None = None
    id: PointId | None = None
    using: str | Mapping[str, float] | None = None
    filter: FilterLike | None = None
    k: int = 10
    offset: int = 0
    score_threshold: float | None = None
    fields: Sequence[str] | None = None
    with_text: bool = True
    with_vectors: bool = False
    ef: int | None = None
    exact: bool = False
    explain: bool = False
    rerank: RerankLike | None = None
    query: Mapping[str, Any] | None = None
    prefetch: Sequence[Mapping[str, Any]] | None = None
    fuse: str | Mapping[str, Any] | None = None
    normalise: str | Mapping[str, Any] | Sequence[Any] | None = None
    hybrid: bool | Mapping[str, Any] | None = None
    rescore: Mapping[str, Any] | None = None
    boost: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None
    diversity: str | Mapping[str, Any] | None = None
    order_by: str | Mapping[str, Any] | None = None
    group_by: str | Mapping[str, Any] | None = None
    correct: str | Mapping[str, Any] | None = None


RerankLike: TypeAlias = "Rerank | Mapping[str, Any]"
"""A `Rerank`, or a dict with the same keys."""

QueryLike: TypeAlias = "Query | Mapping[str, Any]"
"""A `Query`, or a dict with the same keys."""


def query_to_wire(query: QueryLike) -> dict[str, object]:
    """Return the query as the service reads it; raises TypeError for unknown keys of a dict."""
    if isinstance(query, Mapping):
        query = Query(**query)
    params: dict[str, object] = {}
    if query.ef is not None:
        params["ef"] = query.ef
    if query.exact:
        params["exact"] = True
    wire = {
        "text": query.text,
        "image": image_to_wire(query.image) if query.image is not None else None,
        "record": query.record,
        "encoder": query.encoder,
        "vector": vector_to_base64(query.vector) if query.vector is not None else None,
        "id": query.id,
        "using": query.using,
        "filter": query.filter,
        "k": query.k,
        "offset": query.offset or None,
        "score_threshold": query.score_threshold,
        "params": params or None,
        "explain": query.explain or None,
        "rerank": _rerank_to_wire(query.rerank),
        **{name: plain(getattr(query, name)) for name in _PLAN},
        **projection_to_wire(query.fields, query.with_text, query.with_vectors),
    }
    return given(wire)


_PLAN = (
    "query",
    "prefetch",
    "fuse",
    "normalise",
    "hybrid",
    "rescore",
    "boost",
    "diversity",
    "order_by",
    "group_by",
    "correct",
)
"""Parts of a plan: sent as they are, with vectors and images in the form of the wire."""


def plain(value: Any) -> Any:
    """Return a part of a plan as JSON can hold it: images and vectors in the form of the wire."""
    if isinstance(value, SparseVector | TokenVectors):
        return vector_to_wire(value)
    if isinstance(value, Mapping):
        return {name: _member(name, inner) for name, inner in value.items()}
    if isinstance(value, bytes | Path):
        return image_to_wire(value)
    if isinstance(value, array) or hasattr(value, "__array__"):
        return value.tolist() if getattr(value, "ndim", 1) != 1 else vector_to_base64(value)
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def _member(name: str, value: Any) -> Any:
    if name == "sparse" and isinstance(value, Mapping) and value.keys() == {"indices", "values"}:
        return vector_to_wire(value)
    return plain(value)


def _rerank_to_wire(rerank: RerankLike | None) -> dict[str, object] | None:
    if rerank is None:
        return None
    if isinstance(rerank, Mapping):
        rerank = Rerank(**rerank)
    return given(
        {
            "model": rerank.model,
            "field": rerank.field,
            "template": rerank.template,
            "query": rerank.query,
            "candidates": rerank.candidates,
        }
    )


def projection_to_wire(
    fields: Sequence[str] | None, with_text: bool, with_vectors: bool
) -> dict[str, object]:
    """Return which parts of a point to send back; vectors always as base64."""
    if isinstance(fields, str):
        raise TypeError("expected a list of field names, received one string")
    return given(
        {
            "fields": list(fields) if fields is not None else None,
            "with_text": with_text,
            "with_vectors": with_vectors,
            "encoding_format": "base64" if with_vectors else None,
        }
    )


def given(wire: Mapping[str, object]) -> dict[str, object]:
    """Drop what was left out: None is "not given" in every body the SDK sends."""
    return {key: value for key, value in wire.items() if value is not None}
