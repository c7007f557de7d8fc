"""The blocking client. Do not edit: `client/make_sync.py` writes this file from `_async.py`."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

import httpx

from . import _flows as flows
from . import _requests as requests
from ._evaluation import Evaluation, EvaluationTask
from ._files import PIECE, Incoming, Outgoing, Progress
from ._filters import FilterLike
from ._flows import Flow, Outcome, Sleep
from ._http import (
    DEFAULT_TIMEOUT,
    PATIENT,
    checked_base_url,
    error_from_httpx,
    request_headers,
    response_from_httpx,
    session_with,
    tls_context,
)
from ._images import ImageLike
from ._kept import AskedLike, Calibration, LabelledLike, QueryBank
from ._lines import LineSource, LineTarget, opened_target
from ._memory import (
    Classifications,
    Classifier,
    Kept,
    ThingLike,
    Threshold,
    Verifications,
)
from ._points import PointId, PointLike
from ._queries import Query, QueryLike, RerankLike
from ._requests import (
    Call,
    IndexDefinition,
    Kind,
    LexicalDefinition,
    Metric,
    Request,
    Response,
    TextLike,
    VectorDefinition,
    VectorKind,
)
from ._results import (
    CollectionInfo,
    Embeddings,
    Encodings,
    EveryOutput,
    Facets,
    ImportReport,
    Info,
    Limits,
    Model,
    OutputKind,
    QueryResult,
    Readiness,
    Record,
    Records,
    Reranking,
    SnapshotInfo,
)
from ._retry import Retries
from ._vectors import SparseVector, TokenVectors, Vector

T = TypeVar("T")


class Client:
    """A connection to one Likewise service, safe to share between threads.

        with Client("http://127.0.0.1:8000") as client: ...

    timeout    seconds, or an `httpx.Timeout`; it limits each wait on the network, not a whole call
    retries    repetitions of a failed call, or `Retries` to set the waits too: see `Retries`
    api_key    a key or signed token, sent as a bearer token; it is read from no variable
    verify     whom to trust under https: the system's authorities, those in a PEM file, or what an
               `ssl.SSLContext` says, which can also hold a certificate of the client's own
    transport  how bytes travel, for tests and special networks: see httpx

    Every method raises ApiError, TransportError or VersionError: see `LikewiseError`.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        timeout: float | httpx.Timeout | None = DEFAULT_TIMEOUT,
        retries: int | Retries = Retries(),  # noqa: B008  # frozen
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool | str | os.PathLike[str] | ssl.SSLContext = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._base_url = checked_base_url(base_url)
        self._session = session_with(retries)
        self._http = httpx.Client(
            base_url=base_url,
            timeout=timeout,
            headers=request_headers(api_key, headers),
            verify=tls_context(verify),
            transport=transport,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections: `client.close()`, or leave the `with` block."""
        self._http.close()

    def __repr__(self) -> str:
        return f"Client({self._base_url!r})"

    # ── the service ──────────────────────────────────────────────────────────────────────────

    def health(self) -> None:
        """Return if the process answers, raise if not; never retried: `client.health()`."""
        self._call(requests.health())

    def ready(self) -> Readiness:
        """Ask which parts work; never retried: `client.ready().can_serve`."""
        return self._call(requests.ready())

    def info(self) -> Info:
        """Check that the service speaks this SDK's API: `client.info().version`.

        Raises VersionError if it does not.
        """
        return self._call(requests.info())

    def limits(self) -> Limits:
        """Return what the service takes in one request; asked once: `client.limits().max_k`."""
        return self._run(flows.limits(self._session))

    def models(self) -> list[Model]:
        """List the service's encoders: `[model.id for model in client.models()]`."""
        return self._call(requests.models())

    def describe_model(self, name: str) -> Model:
        """Describe one encoder: `client.describe_model("tiny").status`."""
        return self._call(requests.describe_model(name))

    def load_model(self, name: str) -> Model:
        """Have an encoder loaded, in the background: `client.load_model("tiny").status`.

        Its status is "loading" or "ready"; `describe_model` tells how it goes on.
        """
        return self._call(requests.load_model(name))

    def unload_model(self, name: str) -> Model:
        """Free an encoder's memory when its texts are done: `client.unload_model("tiny")`.

        Nothing but `load_model` and a restart loads it again.
        """
        return self._call(requests.unload_model(name))

    @overload
    def embed(
        self,
        texts: Sequence[TextLike],
        *,
        model: str | None = None,
        input_type: Literal["query", "document"] | None = None,
        dimensions: int | None = None,
        output: Literal["dense"] = "dense",
    ) -> Embeddings: ...

    @overload
    def embed(
        self,
        texts: Sequence[TextLike],
        *,
        model: str | None = None,
        input_type: Literal["query", "document"] | None = None,
        dimensions: int | None = None,
        output: Literal["tokens"],
    ) -> Encodings[TokenVectors]: ...

    @overload
    def embed(
        self,
        texts: Sequence[TextLike],
        *,
        model: str | None = None,
        input_type: Literal["query", "document"] | None = None,
        dimensions: int | None = None,
        output: Literal["sparse"],
    ) -> Encodings[SparseVector]: ...

    @overload
    def embed(
        self,
        texts: Sequence[TextLike],
        *,
        model: str | None = None,
        input_type: Literal["query", "document"] | None = None,
        dimensions: int | None = None,
        output: Literal["all"],
    ) -> Encodings[EveryOutput]: ...

    def embed(
        self,
        texts: Sequence[TextLike],
        *,
        model: str | None = None,
        input_type: Literal["query", "document"] | None = None,
        dimensions: int | None = None,
        output: OutputKind = "dense",
    ) -> Embeddings | Encodings[Any]:
        """Encode texts without storing them: `client.embed(["a", "b"]).to_numpy()`.

        texts       texts, or each as the ids of its tokens; images as bytes or `pathlib.Path`
        model       None for the service's default encoder
        input_type  for encoders that read questions and documents differently
        dimensions  keep only the first ones
        output      "dense" is a vector; "tokens" one for each token (`TokenVectors`), "sparse"
                    weights of words (`SparseVector`), "all" what the encoder makes of these
        """
        return self._run(
            flows.embed(
                self._session,
                texts,
                model=model,
                input_type=input_type,
                dimensions=dimensions,
                output=output,
            )
        )

    def rerank(
        self,
        query: str,
        documents: Sequence[str | Mapping[str, object]],
        *,
        model: str | None = None,
        top_n: int | None = None,
        rank_fields: Sequence[str] | None = None,
        max_tokens_per_doc: int | None = None,
    ) -> Reranking:
        """Order documents by how well each answers a query: `client.rerank("a", ["b"])[0].index`.

        documents           texts, or dicts with a "text" or with what `rank_fields` names
        model               None for the service's default reranker
        top_n               how many of the best come back; None for all
        max_tokens_per_doc  cut documents, for cross-encoders
        """
        return self._call(
            requests.rerank(
                query,
                documents,
                model=model,
                top_n=top_n,
                rank_fields=rank_fields,
                max_tokens_per_doc=max_tokens_per_doc,
            )
        )

    # ── collections ──────────────────────────────────────────────────────────────────────────

    def create_collection(
        self,
        name: str,
        *,
        vectors: Mapping[str, VectorDefinition] | None = None,
        kind: VectorKind | None = None,
        dimension: int | None = None,
        metric: Metric | None = None,
        encoder: str | None = None,
        schema: Mapping[str, Kind] | None = None,
        index: IndexDefinition | None = None,
        lexical: LexicalDefinition | bool | None = None,
        exist_ok: bool = True,
    ) -> Collection:
        """Create a collection, or find it: `client.create_collection("films", dimension=384)`.

        vectors            definitions by name. For one vector, give its parts instead:
        kind               "dense", or "tokens" or "sparse"
        dimension, metric  for vectors that callers bring; the metric is "cosine" if left out
        encoder            for vectors made from texts. Nothing at all means the default encoder.
        schema             kinds of attribute fields; undeclared ones take anything
        lexical            a full-text index: True for the points' own texts, or a dict with
                           `fields` (names, or weights by name) and `language`
        exist_ok           whether a collection that exists with the same definition will do;
                           with another definition it never does

        Raises ConflictError if the collection exists and will not do.
        """
        self._call(
            requests.create_collection(
                name,
                vectors=vectors,
                kind=kind,
                dimension=dimension,
                metric=metric,
                encoder=encoder,
                schema=schema,
                index=index,
                lexical=lexical,
                exist_ok=exist_ok,
            )
        )
        return self.collection(name)

    def collection(self, name: str) -> Collection:
        """Return a handle, without asking the service: `films = client.collection("films")`."""
        return Collection(self, name)

    def collections(self) -> list[CollectionInfo]:
        """Describe all collections, by name: `[info.name for info in client.collections()]`."""
        return self._call(requests.collections())

    # ── snapshots ────────────────────────────────────────────────────────────────────────────

    def snapshots(self) -> list[SnapshotInfo]:
        """List the snapshots that the service keeps: `[one.name for one in client.snapshots()]`."""
        return self._call(requests.snapshots())

    def describe_snapshot(self, name: str) -> SnapshotInfo:
        """Describe one snapshot: `client.describe_snapshot("films-monday").points`."""
        return self._call(requests.describe_snapshot(name))

    def restore(
        self, snapshot: str, collection: str | None = None, *, replace: bool = False
    ) -> Collection:
        """Make a collection of a snapshot: `films = client.restore("films-monday")`.

        collection  None for the name that it was taken under
        replace     whether a collection of that name may exist; it answers until the new one does

        Raises ConflictError if the collection exists and may not be replaced.
        """
        info = self._call(requests.restore_snapshot(snapshot, collection, replace=replace))
        return self.collection(info.name)

    def download_snapshot(
        self, name: str, path: str | Path | None = None, *, progress: Progress | None = None
    ) -> Path:
        """Copy a snapshot into a file, verified: `client.download_snapshot("films-monday")`.

        path      a new file; None for `<name>.snapshot` here
        progress  called with (bytes done, bytes in all)

        Raises FileExistsError, and OSError if the file cannot be written.
        """
        incoming = Incoming(Path(path or f"{name}.snapshot"), progress)
        try:
            return incoming.keep(self._call(requests.download_snapshot(name, incoming)))
        finally:
            incoming.discard()

    def upload_snapshot(
        self, path: str | Path, name: str | None = None, *, progress: Progress | None = None
    ) -> SnapshotInfo:
        """Copy a file into the service, which verifies it: `client.upload_snapshot("a.snapshot")`.

        name      None for the file's name without `.snapshot`
        progress  called with (bytes done, bytes in all)

        Raises ConflictError if the name is taken, OSError if the file cannot be read.
        """
        wanted = name or Path(path).name.removesuffix(".snapshot")
        return self._call(requests.upload_snapshot(wanted, Outgoing(Path(path), progress)))

    def drop_snapshot(self, name: str) -> None:
        """Remove a snapshot from the service: `client.drop_snapshot("films-monday")`."""
        self._call(requests.drop_snapshot(name))

    # ── performing ───────────────────────────────────────────────────────────────────────────

    def _call(self, call: Call[T]) -> T:
        return self._run(flows.exchange(self._session, call))

    def _run(self, flow: Flow[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as done:
                result: T = done.value
                return result
            outcome = self._perform(step)

    def _perform(self, step: Request | Sleep) -> Outcome:
        if isinstance(step, Sleep):
            time.sleep(step.seconds)
            return None
        content = step.content if step.outgoing is None else _pieces(step.outgoing)
        request = self._http.build_request(
            step.method,
            step.path,
            content=content,
            headers=step.headers,
            timeout=PATIENT if step.patient else httpx.USE_CLIENT_DEFAULT,
        )
        try:
            if step.incoming is not None:
                return self._receive(request, step.incoming)
            if step.sink is not None:
                return self._pour(request, step.sink)
            response = self._http.send(request)
        except httpx.RequestError as exc:
            return error_from_httpx(exc, self._base_url)
        return response_from_httpx(response)

    def _receive(self, request: httpx.Request, incoming: Incoming) -> Response:
        """Send a request and let a good answer flow into a file."""
        response = self._http.send(request, stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                response.read()
                return response_from_httpx(response)
            incoming.begin(int(response.headers["content-length"]))
            for piece in response.iter_bytes(PIECE):
                incoming.write(piece)
            return Response(response.status_code, dict(response.headers), b"")
        finally:
            response.close()

    def _pour(self, request: httpx.Request, sink: Callable[[bytes], object]) -> Response:
        """Send a request and pass the content of a good answer on as it comes."""
        response = self._http.send(request, stream=True)
        try:
            if not response.is_success:
                response.read()
                return response_from_httpx(response)
            for data in response.iter_bytes():
                sink(data)
            return Response(response.status_code, dict(response.headers), b"")
        finally:
            response.close()


def _pieces(outgoing: Outgoing) -> Iterator[bytes]:
    yield from outgoing.pieces()


class Collection:
    """A handle on one collection; it holds its name and a client, no state of the service."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def __repr__(self) -> str:
        return f"Collection({self.name!r})"

    def describe(self) -> CollectionInfo:
        """Return the definition and state: `films.describe().points`."""
        return self._client._call(requests.describe(self.name))

    def alter(
        self,
        *,
        schema: Mapping[str, Kind | None] | None = None,
        index: IndexDefinition | None = None,
        lexical: LexicalDefinition | bool | None = None,
    ) -> CollectionInfo:
        """Declare fields, or with None undeclare them: `films.alter(schema={"year": "integer"})`.

        index    settings of later builds
        lexical  another full-text index, as in `create_collection`; False drops it. Until the words
                 are indexed, queries for them are retried

        Raises ConflictError if stored points contradict the schema.
        """
        return self._client._call(
            requests.alter(self.name, schema=schema, index=index, lexical=lexical)
        )

    def snapshot(self, name: str | None = None) -> SnapshotInfo:
        """Keep the present state, while it is read and written: `films.snapshot().name`.

        name   None for the collection's name and the time

        Raises ConflictError if the name is taken.
        """
        return self._client._call(requests.take_snapshot(self.name, name))

    def drop(self) -> None:
        """Delete the collection with all its points: `films.drop()`."""
        self._client._call(requests.drop(self.name))

    def upsert(
        self,
        points: Iterable[PointLike],
        *,
        batch_size: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> int:
        """Insert or replace points and return their number: `films.upsert([{"id": 1, …}])`.

        points      any iterable, also a generator: one batch is in memory at a time. For columns
                    and matrices see `points_from_columns`.
        batch_size  most points of one request; batches also stay below 8 MiB and the service's
                    limits. Each is stored wholly or not at all.
        progress    called after each batch with the points written so far

        An error carries `points_written`, and its pointer counts from the first point passed.
        """
        return self._client._run(
            flows.upsert(
                self._client._session,
                self.name,
                points,
                batch_size=batch_size,
                progress=progress,
            )
        )

    def import_ndjson(
        self,
        source: LineSource,
        *,
        on_error: Literal["stop", "skip"] = "stop",
        from_line: int = 1,
        progress: Callable[[ImportReport], object] | None = None,
    ) -> ImportReport:
        """Write the points of a file, one a line of JSON: `films.import_ndjson("films.ndjson")`.

        source      a path or an open binary file, also gzip; or lines, or points, one by one
        on_error    "skip" leaves bad lines out: `report.failed`, `report.errors`
        from_line   where to begin: `error.next_line` of an import that failed
        progress    called with the report so far, every few thousand lines

        Of two lines with the same id the later one stays. An error carries `next_line`: every good
        line before it is stored.
        """
        return self._client._run(
            flows.import_lines(
                self._client._session,
                self.name,
                source,
                on_error=on_error,
                from_line=from_line,
                progress=progress,
            )
        )

    def export_ndjson(
        self,
        target: LineTarget,
        filter: FilterLike | None = None,
        *,
        with_text: bool = True,
        with_vectors: bool = True,
        progress: Callable[[int], object] | None = None,
    ) -> int:
        """Write points to a file and return their number: `films.export_ndjson("films.ndjson")`.

        target      a path (gzip if it ends in .gz), where the file appears when it is whole; or a
                    file opened for bytes. One point a line, as `import_ndjson` takes them.
        progress    called with the points so far

        A connection that breaks is picked up after the last whole line. Points come in the order
        of ids; what is written meanwhile is there or not.
        """
        with opened_target(target) as write:
            return self._client._run(
                flows.export(
                    self._client._session,
                    self.name,
                    write,
                    filter=filter,
                    with_text=with_text,
                    with_vectors=with_vectors,
                    progress=progress,
                )
            )

    def patch(
        self,
        *,
        ids: Iterable[PointId] | None = None,
        filter: FilterLike | None = None,
        set: Mapping[str, object] | None = None,
        unset: Sequence[str] | None = None,
        expires_at: datetime | str | None = None,
        never_expires: bool = False,
    ) -> int:
        """Change attributes, return how many points were found: `films.patch(ids=[1], set={…})`.

        expires_at      gives the points a new lifetime, `never_expires` an endless one; without
                        either each keeps its own
        """
        return self._client._call(
            requests.patch(
                self.name,
                ids=ids,
                filter=filter,
                set=set,
                unset=unset,
                expires_at=expires_at,
                never_expires=never_expires,
            )
        )

    def delete(
        self, *, ids: Iterable[PointId] | None = None, filter: FilterLike | None = None
    ) -> int:
        """Delete points and return how many went: `films.delete(filter=F("year") < 1920)`."""
        return self._client._call(requests.delete(self.name, ids=ids, filter=filter))

    def get(
        self,
        ids: Iterable[PointId],
        *,
        fields: Sequence[str] | None = None,
        with_text: bool = True,
        with_vectors: bool = False,
    ) -> Records:
        """Fetch points in the order of `ids`: `films.get([1, 2]).missing`."""
        return self._client._call(
            requests.get(
                self.name, ids, fields=fields, with_text=with_text, with_vectors=with_vectors
            )
        )

    def count(self, filter: FilterLike | None = None) -> int:
        """Count the points that pass a filter, exactly: `films.count(F("year") >= 2000)`."""
        return self._client._call(requests.count(self.name, filter))

    def facets(
        self,
        facets: Mapping[str, Mapping[str, Any]],
        *,
        filter: FilterLike | None = None,
        query: QueryLike | None = None,
    ) -> Facets:
        """Summarise points by their attributes: `films.facets({"years": {"field": "year"}})`.

        facets   by name: {"field", "of": "values" (n), "numbers" (quantiles), "histogram" (edges or
                 buckets) or "dates" (interval)}
        filter   of the points that pass it
        query    of the points that it finds: its first k
        """
        return self._client._call(requests.facets(self.name, facets, filter, query))

    def classify(
        self,
        inputs: Iterable[ThingLike],
        *,
        classifier: str | None = None,
        **options: Any,
    ) -> Classifications:
        """Say of each input what it is: `films.classify(["a white whale"], label="genre")`.

        inputs       texts, images, or a query's leaves: {"id": 7}, {"vector": […]}, …
        classifier   the name of a kept one; beside it top, explain and reject
        options      label, method (knn, prototypes, zero_shot, cache), filter, k, heads, …:
                     docs/similarity/memory.md
        """
        return self._client._call(requests.classify(self.name, inputs, classifier, options))

    def make_classifier(
        self, name: str, *, fit: Mapping[str, Any] | None = None, **options: Any
    ) -> Classifier:
        """Keep a classifier: `films.make_classifier("genres", label="genre", multi_label=True,
        fit={"sample": 500})`.

        fit       what to choose on labelled points: {what, label, filter, sample, seed, keep_means}
        options   those of `classify`
        """
        return self._client._call(requests.make_classifier(self.name, name, fit, options))

    def teach_classifier(
        self, name: str, examples: Iterable[Mapping[str, Any]], *, momentum: float | None = None
    ) -> Classifier:
        """Move kept class means: `films.teach_classifier("genres", [{"id": 7, "label": "war"}])`.

        momentum   the share of each new example; None makes the mean one of all examples
        """
        call = requests.teach_classifier(self.name, name, examples, momentum)
        return self._client._call(call)

    def classifier(self, name: str) -> Classifier:
        """Describe a classifier that is kept."""
        return self._client._call(requests.describe_classifier(self.name, name))

    def classifiers(self) -> list[Kept]:
        """List the classifiers that are kept."""
        return self._client._call(requests.classifiers(self.name))

    def drop_classifier(self, name: str) -> None:
        """Remove a classifier."""
        self._client._call(requests.drop_classifier(self.name, name))

    def verify(
        self,
        a: ThingLike | None = None,
        b: ThingLike | None = None,
        *,
        claim: str | float | bool | None = None,
        pairs: Iterable[Mapping[str, Any]] | None = None,
        threshold: str | float | Mapping[str, float] | None = None,
        using: str | None = None,
        label: str | None = None,
        filter: FilterLike | None = None,
        best_of: Literal["max", "mean"] | None = None,
    ) -> Verifications:
        """Say whether two things are the same: `faces.verify({"id": 1}, {"id": 2}, threshold="t")`.

        claim       in the place of `b`: a value of the attribute `label`, held against the points
                    that have it and pass `filter`; against the likest of them or their mean
        pairs       several: [{"a": …, "b": …}, {"a": …, "claim": …}]
        threshold   the name of a kept one, a score, or {"accept", "reject"}
        """
        options = {
            "claim": claim,
            "threshold": threshold,
            "using": using,
            "label": label,
            "filter": filter,
            "best_of": best_of,
        }
        return self._client._call(requests.verify(self.name, a, b, pairs, options))

    def choose_threshold(
        self,
        name: str,
        *,
        target_far: float = 0.01,
        target_frr: float | None = None,
        pairs: Iterable[Mapping[str, Any]] | None = None,
        label: str | None = None,
        filter: FilterLike | None = None,
        sample: int | None = None,
        seed: int | None = None,
        held_out: bool | None = None,
        using: str | None = None,
    ) -> Threshold:
        """Choose a threshold for a rate of false accepts, and keep it.

        pairs        labelled ones: [{"a": …, "b": …, "same": True}]; or else
        label        points that share a value of this attribute are the same, others are not
        target_frr   share of genuine pairs that may be called different: what lies between the two
                     thresholds is unsure
        held_out     whether half of the labels, or pairs, is left to measure on
        """
        options = {
            "target_far": target_far,
            "target_frr": target_frr,
            "label": label,
            "filter": filter,
            "sample": sample,
            "seed": seed,
            "held_out": held_out,
            "using": using,
        }
        return self._client._call(requests.choose_threshold(self.name, name, pairs, options))

    def threshold(self, name: str) -> Threshold:
        """Describe a threshold that is kept."""
        return self._client._call(requests.describe_threshold(self.name, name))

    def thresholds(self) -> list[Kept]:
        """List the thresholds that are kept."""
        return self._client._call(requests.thresholds(self.name))

    def drop_threshold(self, name: str) -> None:
        """Remove a threshold."""
        self._client._call(requests.drop_threshold(self.name, name))

    def put_query_bank(
        self,
        name: str,
        queries: Iterable[AskedLike] | None = None,
        *,
        sample: Mapping[str, object] | None = None,
        using: str | None = None,
        method: str | Sequence[str] | None = None,
        strength: float | Sequence[float] | None = None,
        k: int | None = None,
        tau: float | None = None,
        dev: Iterable[LabelledLike] | None = None,
        candidates: int | None = None,
    ) -> QueryBank:
        """Keep queries that stand for those to come: `films.put_query_bank("asked", texts).wins`.

        Queries with `correct="asked"` then lose what candidates owe to being near to all of them.

        queries     texts, or dicts with `text`, `vector`, `id`, …; or else
        sample      points stand for queries: {"points": 500, "filter": …, "seed": 0}
        using       the vector, needed only where there are several
        method, strength   "csls", "sinkhorn" or "center" and how much; lists are tried
        k, tau      of csls, and of sinkhorn
        dev         labelled queries, by which the best is chosen and measured: (query, ids) each
        candidates  of each of these
        """
        return self._client._call(
            requests.put_query_bank(
                self.name,
                name,
                using=using,
                queries=queries,
                sample=sample,
                method=method,
                strength=strength,
                k=k,
                tau=tau,
                dev=dev,
                candidates=candidates,
            )
        )

    def query_bank(self, name: str) -> QueryBank:
        """Describe a query bank: `films.query_bank("asked").measured`."""
        return self._client._call(requests.query_bank(self.name, name))

    def query_banks(self) -> list[QueryBank]:
        """List the query banks: `[bank.name for bank in films.query_banks()]`."""
        return self._client._call(requests.query_banks(self.name))

    def drop_query_bank(self, name: str) -> None:
        """Remove a query bank: `films.drop_query_bank("asked")`."""
        self._client._call(requests.drop_query_bank(self.name, name))

    def put_calibration(
        self,
        name: str,
        *,
        scores: Iterable[float] | None = None,
        matches: Iterable[bool] | None = None,
        using: str | None = None,
        dev: Iterable[LabelledLike] | None = None,
        candidates: int | None = None,
        method: str | None = None,
    ) -> Calibration:
        """Fit a curve from scores to probabilities: `films.put_calibration("titles", dev=…)`.

        scores, matches   pairs, and whether they match; or else
        using, dev        labelled queries, whose candidates are the pairs: (query, ids) each
        candidates        of each of these
        method            "platt" or "isotonic"; None for the better one
        """
        return self._client._call(
            requests.put_calibration(
                self.name,
                name,
                scores=scores,
                matches=matches,
                using=using,
                dev=dev,
                candidates=candidates,
                method=method,
            )
        )

    def calibration(self, name: str) -> Calibration:
        """Describe a calibration: `films.calibration("titles").error_after`."""
        return self._client._call(requests.calibration(self.name, name))

    def calibrations(self) -> list[Calibration]:
        """List the calibrations: `[one.name for one in films.calibrations()]`."""
        return self._client._call(requests.calibrations(self.name))

    def drop_calibration(self, name: str) -> None:
        """Remove a calibration: `films.drop_calibration("titles")`."""
        self._client._call(requests.drop_calibration(self.name, name))

    def evaluate(
        self,
        queries: Iterable[Mapping[str, Any]] | None = None,
        *,
        sample: Mapping[str, Any] | None = None,
        pairs: Iterable[Mapping[str, Any]] | None = None,
        configurations: Mapping[str, Mapping[str, Any]] | None = None,
        task: EvaluationTask = "retrieval",
        measures: Sequence[str] | None = None,
        rates: Sequence[float] | None = None,
        per_query: bool = False,
        resamples: int | None = None,
        seed: int | None = None,
    ) -> Evaluation:
        """Measure answers: `films.evaluate([{"text": "a shark", "relevant": [7]}])["query"]`.

        queries          judged ones: what is searched for, and `relevant`: ids, or {"id", "grade"}
        sample           instead of them, points that look for those of the same `label`:
                         {"points": 100, "label": "genre"}
        pairs            for "verification" {"a", "b", "same"}, for "similarity" {"a", "b", "score"}
        configurations   ways to ask, by name: members of a query; the first is compared with each
                         of the others. "$text" stands for the text of the judged query.
        task             "ann" holds approximate answers against exact ones; "recognition" asks
                         `classify`, and what its configurations say are options of that;
                         "verification" and "similarity" compare pairs, "conditional" looks into
                         small galleries
        measures         such as "ndcg@10"; per_query tells them query by query
        """
        return self._client._call(
            requests.evaluate(
                self.name,
                queries,
                sample=sample,
                pairs=pairs,
                configurations=configurations,
                task=task,
                measures=measures,
                rates=rates,
                per_query=per_query,
                resamples=resamples,
                seed=seed,
            )
        )

    def scroll(
        self,
        filter: FilterLike | None = None,
        *,
        page_size: int = 500,
        fields: Sequence[str] | None = None,
        with_text: bool = True,
        with_vectors: bool = False,
    ) -> Iterator[Record]:
        """Iterate over all points that pass, by id: `for record in films.scroll(): …`.

        page_size   points fetched at a time; one page is in memory
        """
        cursor: str | None = None
        while True:
            page = self._client._call(
                requests.scroll(
                    self.name,
                    filter=filter,
                    page_size=page_size,
                    cursor=cursor,
                    fields=fields,
                    with_text=with_text,
                    with_vectors=with_vectors,
                )
            )
            yield from page.records
            cursor = page.next_cursor
            if cursor is None:
                return

    def query(
        self,
        text: str | None = None,
        *,
        image: ImageLike | None = None,
        record: Mapping[str, object] | None = None,
        encoder: str | None = None,
        vector: Vector | None = None,
        id: PointId | None = None,
        using: str | Mapping[str, float] | None = None,
        filter: FilterLike | None = None,
        k: int = 10,
        offset: int = 0,
        score_threshold: float | None = None,
        fields: Sequence[str] | None = None,
        with_text: bool = True,
        with_vectors: bool = False,
        ef: int | None = None,
        exact: bool = False,
        explain: bool = False,
        rerank: RerankLike | None = None,
        query: Mapping[str, Any] | None = None,
        prefetch: Sequence[Mapping[str, Any]] | None = None,
        fuse: str | Mapping[str, Any] | None = None,
        normalise: str | Mapping[str, Any] | Sequence[Any] | None = None,
        hybrid: bool | Mapping[str, Any] | None = None,
        rescore: Mapping[str, Any] | None = None,
        boost: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
        diversity: str | Mapping[str, Any] | None = None,
        order_by: str | Mapping[str, Any] | None = None,
        group_by: str | Mapping[str, Any] | None = None,
        correct: str | Mapping[str, Any] | None = None,
    ) -> QueryResult:
        """Find the nearest points that pass a filter: `films.query("a shark", k=3)[0].id`.

        The parameters are those of `Query`.
        """
        return self._client._call(
            requests.query(
                self.name,
                Query(
                    text,
                    image=image,
                    record=record,
                    encoder=encoder,
                    vector=vector,
                    id=id,
                    using=using,
                    filter=filter,
                    k=k,
                    offset=offset,
                    score_threshold=score_threshold,
                    fields=fields,
                    with_text=with_text,
                    with_vectors=with_vectors,
                    ef=ef,
                    exact=exact,
                    explain=explain,
                    rerank=rerank,
                    query=query,
                    prefetch=prefetch,
                    fuse=fuse,
                    normalise=normalise,
                    hybrid=hybrid,
                    rescore=rescore,
                    boost=boost,
                    diversity=diversity,
                    order_by=order_by,
                    group_by=group_by,
                    correct=correct,
                ),
            )
        )

    def query_batch(self, queries: Iterable[QueryLike]) -> list[QueryResult]:
        """Ask several queries of one state at once: `films.query_batch([Query("a"), Query("b")])`.

        Each has its own filter; one bad query fails the batch, with its place in the pointer.
        """
        return self._client._call(requests.query_batch(self.name, queries))
