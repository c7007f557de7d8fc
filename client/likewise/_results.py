"""What the service answers, as frozen values.

Field names are the wire's own. Every `…_from_json` takes the parsed body, ignores fields it does
not know (v1 may grow), and lets KeyError, TypeError or ValueError escape where one it needs is
missing or of another kind: `_flows.exchange` turns those into one VersionError.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ._listed import Listed
from ._points import PointId
from ._vectors import (
    SparseVector,
    StoredVector,
    TokenVectors,
    sparse_from_json,
    stored_from_json,
    to_numpy,
    tokens_from_json,
    vector_from_base64,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Json = Mapping[str, Any]
Output = TypeVar("Output", bound="TokenVectors | SparseVector | EveryOutput", covariant=True)
OutputKind = Literal["dense", "tokens", "sparse", "all"]


# ── points ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Record:
    """A stored point. Vectors are float32 as they were given; None where not asked for.

    vectors      `array("f")`, `TokenVectors` or `SparseVector`, by the kind of the field
    expires_at   when it ceases to exist, if ever: RFC 3339 in UTC
    """

    id: PointId
    attributes: dict[str, Any]
    text: str | None = None
    vectors: dict[str, StoredVector] | None = None
    expires_at: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a query. The score is higher for better in every metric.

    expires_at     as in `Record`
    rerank_score   by the reranker, where one was asked for and had something to read
    group          the value that its group shares, where hits are grouped
    scores, notes  what each stage of a plan made of it, where it was explained
    """

    id: PointId
    score: float
    attributes: dict[str, Any]
    text: str | None = None
    vectors: dict[str, StoredVector] | None = None
    expires_at: str | None = None
    rerank_score: float | None = None
    group: str | int | float | bool | None = None
    scores: dict[str, float] | None = None
    notes: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class QueryResult(Listed[Hit]):
    """The hits of a query, best first; iterate or index it as a list.

    matches   points that passed the filter, counted exactly
    plan      how the search ran: "empty", "exact", "graph" or "mixed"
    exact     whether these are certainly the nearest points
    took_ms   milliseconds inside the service
    explain   the plan in full, if the query asked for it
    """

    hits: tuple[Hit, ...]
    matches: int
    plan: str
    exact: bool
    took_ms: float
    explain: dict[str, Any] | None = None

    @property
    def _items(self) -> tuple[Hit, ...]:
        return self.hits


@dataclass(frozen=True, slots=True)
class Records(Listed[Record]):
    """The points found, in the order asked for; `missing` lists the ids that do not exist."""

    records: tuple[Record, ...]
    missing: tuple[PointId, ...]

    @property
    def _items(self) -> tuple[Record, ...]:
        return self.records


@dataclass(frozen=True, slots=True)
class Facets(Mapping[str, dict[str, Any]]):
    """What was counted, by the names that were given: `facets["years"]["values"]`.

    points    how many points were looked at
    facets    of each name what its kind tells: docs/api.md, `POST …/points/facets`
    took_ms   milliseconds inside the service
    """

    points: int
    facets: dict[str, dict[str, Any]]
    took_ms: float

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.facets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.facets)

    def __len__(self) -> int:
        return len(self.facets)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a scroll; `next_cursor` continues it, None ends it."""

    records: tuple[Record, ...]
    next_cursor: str | None


def record_from_json(body: Json) -> Record:
    return Record(
        body["id"],
        dict(body["attributes"]),
        body.get("text"),
        _vectors(body),
        body.get("expires_at"),
    )


def facets_from_json(body: Json) -> Facets:
    found = {name: dict(one) for name, one in body["facets"].items()}
    return Facets(body["points"], found, body["took_ms"])


def hit_from_json(body: Json) -> Hit:
    return Hit(
        body["id"],
        float(body["score"]),
        dict(body["attributes"]),
        body.get("text"),
        _vectors(body),
        body.get("expires_at"),
        body.get("rerank_score"),
        body.get("group"),
        body.get("scores"),
        body.get("notes"),
    )


def query_result_from_json(body: Json) -> QueryResult:
    return QueryResult(
        hits=tuple(hit_from_json(point) for point in body["points"]),
        matches=body["matches"],
        plan=body["plan"],
        exact=body["exact"],
        took_ms=body["took_ms"],
        explain=body.get("explain"),
    )


def query_results_from_json(body: Json) -> list[QueryResult]:
    return [query_result_from_json(result) for result in body["results"]]


def records_from_json(body: Json) -> Records:
    return Records(
        records=tuple(record_from_json(point) for point in body["points"]),
        missing=tuple(body["missing"]),
    )


def page_from_json(body: Json) -> Page:
    return Page(
        records=tuple(record_from_json(point) for point in body["points"]),
        next_cursor=body["next_cursor"],
    )


def _vectors(body: Json) -> dict[str, StoredVector] | None:
    vectors = body.get("vectors")
    if vectors is None:
        return None
    return {name: stored_from_json(vector) for name, vector in vectors.items()}


# ── collections ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class VectorInfo:
    """One named vector of a collection; `encoder` is None where callers bring vectors.

    dimension   of a vector, or of each token's; None for sparse ones
    kind        "dense", "tokens" or "sparse"
    """

    dimension: int | None
    metric: str
    encoder: str | None
    kind: str = "dense"


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """How graphs are built."""

    m: int
    ef_construction: int


@dataclass(frozen=True, slots=True)
class LexicalInfo:
    """The words that are indexed: weights of fields, and the language of the stemmer."""

    fields: dict[str, float]
    language: str | None


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """One searchable piece of a collection: the "head" of newest points, or a "graph"."""

    kind: str
    points: int
    deleted: int


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection's definition and state.

    schema      declared kinds of attribute fields
    lexical     the full-text index, if there is one
    points      live points
    building    whether a background build is running or waiting
    created_at  RFC 3339
    """

    name: str
    vectors: dict[str, VectorInfo]
    schema: dict[str, str]
    index: IndexInfo
    points: int
    segments: tuple[SegmentInfo, ...]
    building: bool
    created_at: str
    lexical: LexicalInfo | None = None


