"""Every endpoint as a pure pair: arguments to a request, a response to a result or an error.

Nothing here opens a connection, waits or remembers. A `Call` holds the request and the function
that reads its answer; `_flows` decides what to do with failures; `_sync` and `_async` move bytes.
A new endpoint is a function here, and one line in each client.
"""

from __future__ import annotations

import email.utils
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote

from ._errors import (
    ApiError,
    ConflictError,
    LikewiseError,
    Problem,
    VersionError,
    error_from_problem,
)
from ._evaluation import Evaluation, EvaluationTask, evaluation_from_json
from ._files import Incoming, Outgoing
from ._filters import FilterLike
from ._images import input_to_wire
from ._json import to_json
from ._kept import (
    AskedLike,
    Calibration,
    LabelledLike,
    QueryBank,
    calibration_from_json,
    calibrations_from_json,
    labelled_to_wire,
    queries_to_wire,
    query_bank_from_json,
    query_banks_from_json,
)
from ._memory import (
    Classifications,
    Classifier,
    Kept,
    ThingLike,
    Threshold,
    Verifications,
    classifications_from_json,
    classifier_from_json,
    judging_to_wire,
    kept_from_json,
    pairs_to_wire,
    thing_to_wire,
    things_to_wire,
    threshold_from_json,
    verifications_from_json,
    verify_to_wire,
)
from ._points import Batch, PointId
from ._queries import QueryLike, given, plain, projection_to_wire, query_to_wire
from ._results import (
    CollectionInfo,
    Embeddings,
    Encodings,
    Facets,
    ImportReport,
    Info,
    Json,
    Limits,
    Model,
    OutputKind,
    Page,
    QueryResult,
    Readiness,
    Records,
    Reranking,
    SnapshotInfo,
    collection_from_json,
    collections_from_json,
    embeddings_from_json,
    encodings_from_json,
    facets_from_json,
    import_report_from_json,
    info_from_json,
    limits_from_json,
    model_from_json,
    models_from_json,
    page_from_json,
    query_result_from_json,
    query_results_from_json,
    readiness_from_json,
    records_from_json,
    reranking_from_json,
    snapshot_from_json,
    snapshots_from_json,
)
from ._version import API_VERSION

T = TypeVar("T")

_LINES = "application/x-ndjson"

TextLike: TypeAlias = "str | Sequence[int] | Mapping[str, object] | os.PathLike[str]"
"""A text; the ids of its tokens, made with the encoder's own tokenizer; an image as the bytes or
the path of its file; or `{"text": …}` or `{"image": …}`."""

Metric = Literal["cosine", "ip", "l2"]
VectorKind = Literal["dense", "tokens", "sparse"]
Kind = Literal["keyword", "integer", "float", "bool", "datetime", "geo"]


class VectorDefinition(TypedDict, total=False):
    """One named vector: an encoder, or a dimension for vectors that callers bring.

    kind   "dense" if left out; "tokens" for a vector for each token, "sparse" for weights of a
           vocabulary, which have no dimension
    """

    kind: VectorKind
    dimension: int
    metric: Metric
    encoder: str


class LexicalDefinition(TypedDict, total=False):
    """Which fields' words are indexed: names or weights; "$text" is the points' own text."""

    fields: Sequence[str] | Mapping[str, float]
    language: Literal["english"] | None


class IndexDefinition(TypedDict, total=False):
    """How graphs are built: links per row, and the width of the search that finds them."""

    m: int
    ef_construction: int


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. The path is percent-encoded and relative to the base URL.

    headers   beside, or instead of, those of every request
    outgoing  a file to send in place of `content`
    incoming  where a good answer goes, whose content is empty then
    sink      takes the content of a good answer as it comes, which is empty then
    patient   whether the answer may take as long as it takes: only connecting is timed
    """

    method: str
    path: str
    content: bytes | None = None
    headers: Mapping[str, str] | None = None
    outgoing: Outgoing | None = None
    incoming: Incoming | None = None
    sink: Callable[[bytes], object] | None = None
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request and the meaning of its answer.

    read        called for 2xx and for `also_read`
    repeatable  whether a second execution gives an answer as good as the first: see `_retry`
    probing     whether the caller wants to know the state now, so that nothing is retried
    """

    request: Request
    read: Callable[[Response], T]
    repeatable: bool = True
    probing: bool = False
    also_read: frozenset[int] = frozenset()

    def accepts(self, status: int) -> bool:
        return 200 <= status < 300 or status in self.also_read


