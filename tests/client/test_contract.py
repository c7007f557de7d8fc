"""The SDK and the server's OpenAPI document say the same, field by field.

Every request builder is called with everything it can be given, and its body is held against the
server's schema. Every result is read from a sample made of the schema of the answer: once with all
members, where nothing may come out empty or of another type than declared, and once with only the
required ones.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import struct
import types
import typing
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from likewise import (
    AccessError,
    ConflictError,
    F,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    Point,
    Problem,
    Query,
    ServerError,
    UnavailableError,
)
from likewise import _evaluation as evaluation
from likewise import _memory as memory
from likewise import _requests as requests
from likewise import _results as results
from likewise._errors import error_from_problem
from likewise._files import Outgoing
from likewise._json import to_json
from likewise._kept import Calibration, QueryBank
from likewise._points import batches, point_to_wire
from likewise._requests import Call, Response

from app import errors as server_errors
from app.api.app import create_app
from app.api.problems import STATUS
from app.attributes.filter import parse_filter
from app.config import Settings

from .test_filters import Pair, filters

Schema = dict[str, Any]

EVERY_QUERY_OPTION: dict[str, Any] = {
    "using": "title",
    "filter": F("year") >= 2000,
    "k": 5,
    "offset": 1,
    "score_threshold": 0.5,
    "fields": ["year"],
    "with_text": False,
    "with_vectors": True,
    "ef": 64,
    "exact": True,
    "explain": True,
    "rerank": {
        "model": "tiny-cross",
        "field": "title",
        "template": "{title}",
        "query": "text",
        "candidates": 50,
    },
    "prefetch": [{"lexical": "words"}],
    "fuse": "rrf",
    "normalise": "minmax",
    "hybrid": True,
    "rescore": {"using": "title"},
    "boost": [{"filter": {"year": 1}, "weight": 2}],
    "diversity": {"method": "mmr", "lambda": 0.7},
    "order_by": "year",
    "group_by": {"field": "year", "size": 2},
    "correct": {"bank": "b"},
}
EVERY_QUERY = [
    Query("text", **EVERY_QUERY_OPTION),
    Query(image=b"an image", encoder="tiny", **EVERY_QUERY_OPTION),
    Query(record={"brand": "acme"}, **EVERY_QUERY_OPTION),
    Query(vector=[1.0], **EVERY_QUERY_OPTION),
    Query(id="a", **EVERY_QUERY_OPTION),
    Query(query={"vector": array("f", [1.0])}, **EVERY_QUERY_OPTION),
]
PLACE = {"lat": 52.5, "lon": 13.4}
WHOLE_POINT = Point(
    "a",
    text="t",
    vector=[1.0],
    vectors={
        "title": [1.0],
        "words": [[1.0, 2.0], [3.0, 4.0]],
        "terms": {"indices": [1], "values": [1.0]},
    },
    attributes={"a": 1, "b": ["x", PLACE], "c": PLACE},
    expires_at="2030-01-01T00:00:00Z",
    image=b"an image",
    record={"brand": "acme"},
    encoder="tiny",
)
WHOLE_POINTS = [
    WHOLE_POINT,
    Point("b", vector=[[1.0, 2.0], [3.0, 4.0]]),
    Point("c", vector={"indices": [1], "values": [1.0]}),
]
(WHOLE_BATCH,) = batches(WHOLE_POINTS, most_points=3, most_bytes=2000)
WHOLE_LINES = [to_json(point_to_wire(point)) + b"\n" for point in WHOLE_POINTS]
PROJECTION: dict[str, Any] = {"fields": ["year"], "with_text": True, "with_vectors": True}
DEFINITION: dict[str, Any] = {
    "vectors": {"title": {"kind": "dense", "dimension": 2, "metric": "ip", "encoder": "tiny"}},
    "kind": "tokens",
    "dimension": 2,
    "metric": "l2",
    "encoder": "tiny",
    "schema": {"year": "integer"},
    "index": {"m": 8, "ef_construction": 64},
    "lexical": {"fields": {"title": 2, "$text": 1}, "language": "english"},
}

EVERY_JUDGING: dict[str, Any] = {
    "using": "title",
    "label": "topic",
    "filter": F("year") >= 2000,
    "method": "knn",
    "k": 5,
    "weights": "uniform",
    "beta": 5.0,
    "ef": 64,
    "exact": True,
    "reciprocal": True,
    "augment": 5,
    "temperature": 0.1,
    "nuisance": "camera",
    "labels": {"a": "text"},
    "templates": ["a photo of {label}"],
    "aggregate": "group",
    "group_above": 0.9,
    "alpha": 0.3,
    "shots": 9,
    "sample": 100,
    "labelled": True,
    "heads": [{"method": "knn"}],
    "class_weights": {"knn": {"a": 1.0}},
    "fuse": "pool",
    "compose": "pairs",
    "multi_label": True,
    "thresholds": 0.5,
    "reject": {"min_score": 0.5},
    "top": 3,
    "explain": True,
}
EVERY_FIT = {
    "what": ["weights"],
    "label": "topic",
    "filter": {"year": 1},
    "sample": 100,
    "seed": 1,
    "keep_means": True,
}
VERIFY_OPTIONS: dict[str, Any] = {
    "threshold": "t",
    "using": "title",
    "label": "person",
    "filter": F("year") >= 2000,
    "best_of": "max",
}
THRESHOLD_OPTIONS: dict[str, Any] = {
    "target_far": 0.01,
    "target_frr": 0.05,
    "label": "person",
    "filter": F("year") >= 2000,
    "sample": 100,
    "seed": 1,
    "held_out": True,
    "using": "title",
}

# Every endpoint that the SDK speaks, with everything it can say there, and what it makes of it.
CALLS: dict[str, tuple[list[Call[Any]], object]] = {
    "GET /healthz": ([requests.health()], None),
    "GET /readyz": ([requests.ready()], results.Readiness),
    "GET /v1/info": ([requests.info()], results.Info),
    "GET /v1/limits": ([requests.limits()], results.Limits),
    "GET /v1/models": ([requests.models()], list[results.Model]),
    "GET /v1/models/{name}": ([requests.describe_model("m")], results.Model),
    "POST /v1/models/{name}/load": ([requests.load_model("m")], results.Model),
    "POST /v1/models/{name}/unload": ([requests.unload_model("m")], results.Model),
    "POST /v1/embeddings": (
        [
            requests.embed(
                [
                    "a",
                    [1],
                    {"text": "a", "expert": "law"},
                    {"record": {"brand": "a"}},
                    b"an image",
                    {"bytes": "R0lGODlh"},
                    {"url": "https://example.org/a.png"},
                    {"points": [[1.0, 2.0, 3.0]]},
                ],
                model="tiny",
                input_type="query",
                dimensions=2,
            ),
            requests.embed(["a"], model=None, input_type=None, dimensions=None, output="tokens"),
        ],
        results.Embeddings | results.Encodings[Any],
    ),
    "POST /v1/rerank": (
        [
            requests.rerank(
                "a",
                ["b", {"text": "c"}],
                model="tiny-cross",
                top_n=1,
                rank_fields=["text"],
                max_tokens_per_doc=5,
            )
        ],
        results.Reranking,
    ),
    "GET /v1/collections": ([requests.collections()], list[results.CollectionInfo]),
    "PUT /v1/collections/{name}": (
        [requests.create_collection("c", **DEFINITION, exist_ok=True)],
        results.CollectionInfo,
    ),
    "GET /v1/collections/{name}": ([requests.describe("c")], results.CollectionInfo),
    "PATCH /v1/collections/{name}": (
        [
            requests.alter(
                "c",
                schema={"a": "keyword", "b": None},
                index={"m": 8, "ef_construction": 64},
                lexical={"fields": ["title"], "language": None},
            ),
            requests.alter("c", schema=None, index=None, lexical=True),
            requests.alter("c", schema=None, index=None, lexical=False),
        ],
        results.CollectionInfo,
    ),
    "DELETE /v1/collections/{name}": ([requests.drop("c")], None),
    "POST /v1/collections/{name}/snapshots": (
        [requests.take_snapshot("c", "s")],
        results.SnapshotInfo,
    ),
    "GET /v1/snapshots": ([requests.snapshots()], list[results.SnapshotInfo]),
    "GET /v1/snapshots/{name}": ([requests.describe_snapshot("s")], results.SnapshotInfo),
    "GET /v1/snapshots/{name}/file": ([requests.download_snapshot("s", None)], str),
    "PUT /v1/snapshots/{name}/file": (
        [requests.upload_snapshot("s", Outgoing(Path(__file__), None))],
        results.SnapshotInfo,
    ),
    "DELETE /v1/snapshots/{name}": ([requests.drop_snapshot("s")], None),
    "POST /v1/snapshots/{name}/restore": (
        [requests.restore_snapshot("s", "c", replace=True)],
        results.CollectionInfo,
    ),
    "PUT /v1/collections/{name}/query-banks/{name}": (
        [
            requests.put_query_bank(
                "c",
                "b",
                using="title",
                queries=["text", {"vector": [1.0]}],
                sample=None,
                method="csls",
                strength=0.5,
                k=3,
                tau=0.1,
                dev=[("text", [1, "a"])],
                candidates=5,
            ),
            requests.put_query_bank(
                "c",
                "b",
                using="title",
                queries=None,
                sample={"points": 5},
                method=["center"],
                strength=[0.5, 1],
                k=3,
                tau=0.1,
                dev=[{"id": 1, "relevant": [2]}],
                candidates=5,
            ),
        ],
        QueryBank,
    ),
    "GET /v1/collections/{name}/query-banks/{name}": ([requests.query_bank("c", "b")], QueryBank),
    "GET /v1/collections/{name}/query-banks": ([requests.query_banks("c")], list[QueryBank]),
    "DELETE /v1/collections/{name}/query-banks/{name}": (
        [requests.drop_query_bank("c", "b")],
        None,
    ),
    "PUT /v1/collections/{name}/calibrations/{name}": (
        [
            requests.put_calibration(
                "c",
                "k",
                scores=[0.5],
                matches=[True],
                using="title",
                dev=[("text", [1])],
                candidates=5,
                method="platt",
            )
        ],
        Calibration,
    ),
    "GET /v1/collections/{name}/calibrations/{name}": (
        [requests.calibration("c", "k")],
        Calibration,
    ),
    "GET /v1/collections/{name}/calibrations": ([requests.calibrations("c")], list[Calibration]),
    "DELETE /v1/collections/{name}/calibrations/{name}": (
        [requests.drop_calibration("c", "k")],
        None,
    ),
    "PUT /v1/collections/{name}/points": ([requests.upsert("c", WHOLE_BATCH)], int),
    "PATCH /v1/collections/{name}/points": (
        [
            requests.patch(
                "c", ids=[1, "a"], filter=None, set={"a": PLACE, "c": [PLACE]}, unset=["b"]
            ),
            requests.patch("c", ids=None, filter=F("a") == 1, set={"a": 1}, unset=["b"]),
            requests.patch(
                "c", ids=[1], filter=None, set=None, unset=None, expires_at="2030-01-01T00:00:00Z"
            ),
            requests.patch("c", ids=[1], filter=None, set=None, unset=None, never_expires=True),
        ],
        int,
    ),
    "POST /v1/collections/{name}/points/get": (
        [requests.get("c", [1, "a"], **PROJECTION)],
        results.Records,
    ),
    "POST /v1/collections/{name}/points/delete": (
        [
            requests.delete("c", ids=[1, "a"], filter=None),
            requests.delete("c", ids=None, filter=F("a") == 1),
        ],
        int,
    ),
    "POST /v1/collections/{name}/points/count": ([requests.count("c", F("a") == 1)], int),
    "POST /v1/collections/{name}/points/facets": (
        [
            requests.facets("c", {"years": {"field": "year"}}, F("a") == 1, query)
            for query in EVERY_QUERY
        ],
        results.Facets,
    ),
    "POST /v1/collections/{name}/evaluate": (
        [
            requests.evaluate(
                "c",
                [
                    {"name": "a", "text": "t", "encoder": "tiny", "relevant": [1, "a"]},
                    {"image": b"an image", "filter": F("a") == 1},
                    {"record": {"brand": "acme"}},
                    {"vector": array("f", [1.0])},
                    {"id": "a", "relevant": [{"id": 1, "grade": 2}]},
                    {"query": {"vector": array("f", [1.0])}},
                ],
                sample=None,
                pairs=None,
                configurations={"dense": {"using": "title"}},
                task="ann",
                measures=["recall@10"],
                rates=None,
                per_query=True,
                resamples=100,
                seed=1,
            ),
            requests.evaluate(
                "c",
                None,
                sample={
                    "points": 10,
                    "seed": 1,
                    "filter": F("a") == 1,
                    "label": ["a", "b"],
                    "match": "a",
                    "unknown": F("a") == 2,
                    "using": "title",
                },
                pairs=None,
                configurations=None,
                task="recognition",
                measures=None,
                rates=None,
                per_query=False,
                resamples=None,
                seed=None,
            ),
            requests.evaluate(
                "c",
                [
                    {"text": "t", "label": "a"},
                    {
                        "reference": {"image": b"an image"},
                        "condition": {"vector": array("f", [1.0])},
                        "gallery": [1, "a"],
                        "relevant": ["a"],
                    },
                ],
                sample=None,
                pairs=[
                    {"name": "p", "a": "a text", "b": b"an image", "same": True},
                    {"a": {"id": 1}, "b": {"vector": array("f", [1.0])}, "score": 0.5},
                ],
                configurations=None,
                task="conditional",
                measures=None,
                rates=[0.1],
                per_query=False,
                resamples=None,
                seed=None,
            ),
        ],
        evaluation.Evaluation,
    ),
    "POST /v1/collections/{name}/classify": (
        [
            requests.classify("c", ["text", b"an image", {"id": 1}], "k", EVERY_JUDGING),
        ],
        memory.Classifications,
    ),
    "GET /v1/collections/{name}/classifiers": ([requests.classifiers("c")], list[memory.Kept]),
    "PUT /v1/collections/{name}/classifiers/{name}": (
        [requests.make_classifier("c", "k", EVERY_FIT, EVERY_JUDGING)],
        memory.Classifier,
    ),
    "GET /v1/collections/{name}/classifiers/{name}": (
        [requests.describe_classifier("c", "k")],
        memory.Classifier,
    ),
    "DELETE /v1/collections/{name}/classifiers/{name}": (
        [requests.drop_classifier("c", "k")],
        None,
    ),
    "POST /v1/collections/{name}/classifiers/{name}/learn": (
        [requests.teach_classifier("c", "k", [{"id": 1, "label": "a"}], 0.1)],
        memory.Classifier,
    ),
    "POST /v1/collections/{name}/verify": (
        [
            requests.verify(
                "c",
                "text",
                {"id": 1},
                [{"a": b"an image", "b": "text", "claim": "a"}],
                {**VERIFY_OPTIONS, "claim": "ada"},
            )
        ],
        memory.Verifications,
    ),
    "GET /v1/collections/{name}/thresholds": ([requests.thresholds("c")], list[memory.Kept]),
    "PUT /v1/collections/{name}/thresholds/{name}": (
        [
            requests.choose_threshold(
                "c", "t", [{"a": {"id": 1}, "b": "text", "same": True}], THRESHOLD_OPTIONS
            )
        ],
        memory.Threshold,
    ),
    "GET /v1/collections/{name}/thresholds/{name}": (
        [requests.describe_threshold("c", "t")],
        memory.Threshold,
    ),
    "DELETE /v1/collections/{name}/thresholds/{name}": ([requests.drop_threshold("c", "t")], None),
    "POST /v1/collections/{name}/points/scroll": (
        [requests.scroll("c", filter=F("a") == 1, page_size=5, cursor="x", **PROJECTION)],
        results.Page,
    ),
    "POST /v1/collections/{name}/points:import": (
        [requests.import_lines("c", line, on_error="skip") for line in WHOLE_LINES],
        results.ImportReport,
    ),
    "POST /v1/collections/{name}/points:export": (
        [
            requests.export(
                "c", filter=F("a") == 1, after=1, with_text=True, with_vectors=True, sink=None
            )
        ],
        None,
    ),
    "POST /v1/collections/{name}/query": (
        [requests.query("c", query) for query in EVERY_QUERY],
        results.QueryResult,
    ),
    "POST /v1/collections/{name}/query:batch": (
        [requests.query_batch("c", EVERY_QUERY)],
        list[results.QueryResult],
    ),
}

# What the server offers and the SDK leaves alone, each with its reason.
NOT_SPOKEN = {
    "GET /",  # the same answer as /v1/info
    "POST /v1/embed",  # for Cohere's clients
    "POST /v2/embed",
    "POST /embed",  # for clients of text-embeddings-inference
    "GET /metrics",  # for scrapers, which speak for themselves
    "POST /v2/rerank",  # the same as /v1/rerank
}
NOT_SENT = {
    "POST /v1/embeddings": {
        "user",  # OpenAI's, which the service ignores
        "return_multivector",  # Jina's word for `output`
        *("embedding_type", "task", "normalized", "truncate", "late_chunking"),  # Jina's
    },
    # Who sends documents has them; and what changes nothing, Cohere's clients send.
    "POST /v1/rerank": {"return_documents", "max_chunks_per_doc"},
}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), models_dir=Path("models"))
    built: Schema = create_app(settings).openapi()
    return built


def _operation(document: Schema, name: str) -> Schema:
    method, path = name.split(" ")
    found: dict[tuple[str, str], Schema] = {
        (verb.upper(), re.sub(r"\{\w+\}", "{name}", template)): operation
        for template, operations in document["paths"].items()
        for verb, operation in operations.items()
    }
    return found[method, path]


def _resolved(document: Schema, schema: Schema) -> Schema:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _request_schema(document: Schema, name: str) -> Schema | None:
    body = _operation(document, name).get("requestBody")
    if body is None:
        return None
    # A file has no schema: nothing of it is in the request's content.
    # What may be a form as well is sent as JSON by the SDK.
    content = body["content"].get("application/json") or next(iter(body["content"].values()))
    found: Schema = content["schema"]
    return None if found.get("format") == "binary" else found


def _answer_schemas(document: Schema, name: str) -> dict[int, Schema | None]:
    """Schemas by status, of the answers that carry a result; None for an empty one."""
    found = {}
    for status, response in _operation(document, name)["responses"].items():
        content = response.get("content", {})
        if status.startswith("2") or (name == "GET /readyz" and status == "503"):
            schemas = {media["schema"].get("$ref") for media in content.values()} - {None}
            assert len(schemas) <= 1, "the same in JSON and in lines of it"
            found[int(status)] = {"$ref": schemas.pop()} if schemas else None
    assert found
    return found


# ── endpoints ────────────────────────────────────────────────────────────────────────────────


def test_the_sdk_speaks_every_endpoint(document: Schema) -> None:
    offered = {
        f"{verb.upper()} {re.sub(r'{[a-z_]+}', '{name}', path)}"
        for path, operations in document["paths"].items()
        for verb in operations
    }
    assert offered - NOT_SPOKEN == set(CALLS)


def test_every_request_builder_is_checked_here() -> None:
    builders = {
        name
        for name, value in vars(requests).items()
        if isinstance(value, types.FunctionType)
        and value.__module__ == requests.__name__
        and str(value.__annotations__.get("return", "")).startswith("Call[")
    }
    assert len(builders) == len(CALLS)


def _unnamed(part: re.Match[str]) -> str:
    return f"{part[0][:-1]}{{name}}"


@pytest.mark.parametrize("name", CALLS)
def test_a_call_goes_to_its_endpoint(name: str) -> None:
    for call in CALLS[name][0]:
        path = call.request.path.partition("?")[0]
        named = r"/(collections/c|snapshots/s|models/m|classifiers/k|thresholds/t)\b"
        path = re.sub(named, _unnamed, path)
        path = re.sub(
            r"/(collections/c|snapshots/s|models/m|query-banks/b|calibrations/k)\b", _unnamed, path
        )
        assert f"{call.request.method} {path}" == name


# ── requests ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CALLS)
def test_every_field_sent_exists_and_has_a_fitting_type(name: str, document: Schema) -> None:
    schema = _request_schema(document, name)
    for call in CALLS[name][0]:
        if schema is None:
            assert call.request.content is None
            continue
        assert call.request.content is not None
        body = json.loads(call.request.content)
        jsonschema.validate(body, {**schema, "components": document["components"]})
        # A schema that tolerates unknown members would not have noticed them.
        assert set(body) <= set(_resolved(document, schema)["properties"])


@pytest.mark.parametrize("name", CALLS)
def test_every_field_offered_can_be_sent(name: str, document: Schema) -> None:
    schema = _request_schema(document, name)
    if schema is None:
        return
    bodies = [json.loads(call.request.content or b"") for call in CALLS[name][0]]
    _assert_all_sent(document, schema, bodies, NOT_SENT.get(name, set()))


def _assert_all_sent(
    document: Schema, schema: Schema, bodies: list[Any], left_out: set[str]
) -> None:
    """Every property of the schema, at every depth, is in at least one of the bodies."""
    schema = _resolved(document, schema)
    for choice in schema.get("anyOf", ()):
        _assert_all_sent(document, choice, bodies, left_out)
    if "properties" in schema:
        objects = [body for body in bodies if isinstance(body, dict)]
        for field, inner in schema["properties"].items():
            sent = [body[field] for body in objects if field in body]
            assert bool(sent) is (field not in left_out), field
            if sent:
                _assert_all_sent(document, inner, sent, set())
    elif isinstance(schema.get("additionalProperties"), dict):
        objects = [body for body in bodies if isinstance(body, dict)]
        inner_bodies = [inner for body in objects for inner in body.values()]
        _assert_all_sent(document, schema["additionalProperties"], inner_bodies, set())
    elif "items" in schema:
        items = [item for body in bodies if isinstance(body, list) for item in body]
        _assert_all_sent(document, schema["items"], items, set())


@given(filters)
def test_the_server_reads_every_filter_expression(pair: Pair) -> None:
    expression, plain = pair
    try:
        parsed = parse_filter(plain)
    except server_errors.InvalidFilter:
        return  # a bool is no bound: the expression may say what the language refuses
    assert parse_filter(expression.to_dict()) == parsed


# ── answers ──────────────────────────────────────────────────────────────────────────────────

VECTOR = base64.b64encode(struct.pack("<2f", 1.0, 2.0)).decode()


def _sample(document: Schema, schema: Schema, *, whole: bool) -> Any:
    """Make a value of a schema: with all members of every object, or only the required ones."""
    schema = _resolved(document, schema)
    inner: Callable[[Schema], Any] = lambda part: _sample(document, part, whole=whole)  # noqa: E731
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        # The SDK asks for vectors in base64, and null is the sample of an optional member left out.
        encoded = [choice for choice in choices if choice.get("format") == "byte"]
        by_presence = sorted(choices, key=lambda choice: (choice.get("type") == "null") is whole)
        return VECTOR if encoded else inner(by_presence[0])
    kind: Any = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        properties = schema.get("properties", {})
        wanted = properties if whole else schema.get("required", ())
        value = {field: inner(properties[field]) for field in wanted}
        if isinstance(schema.get("additionalProperties"), dict) and not properties:
            value["some"] = inner(schema["additionalProperties"])
        elif not properties:
            value["some"] = 1
        return value
    if kind == "array":
        return [inner(schema["items"])]
    leaves = {"string": "text", "integer": 3, "number": 0.5, "boolean": True, "null": None}
    return leaves[kind]  # KeyError: a schema without a type, which says nothing to hold on to


def _read(name: str, status: int, body: Any) -> Any:
    content = b"" if body is None else json.dumps(body).encode()
    return CALLS[name][0][0].read(Response(status, {"etag": '"x"'}, content))


def _class_of(hint: Any) -> type:
    origin = typing.get_origin(hint)
    return type(typing.get_args(hint)[0]) if origin is typing.Literal else origin or hint


def _assert_fits(value: Any, hint: Any) -> None:
    """Check a value against its annotation, down to the leaves."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return
    if origin in (typing.Union, types.UnionType):
        hints = [part for part in parts if part is not types.NoneType]
        if value is None:
            assert types.NoneType in parts
        elif len(hints) == 1:
            _assert_fits(value, hints[0])
        else:
            assert isinstance(value, tuple(_class_of(one) for one in hints))
    elif origin in (list, tuple):
        assert isinstance(value, origin)
        for item in value:
            _assert_fits(item, parts[0])
    elif origin is dict:
        assert isinstance(value, dict)
        for key, item in value.items():
            _assert_fits(key, parts[0])
            _assert_fits(item, parts[1])
    elif origin is array or hint is array:
        assert isinstance(value, array)
    elif dataclasses.is_dataclass(hint):
        assert type(value) is hint
        for field, field_hint in _hints(hint).items():
            _assert_fits(getattr(value, field), field_hint)
    else:
        assert type(value) is (hint or types.NoneType), hint