def collection_from_json(body: Json) -> CollectionInfo:
    return CollectionInfo(
        name=body["name"],
        vectors={name: _vector_info(vector) for name, vector in body["vectors"].items()},
        schema=dict(body["schema"]),
        index=IndexInfo(body["index"]["m"], body["index"]["ef_construction"]),
        points=body["points"],
        segments=tuple(_segment_info(segment) for segment in body["segments"]),
        building=body["building"],
        created_at=body["created_at"],
        lexical=_lexical_info(body.get("lexical")),
    )


def collections_from_json(body: Json) -> list[CollectionInfo]:
    return [collection_from_json(collection) for collection in body["collections"]]


def _vector_info(body: Json) -> VectorInfo:
    return VectorInfo(body["dimension"], body["metric"], body["encoder"], body.get("kind", "dense"))


def _lexical_info(body: Json | None) -> LexicalInfo | None:
    return None if body is None else LexicalInfo(dict(body["fields"]), body["language"])


def _segment_info(body: Json) -> SegmentInfo:
    return SegmentInfo(body["kind"], body["points"], body["deleted"])


# ── snapshots ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot that the service keeps.

    collection  what it was taken of
    size        bytes of the file
    sha256      of the file, hexadecimal
    version     of the service that took it
    created_at  when it was taken: RFC 3339
    """

    name: str
    collection: str
    points: int
    size: int
    sha256: str
    version: str
    created_at: str


def snapshot_from_json(body: Json) -> SnapshotInfo:
    return SnapshotInfo(
        name=body["name"],
        collection=body["collection"],
        points=body["points"],
        size=body["size"],
        sha256=body["sha256"],
        version=body["version"],
        created_at=body["created_at"],
    )


def snapshots_from_json(body: Json) -> list[SnapshotInfo]:
    return [snapshot_from_json(snapshot) for snapshot in body["snapshots"]]


# ── the service ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Model:
    """An encoder of the service; status is "ready", "loading" or "unavailable".

    outputs      what it makes: "dense", "tokens", "sparse", "score"
    dimensions   shorter lengths that its vectors may be cut to, or "any"
    token_dimension   numbers of the vector of each token
    """

    id: str
    dimension: int
    max_tokens: int
    modality: str
    space: str
    status: str
    outputs: tuple[str, ...]
    detail: str | None = None
    dimensions: tuple[int, ...] | Literal["any"] = ()
    token_dimension: int | None = None


@dataclass(frozen=True, slots=True)
class Embeddings(Listed["array[float]"]):
    """The vectors of some texts, in their order; iterate or index it as a list.

    tokens   how many tokens the encoder read
    """

    vectors: tuple[array[float], ...]
    model: str
    tokens: int

    @property
    def _items(self) -> tuple[array[float], ...]:
        return self.vectors

    def to_numpy(self) -> NDArray[np.float32]:
        """Return the vectors as float32 `[text, dim]`. Raises ImportError without numpy."""
        return to_numpy(self.vectors)


@dataclass(frozen=True, slots=True)
class EveryOutput:
    """All that an encoder makes of one text; None for what it does not make."""

    dense: array[float] | None
    tokens: TokenVectors | None
    sparse: SparseVector | None


@dataclass(frozen=True, slots=True)
class Encodings(Listed[Output]):
    """What was made of some texts, in their order; iterate or index it as a list.

    tokens   how many tokens the encoder read
    """

    outputs: tuple[Output, ...]
    model: str
    tokens: int

    @property
    def _items(self) -> tuple[Output, ...]:
        return self.outputs


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document: its place in the list that was sent, and its score, higher for better."""

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Reranking(Listed[Ranked]):
    """Documents in their new order, best first; iterate or index it as a list.

    tokens   how many tokens the reranker read
    """

    ranked: tuple[Ranked, ...]
    model: str
    tokens: int

    @property
    def _items(self) -> tuple[Ranked, ...]:
        return self.ranked


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the service can work, and which part cannot.

    status      "ready", "degraded", "starting" or "stopping"
    components  facts by part, each with a "status" of its own
    """

    status: str
    components: dict[str, dict[str, Any]]

    @property
    def can_serve(self) -> bool:
        """Whether requests are taken: "degraded" is, with some part out of order."""
        return self.status in ("ready", "degraded")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service takes in one request."""

    max_body_bytes: int
    max_batch: int
    max_queries: int
    max_k: int
    max_inputs: int
    max_documents: int
    max_text_chars: int
    max_image_bytes: int
    max_image_pixels: int
    max_filter_nodes: int
    max_attributes_bytes: int
    max_line_bytes: int
    max_import_bytes: int
    max_snapshot_bytes: int