# ── the service ──────────────────────────────────────────────────────────────────────────────


def health() -> Call[None]:
    return Call(Request("GET", "/healthz"), _nothing, probing=True)


def ready() -> Call[Readiness]:
    return Call(
        Request("GET", "/readyz"),
        _body(readiness_from_json),
        probing=True,
        also_read=frozenset({HTTPStatus.SERVICE_UNAVAILABLE}),
    )


def info() -> Call[Info]:
    def read(body: Json) -> Info:
        found = info_from_json(body)
        if found.name != "likewise" or found.api != API_VERSION:
            raise VersionError(
                f"expected a likewise service that speaks API {API_VERSION}, "
                f"found {found.name} {found.version} that speaks {found.api}"
            )
        return found

    return Call(Request("GET", "/v1/info"), _body(read))


def limits() -> Call[Limits]:
    return Call(Request("GET", "/v1/limits"), _body(limits_from_json))


def models() -> Call[list[Model]]:
    return Call(Request("GET", "/v1/models"), _body(models_from_json))


def describe_model(name: str) -> Call[Model]:
    return Call(Request("GET", _model_path(name)), _body(model_from_json))


def load_model(name: str) -> Call[Model]:
    return Call(Request("POST", _model_path(name, "/load")), _body(model_from_json))


def unload_model(name: str) -> Call[Model]:
    # It waits for the texts that others have sent.
    request = Request("POST", _model_path(name, "/unload"), patient=True)
    return Call(request, _body(model_from_json))


def embed(
    texts: Sequence[TextLike],
    *,
    model: str | None,
    input_type: Literal["query", "document"] | None,
    dimensions: int | None,
    output: OutputKind = "dense",
) -> Call[Embeddings | Encodings[Any]]:
    body = {
        "input": [input_to_wire(text) for text in texts],
        "model": model,
        "input_type": input_type,
        "dimensions": dimensions,
        "output": None if output == "dense" else output,
        "encoding_format": "base64",
    }
    if output == "dense":
        return Call(_post("/v1/embeddings", body), _body(embeddings_from_json))
    return Call(
        _post("/v1/embeddings", body), _body(lambda answer: encodings_from_json(answer, output))
    )


def rerank(
    query: str,
    documents: Sequence[str | Mapping[str, object]],
    *,
    model: str | None,
    top_n: int | None,
    rank_fields: Sequence[str] | None,
    max_tokens_per_doc: int | None,
) -> Call[Reranking]:
    if isinstance(documents, str):
        raise TypeError("expected a list of documents; a string would be taken letter by letter")
    body = {
        "query": query,
        "documents": list(documents),
        "model": model,
        "top_n": top_n,
        "rank_fields": None if rank_fields is None else list(rank_fields),
        "max_tokens_per_doc": max_tokens_per_doc,
    }
    return Call(_post("/v1/rerank", body), _body(reranking_from_json))


# ── collections ──────────────────────────────────────────────────────────────────────────────


def create_collection(
    name: str,
    *,
    vectors: Mapping[str, VectorDefinition] | None,
    kind: VectorKind | None,
    dimension: int | None,
    metric: Metric | None,
    encoder: str | None,
    schema: Mapping[str, Kind] | None,
    index: IndexDefinition | None,
    lexical: LexicalDefinition | bool | None,
    exist_ok: bool,
) -> Call[CollectionInfo]:
    body = {
        "vectors": vectors,
        "kind": kind,
        "dimension": dimension,
        "metric": metric,
        "encoder": encoder,
        "schema": schema,
        "index": index,
        "lexical": lexical,
    }

    def read(response: Response) -> CollectionInfo:
        if response.status == HTTPStatus.OK and not exist_ok:
            raise ConflictError(
                Problem(
                    status=HTTPStatus.CONFLICT,
                    code="collection-exists",
                    title="Collection exists",
                    detail=f"a collection named {name!r} exists already, with this definition",
                    request_id=response.headers.get("x-request-id"),
                )
            )
        return _body(collection_from_json)(response)

    # Created and then told that it exists is the wrong answer for whoever forbade existing ones.
    request = Request("PUT", _collection_path(name), to_json(given(body)))
    return Call(request, read, repeatable=exist_ok)