def _hints(cls: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(
        cls,
        {
            **vars(results),
            **vars(evaluation),
            **vars(memory),
            "array": _Array,
            "PointId": str | int,
        },
    )


class _Array:
    """Stands for `array[float]`, which Python 3.10 cannot subscript at run time."""

    def __class_getitem__(cls, item: object) -> type[array[float]]:
        return array


def _assert_no_gaps(value: Any, where: str) -> None:
    """Nothing is None or empty: what was read was there to be read."""
    assert value not in (None, (), {}, []), where
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _assert_no_gaps(getattr(value, field.name), f"{where}.{field.name}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            _assert_no_gaps(item, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            _assert_no_gaps(item, f"{where}[{key}]")


@pytest.mark.parametrize("name", CALLS)
def test_every_field_read_exists_and_has_the_declared_type(name: str, document: Schema) -> None:
    for status, schema in _answer_schemas(document, name).items():
        body = None if schema is None else _sample(document, schema, whole=True)
        result = _read(name, status, body)
        _assert_fits(result, CALLS[name][1])
        if CALLS[name][1] is not None:
            _assert_no_gaps(result, name)


@pytest.mark.parametrize("name", CALLS)
def test_fields_that_may_be_left_out_are_not_needed(name: str, document: Schema) -> None:
    for status, schema in _answer_schemas(document, name).items():
        body = None if schema is None else _sample(document, schema, whole=False)
        _assert_fits(_read(name, status, body), CALLS[name][1])


# ── errors ───────────────────────────────────────────────────────────────────────────────────


def test_problem_documents_have_the_fields_that_errors_are_rebuilt_from(document: Schema) -> None:
    schema = document["components"]["schemas"]["Problem"]
    body = {**_sample(document, schema, whole=True), "type": "urn:likewise:problem:some-code"}
    answer = Response(422, {"retry-after": "1"}, json.dumps(body).encode())
    error = requests.error_from_response(requests.Request("GET", "/"), answer)
    assert isinstance(error, InvalidRequestError)
    _assert_no_gaps(error.problem, "problem")
    assert set(schema["properties"]) - {"type", "error"} <= {  # `error` is for OpenAI's clients
        field.name for field in dataclasses.fields(Problem)
    }


FAMILIES = {
    server_errors.InvalidRequest: InvalidRequestError,
    server_errors.AccessDenied: AccessError,
    server_errors.NotFound: NotFoundError,
    server_errors.Conflict: ConflictError,
    server_errors.Overloaded: OverloadedError,
    server_errors.Unavailable: UnavailableError,
    server_errors.LikewiseError: ServerError,
}


@pytest.mark.parametrize("raised", STATUS, ids=lambda raised: raised.__name__)
def test_every_error_of_the_server_arrives_as_its_twin(
    raised: type[server_errors.LikewiseError],
) -> None:
    if raised is server_errors.MethodNotAllowed:
        return  # arrives as VersionError, like an unknown route: tests/client/test_errors.py
    family = next(ours for theirs, ours in FAMILIES.items() if issubclass(raised, theirs))
    problem = Problem(status=STATUS[raised], code="c", title="t", detail="d")
    assert type(error_from_problem(problem)) is family