@dataclass(frozen=True, slots=True)
class LineError:
    """A line that an import left out; `pointer` is a place in that line."""

    line: int
    code: str
    detail: str
    pointer: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the lines of an import: `upserted`, `failed` and `blank` count them.

    next_line   number of the first line that was not looked at
    errors      the first lines that were left out
    """

    next_line: int
    upserted: int
    failed: int
    blank: int
    errors: tuple[LineError, ...]


@dataclass(frozen=True, slots=True)
class Info:
    """Which service answered: its name, its version and the API it speaks."""

    name: str
    version: str
    api: str


def models_from_json(body: Json) -> list[Model]:
    return [model_from_json(model) for model in body["data"]]


def model_from_json(body: Json) -> Model:
    dimensions = body["dimensions"]
    return Model(
        id=body["id"],
        dimension=body["dimension"],
        max_tokens=body["max_tokens"],
        modality=body["modality"],
        space=body["space"],
        status=body["status"],
        outputs=tuple(body["outputs"]),
        detail=body.get("detail"),
        dimensions="any" if dimensions == "any" else tuple(dimensions),
        token_dimension=body.get("token_dimension"),
    )


def reranking_from_json(body: Json) -> Reranking:
    return Reranking(
        ranked=tuple(Ranked(one["index"], one["relevance_score"]) for one in body["results"]),
        model=body["model"],
        tokens=body["usage"]["total_tokens"],
    )


def embeddings_from_json(body: Json) -> Embeddings:
    in_order = sorted(body["data"], key=lambda entry: int(entry["index"]))
    return Embeddings(
        vectors=tuple(vector_from_base64(entry["embedding"]) for entry in in_order),
        model=body["model"],
        tokens=body["usage"]["total_tokens"],
    )


def encodings_from_json(body: Json, kind: OutputKind) -> Encodings[Any]:
    read = {"tokens": tokens_from_json, "sparse": sparse_from_json, "all": _all_from_json}[kind]
    in_order = sorted(body["data"], key=lambda entry: int(entry["index"]))
    return Encodings(
        outputs=tuple(read(entry["embedding"]) for entry in in_order),
        model=body["model"],
        tokens=body["usage"]["total_tokens"],
    )


def _all_from_json(output: Json) -> EveryOutput:
    dense, tokens, sparse = (output.get(kind) for kind in ("dense", "tokens", "sparse"))
    return EveryOutput(
        dense=None if dense is None else vector_from_base64(dense),
        tokens=None if tokens is None else tokens_from_json(tokens),
        sparse=None if sparse is None else sparse_from_json(sparse),
    )


def readiness_from_json(body: Json) -> Readiness:
    return Readiness(
        status=body["status"],
        components={name: dict(facts) for name, facts in body.get("components", {}).items()},
    )


def limits_from_json(body: Json) -> Limits:
    return Limits(
        max_body_bytes=body["max_body_bytes"],
        max_batch=body["max_batch"],
        max_queries=body["max_queries"],
        max_k=body["max_k"],
        max_inputs=body["max_inputs"],
        max_documents=body["max_documents"],
        max_text_chars=body["max_text_chars"],
        max_image_bytes=body["max_image_bytes"],
        max_image_pixels=body["max_image_pixels"],
        max_filter_nodes=body["max_filter_nodes"],
        max_attributes_bytes=body["max_attributes_bytes"],
        max_line_bytes=body["max_line_bytes"],
        max_import_bytes=body["max_import_bytes"],
        max_snapshot_bytes=body["max_snapshot_bytes"],
    )


def import_report_from_json(body: Json) -> ImportReport:
    return ImportReport(
        next_line=body["next_line"],
        upserted=body["upserted"],
        failed=body["failed"],
        blank=body["blank"],
        errors=tuple(
            LineError(error["line"], error["code"], error["detail"], error["pointer"])
            for error in body.get("errors") or ()
        ),
    )


def info_from_json(body: Json) -> Info:
    return Info(body["name"], body["version"], body["api"])