def collections() -> Call[list[CollectionInfo]]:
    return Call(Request("GET", "/v1/collections"), _body(collections_from_json))


def describe(name: str) -> Call[CollectionInfo]:
    return Call(Request("GET", _collection_path(name)), _body(collection_from_json))


def alter(
    name: str,
    *,
    schema: Mapping[str, Kind | None] | None,
    index: IndexDefinition | None,
    lexical: LexicalDefinition | bool | None,
) -> Call[CollectionInfo]:
    body = given({"schema": schema, "index": index, "lexical": lexical})
    if lexical is False:
        body["lexical"] = None  # which drops it, where None here is "as it is"
    request = Request("PATCH", _collection_path(name), to_json(body))
    return Call(request, _body(collection_from_json))


def drop(name: str) -> Call[None]:
    # Dropped and then told that there is none is the wrong answer.
    return Call(Request("DELETE", _collection_path(name)), _nothing, repeatable=False)


# ── snapshots ────────────────────────────────────────────────────────────────────────────────

# What makes or removes something under a name is not repeated: it would be told that the name is
# taken, or gone.


def take_snapshot(collection: str, name: str | None) -> Call[SnapshotInfo]:
    body = to_json(given({"name": name}))
    request = Request("POST", f"{_collection_path(collection)}/snapshots", body, patient=True)
    return Call(request, _body(snapshot_from_json), repeatable=False)


def snapshots() -> Call[list[SnapshotInfo]]:
    return Call(Request("GET", "/v1/snapshots"), _body(snapshots_from_json))


def describe_snapshot(name: str) -> Call[SnapshotInfo]:
    return Call(Request("GET", _snapshot_path(name)), _body(snapshot_from_json))


def download_snapshot(name: str, incoming: Incoming | None) -> Call[str]:
    """The result is the answer's ETag."""
    request = Request("GET", _snapshot_path(name, "/file"), incoming=incoming, patient=True)
    return Call(request, lambda response: response.headers["etag"])


def upload_snapshot(name: str, outgoing: Outgoing) -> Call[SnapshotInfo]:
    headers = {
        "content-type": "application/octet-stream",
        "content-length": str(outgoing.size),
        "x-content-sha256": outgoing.sha256,
    }
    request = Request(
        "PUT", _snapshot_path(name, "/file"), headers=headers, outgoing=outgoing, patient=True
    )
    return Call(request, _body(snapshot_from_json), repeatable=False)


def drop_snapshot(name: str) -> Call[None]:
    return Call(Request("DELETE", _snapshot_path(name)), _nothing, repeatable=False)


def restore_snapshot(name: str, collection: str | None, *, replace: bool) -> Call[CollectionInfo]:
    body = to_json(given({"collection": collection, "replace": replace}))
    request = Request("POST", _snapshot_path(name, "/restore"), body, patient=True)
    return Call(request, _body(collection_from_json), repeatable=False)


# ── what is kept beside the points ───────────────────────────────────────────────────────────


def put_query_bank(
    collection: str,
    bank: str,
    *,
    using: str | None,
    queries: Iterable[AskedLike] | None,
    sample: Mapping[str, object] | None,
    method: str | Sequence[str] | None,
    strength: float | Sequence[float] | None,
    k: int | None,
    tau: float | None,
    dev: Iterable[LabelledLike] | None,
    candidates: int | None,
) -> Call[QueryBank]:
    body = given(
        {
            "using": using,
            "queries": queries_to_wire(queries),
            "sample": sample,
            "method": method,
            "strength": strength,
            "k": k,
            "tau": tau,
            "dev": labelled_to_wire(dev),
            "candidates": candidates,
        }
    )
    path = _kept_path(collection, "query-banks", bank)
    request = Request("PUT", path, to_json(body), patient=True)
    return Call(request, _body(query_bank_from_json))


def query_bank(collection: str, bank: str) -> Call[QueryBank]:
    path = _kept_path(collection, "query-banks", bank)
    return Call(Request("GET", path), _body(query_bank_from_json))


def query_banks(collection: str) -> Call[list[QueryBank]]:
    path = f"{_collection_path(collection)}/query-banks"
    return Call(Request("GET", path), _body(query_banks_from_json))


def drop_query_bank(collection: str, bank: str) -> Call[None]:
    path = _kept_path(collection, "query-banks", bank)
    return Call(Request("DELETE", path), _nothing, repeatable=False)


def put_calibration(
    collection: str,
    calibration: str,
    *,
    scores: Iterable[float] | None,
    matches: Iterable[bool] | None,
    using: str | None,
    dev: Iterable[LabelledLike] | None,
    candidates: int | None,
    method: str | None,
) -> Call[Calibration]:
    body = given(
        {
            "scores": None if scores is None else [float(one) for one in scores],
            "matches": None if matches is None else [bool(one) for one in matches],
            "using": using,
            "dev": labelled_to_wire(dev),
            "candidates": candidates,
            "method": method,
        }
    )
    path = _kept_path(collection, "calibrations", calibration)
    request = Request("PUT", path, to_json(body), patient=True)
    return Call(request, _body(calibration_from_json))


def calibration(collection: str, calibration: str) -> Call[Calibration]:
    path = _kept_path(collection, "calibrations", calibration)
    return Call(Request("GET", path), _body(calibration_from_json))


def calibrations(collection: str) -> Call[list[Calibration]]:
    path = f"{_collection_path(collection)}/calibrations"
    return Call(Request("GET", path), _body(calibrations_from_json))


def drop_calibration(collection: str, calibration: str) -> Call[None]:
    path = _kept_path(collection, "calibrations", calibration)
    return Call(Request("DELETE", path), _nothing, repeatable=False)


# ── points ───────────────────────────────────────────────────────────────────────────────────


def upsert(collection: str, batch: Batch) -> Call[int]:
    request = Request("PUT", _points_path(collection), batch.body)
    return Call(request, _body(lambda body: int(body["upserted"])))


def patch(
    collection: str,
    *,
    ids: Iterable[PointId] | None,
    filter: FilterLike | None,
    set: Mapping[str, object] | None,
    unset: Sequence[str] | None,
    expires_at: datetime | str | None = None,
    never_expires: bool = False,
) -> Call[int]:
    if never_expires and expires_at is not None:
        raise ValueError("give either expires_at or never_expires")
    changes = given(
        {
            "set": set,
            "unset": list(unset) if unset is not None else None,
            "expires_at": expires_at,
        }
    )
    if never_expires:
        changes["expires_at"] = None
    body = to_json({**_selection(ids, filter), **changes})
    request = Request("PATCH", _points_path(collection), body)
    return Call(request, _body(lambda answer: int(answer["updated"])))


def get(
    collection: str,
    ids: Iterable[PointId],
    *,
    fields: Sequence[str] | None,
    with_text: bool,
    with_vectors: bool,
) -> Call[Records]:
    body = {"ids": _ids(ids), **projection_to_wire(fields, with_text, with_vectors)}
    return Call(_post(_points_path(collection, "/get"), body), _body(records_from_json))


def delete(
    collection: str, *, ids: Iterable[PointId] | None, filter: FilterLike | None
) -> Call[int]:
    request = _post(_points_path(collection, "/delete"), _selection(ids, filter))
    return Call(request, _body(lambda body: int(body["deleted"])))


def count(collection: str, filter: FilterLike | None) -> Call[int]:
    request = _post(_points_path(collection, "/count"), {"filter": filter})
    return Call(request, _body(lambda body: int(body["count"])))


def facets(
    collection: str,
    facets: Mapping[str, Mapping[str, Any]],
    filter: FilterLike | None,
    query: QueryLike | None,
) -> Call[Facets]:
    asked = None if query is None else query_to_wire(query)
    body = {"facets": facets, "filter": filter, "query": asked}
    return Call(_post(_points_path(collection, "/facets"), body), _body(facets_from_json))


def evaluate(
    collection: str,
    queries: Iterable[Mapping[str, Any]] | None,
    *,
    sample: Mapping[str, Any] | None,
    pairs: Iterable[Mapping[str, Any]] | None,
    configurations: Mapping[str, Mapping[str, Any]] | None,
    task: EvaluationTask,
    measures: Sequence[str] | None,
    rates: Sequence[float] | None,
    per_query: bool,
    resamples: int | None,
    seed: int | None,
) -> Call[Evaluation]:
    body = {
        "task": task,
        "queries": None if queries is None else [plain(query) for query in queries],
        "sample": sample,
        "pairs": pairs_to_wire(pairs),
        "configurations": None
        if configurations is None
        else [{"name": name, "query": plain(query)} for name, query in configurations.items()],
        "measures": None if measures is None else list(measures),
        "rates": None if rates is None else list(rates),
        "per_query": per_query,
        "resamples": resamples,
        "seed": seed,
    }
    # An evaluation takes as long as all of its queries.
    request = replace(_post(f"{_collection_path(collection)}/evaluate", body), patient=True)
    return Call(request, _body(evaluation_from_json))


def scroll(
    collection: str,
    *,
    filter: FilterLike | None,
    page_size: int,
    cursor: str | None,
    fields: Sequence[str] | None,
    with_text: bool,
    with_vectors: bool,
) -> Call[Page]:
    body = {
        "filter": filter,
        "limit": page_size,
        "cursor": cursor,
        **projection_to_wire(fields, with_text, with_vectors),
    }
    return Call(_post(_points_path(collection, "/scroll"), body), _body(page_from_json))


def import_lines(
    collection: str, body: bytes, *, on_error: Literal["stop", "skip"]
) -> Call[ImportReport]:
    def read(response: Response) -> ImportReport:
        last = json.loads(response.content.splitlines()[-1])
        if last["state"] == "failed":
            problem = _problem_from_json(last["problem"], last["problem"]["status"], {})
            if problem is not None:
                raise error_from_problem(problem)
        if last["state"] != "done":
            raise ValueError("the answer ends before the import")
        return import_report_from_json(last)

    # Told as it goes, so that no wait for the answer is longer than a batch takes.
    headers = {"content-type": _LINES, "accept": _LINES}
    path = f"{_points_path(collection)}:import?on_error={on_error}"
    return Call(Request("POST", path, body, headers), read)


def export(
    collection: str,
    *,
    filter: FilterLike | None,
    after: PointId | None,
    with_text: bool,
    with_vectors: bool,
    sink: Callable[[bytes], object] | None,
) -> Call[None]:
    body = {
        "filter": filter,
        "after": after,
        "with_text": with_text,
        "with_vectors": with_vectors,
        "encoding_format": "base64",
    }
    request = _post(f"{_points_path(collection)}:export", body)
    return Call(replace(request, headers={"accept": _LINES}, sink=sink), _nothing)


def query(collection: str, query: QueryLike) -> Call[QueryResult]:
    request = _post(f"{_collection_path(collection)}/query", query_to_wire(query))
    return Call(request, _body(query_result_from_json))


def query_batch(collection: str, queries: Iterable[QueryLike]) -> Call[list[QueryResult]]:
    body = {"queries": [query_to_wire(query) for query in queries]}
    request = _post(f"{_collection_path(collection)}/query:batch", body)
    return Call(request, _body(query_results_from_json))


# ── memory ───────────────────────────────────────────────────────────────────────────────────


def classify(
    collection: str,
    inputs: Iterable[ThingLike],
    classifier: str | None,
    options: Mapping[str, Any],
) -> Call[Classifications]:
    body = {
        "inputs": things_to_wire(inputs),
        "classifier": classifier,
        **judging_to_wire(options),
    }
    request = _post(f"{_collection_path(collection)}/classify", body)
    return Call(request, _body(classifications_from_json))


def make_classifier(
    collection: str, name: str, fit: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> Call[Classifier]:
    body = {"fit": fit, **judging_to_wire(options)}
    request = Request("PUT", _classifier_path(collection, name), to_json(given(body)))
    return Call(request, _body(classifier_from_json))


def describe_classifier(collection: str, name: str) -> Call[Classifier]:
    request = Request("GET", _classifier_path(collection, name))
    return Call(request, _body(classifier_from_json))


def classifiers(collection: str) -> Call[list[Kept]]:
    request = Request("GET", f"{_collection_path(collection)}/classifiers")
    return Call(request, _body(lambda body: kept_from_json(body["classifiers"])))


def drop_classifier(collection: str, name: str) -> Call[None]:
    return Call(Request("DELETE", _classifier_path(collection, name)), _nothing)


def teach_classifier(
    collection: str,
    name: str,
    examples: Iterable[Mapping[str, Any]],
    momentum: float | None,
) -> Call[Classifier]:
    body = {"examples": [thing_to_wire(one) for one in examples], "momentum": momentum}
    request = _post(f"{_classifier_path(collection, name)}/learn", body)
    return Call(request, _body(classifier_from_json))


def verify(
    collection: str,
    a: ThingLike | None,
    b: ThingLike | None,
    pairs: Iterable[Mapping[str, Any]] | None,
    options: Mapping[str, Any],
) -> Call[Verifications]:
    body = verify_to_wire(a, b, {"pairs": pairs_to_wire(pairs), **options})
    request = _post(f"{_collection_path(collection)}/verify", body)
    return Call(request, _body(verifications_from_json))


def choose_threshold(
    collection: str,
    name: str,
    pairs: Iterable[Mapping[str, Any]] | None,
    options: Mapping[str, Any],
) -> Call[Threshold]:
    body = {"pairs": pairs_to_wire(pairs), **options}
    request = Request("PUT", _threshold_path(collection, name), to_json(given(body)))
    return Call(request, _body(threshold_from_json))


def describe_threshold(collection: str, name: str) -> Call[Threshold]:
    return Call(Request("GET", _threshold_path(collection, name)), _body(threshold_from_json))


def thresholds(collection: str) -> Call[list[Kept]]:
    request = Request("GET", f"{_collection_path(collection)}/thresholds")
    return Call(request, _body(lambda body: kept_from_json(body["thresholds"])))


def drop_threshold(collection: str, name: str) -> Call[None]:
    return Call(Request("DELETE", _threshold_path(collection, name)), _nothing)


def _classifier_path(collection: str, name: str) -> str:
    return f"{_collection_path(collection)}/classifiers/{_part(name)}"


def _threshold_path(collection: str, name: str) -> str:
    return f"{_collection_path(collection)}/thresholds/{_part(name)}"


def _selection(ids: Iterable[PointId] | None, filter: FilterLike | None) -> dict[str, object]:
    if (ids is None) == (filter is None):
        raise TypeError("give either ids or filter, and not both")
    return {"ids": _ids(ids)} if ids is not None else {"filter": filter}


def _ids(ids: Iterable[PointId]) -> list[PointId]:
    if isinstance(ids, (str, bytes)):
        raise TypeError("expected a list of ids; a string would be taken letter by letter")
    return list(ids)


def _collection_path(name: str) -> str:
    return f"/v1/collections/{_part(name)}"


def _kept_path(collection: str, kind: str, name: str) -> str:
    return f"{_collection_path(collection)}/{kind}/{_part(name)}"


def _model_path(name: str, suffix: str = "") -> str:
    return f"/v1/models/{_part(name)}{suffix}"


def _snapshot_path(name: str, suffix: str = "") -> str:
    return f"/v1/snapshots/{_part(name)}{suffix}"


def _part(name: str) -> str:
    # "", "." and ".." would name another endpoint once the path is normalized.
    if not name.strip("."):
        raise ValueError("a name starts with a letter or a digit")
    return quote(name, safe="")


def _points_path(collection: str, suffix: str = "") -> str:
    return f"{_collection_path(collection)}/points{suffix}"


def _post(path: str, body: Mapping[str, object]) -> Request:
    return Request("POST", path, to_json(given(body)))


# ── answers ──────────────────────────────────────────────────────────────────────────────────


def _nothing(response: Response) -> None:
    return None


def _body(read: Callable[[Json], T]) -> Callable[[Response], T]:
    return lambda response: read(json.loads(response.content))


def result_from_response(call: Call[T], response: Response) -> T:
    """Read an accepted answer; raises VersionError if it is not what API v1 promises."""
    try:
        return call.read(response)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise VersionError(
            f"{call.request.method} {call.request.path} answered {response.status} with a body "
            f"that API {API_VERSION} does not know ({type(exc).__name__}: {exc})"
        ) from exc


_OTHER_API = frozenset({"route-not-found", "method-not-allowed"})


def error_from_response(request: Request, response: Response) -> LikewiseError:
    """Rebuild the error that a refusing answer stands for.

    A route that the service does not have becomes VersionError: the SDK asks for none that API v1
    lacks. An answer that is no problem document (from a proxy, say) gets the code "http-<status>".
    """
    problem = _problem_from_response(response)
    if problem is None:
        if response.status == HTTPStatus.NOT_FOUND:
            return _no_such_route(request)
        problem = Problem(
            status=response.status,
            code=f"http-{response.status}",
            title=_phrase(response.status),
            detail=f"{request.method} {request.path} was answered without a problem document: "
            "by a proxy in between, or by another service than Likewise",
            request_id=response.headers.get("x-request-id"),
            retry_after_s=retry_after_from_headers(response.headers),
        )
    if problem.code in _OTHER_API:
        return _no_such_route(request)
    return error_from_problem(problem)


def _no_such_route(request: Request) -> VersionError:
    return VersionError(
        f"the service has no {request.method} {request.path}: it is older than this SDK, "
        "or base_url points elsewhere"
    )


def _problem_from_response(response: Response) -> Problem | None:
    try:
        body = json.loads(response.content)
    except ValueError:
        return None
    return _problem_from_json(body, response.status, response.headers)


def _problem_from_json(body: Json, status: int, headers: Mapping[str, str]) -> Problem | None:
    prefix = "urn:likewise:problem:"
    try:
        if not body["type"].startswith(prefix):
            return None
        return Problem(
            status=status,
            code=body["type"].removeprefix(prefix),
            title=str(body["title"]),
            detail=str(body["detail"]),
            pointer=body.get("pointer"),
            errors=tuple((fault["pointer"], fault["detail"]) for fault in body.get("errors", ())),
            context=dict(body.get("context", {})),
            request_id=body.get("request_id") or headers.get("x-request-id"),
            retry_after_s=retry_after_from_headers(headers),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def retry_after_from_headers(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for, or None (RFC 9110, 10.2.3).

    A date is read against the answer's own Date, which needs no clock and forgives a wrong one.

    >>> retry_after_from_headers({"retry-after": "7"})
    7.0
    """
    value = headers.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        then, now = (
            email.utils.parsedate_to_datetime(text) for text in (value, headers.get("date", ""))
        )
        return max(0.0, (then - now).total_seconds())
    except (TypeError, ValueError):  # no date, an odd one, or one with a zone and one without
        return None


def counted_from_line(before: ImportReport, error: ApiError) -> ApiError:
    """Return the error of a piece with lines and points counted from the first of the source."""
    context = dict(error.context)
    for name in ("line", "next_line"):
        number = context.get(name)
        if isinstance(number, int):
            context[name] = number + before.next_line - 1
    counted = type(error)(replace(error.problem, context=context))
    upserted, next_line = error.context.get("upserted"), context.get("next_line")
    counted.points_written = before.upserted + (upserted if isinstance(upserted, int) else 0)
    counted.next_line = next_line if isinstance(next_line, int) else before.next_line
    return counted


_POINT = re.compile(r"^/points/(\d+)")


def counted_from(first: int, error: ApiError) -> ApiError:
    """Return the error of a batch with pointers that count from the caller's first point."""

    def moved(pointer: str) -> str:
        return _POINT.sub(lambda found: f"/points/{int(found[1]) + first}", pointer)

    problem = error.problem
    if problem.pointer is not None:
        problem = replace(problem, pointer=moved(problem.pointer))
    problem = replace(problem, errors=tuple((moved(p), detail) for p, detail in problem.errors))
    counted = type(error)(problem)
    counted.points_written = first
    return counted
