from __future__ import annotations

import json
from typing import Any

import pytest

from .harness import InProcess


@pytest.fixture
def document(plain: InProcess) -> Any:
    return plain.get("/openapi.json").json()


OPERATIONS = {
    "healthz": "GET /healthz",
    "readyz": "GET /readyz",
    "metrics": "GET /metrics",
    "info": "GET /v1/info",
    "limits": "GET /v1/limits",
    "list_models": "GET /v1/models",
    "describe_model": "GET /v1/models/{model}",
    "load_model": "POST /v1/models/{model}/load",
    "unload_model": "POST /v1/models/{model}/unload",
    "create_embeddings": "POST /v1/embeddings",
    "cohere_embed_v1": "POST /v1/embed",
    "cohere_embed_v2": "POST /v2/embed",
    "tei_embed": "POST /embed",
    "rerank": "POST /v1/rerank",
    "rerank_v2": "POST /v2/rerank",
    "list_collections": "GET /v1/collections",
    "create_collection": "PUT /v1/collections/{name}",
    "get_collection": "GET /v1/collections/{name}",
    "alter_collection": "PATCH /v1/collections/{name}",
    "drop_collection": "DELETE /v1/collections/{name}",
    "put_query_bank": "PUT /v1/collections/{name}/query-banks/{bank}",
    "list_query_banks": "GET /v1/collections/{name}/query-banks",
    "get_query_bank": "GET /v1/collections/{name}/query-banks/{bank}",
    "drop_query_bank": "DELETE /v1/collections/{name}/query-banks/{bank}",
    "put_calibration": "PUT /v1/collections/{name}/calibrations/{calibration}",
    "list_calibrations": "GET /v1/collections/{name}/calibrations",
    "get_calibration": "GET /v1/collections/{name}/calibrations/{calibration}",
    "drop_calibration": "DELETE /v1/collections/{name}/calibrations/{calibration}",
    "create_snapshot": "POST /v1/collections/{name}/snapshots",
    "list_snapshots": "GET /v1/snapshots",
    "get_snapshot": "GET /v1/snapshots/{snapshot}",
    "download_snapshot": "GET /v1/snapshots/{snapshot}/file",
    "upload_snapshot": "PUT /v1/snapshots/{snapshot}/file",
    "drop_snapshot": "DELETE /v1/snapshots/{snapshot}",
    "restore_snapshot": "POST /v1/snapshots/{snapshot}/restore",
    "upsert_points": "PUT /v1/collections/{name}/points",
    "patch_points": "PATCH /v1/collections/{name}/points",
    "get_points": "POST /v1/collections/{name}/points/get",
    "delete_points": "POST /v1/collections/{name}/points/delete",
    "count_points": "POST /v1/collections/{name}/points/count",
    "count_facets": "POST /v1/collections/{name}/points/facets",
    "classify": "POST /v1/collections/{name}/classify",
    "verify": "POST /v1/collections/{name}/verify",
    "list_classifiers": "GET /v1/collections/{name}/classifiers",
    "make_classifier": "PUT /v1/collections/{name}/classifiers/{classifier}",
    "describe_classifier": "GET /v1/collections/{name}/classifiers/{classifier}",
    "drop_classifier": "DELETE /v1/collections/{name}/classifiers/{classifier}",
    "teach_classifier": "POST /v1/collections/{name}/classifiers/{classifier}/learn",
    "list_thresholds": "GET /v1/collections/{name}/thresholds",
    "choose_threshold": "PUT /v1/collections/{name}/thresholds/{threshold}",
    "describe_threshold": "GET /v1/collections/{name}/thresholds/{threshold}",
    "drop_threshold": "DELETE /v1/collections/{name}/thresholds/{threshold}",
    "scroll_points": "POST /v1/collections/{name}/points/scroll",
    "import_points": "POST /v1/collections/{name}/points:import",
    "export_points": "POST /v1/collections/{name}/points:export",
    "query_points": "POST /v1/collections/{name}/query",
    "query_points_batch": "POST /v1/collections/{name}/query:batch",
    "evaluate_queries": "POST /v1/collections/{name}/evaluate",
}


WITHOUT_A_BODY = {"POST /v1/models/{model}/load", "POST /v1/models/{model}/unload"}


def operations(document: Any) -> dict[str, Any]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_operation_ids_are_the_names_that_generated_clients_get(document: Any) -> None:
    found = {operation["operationId"]: place for place, operation in operations(document).items()}
    assert found == OPERATIONS


def test_every_writing_operation_shows_its_body(document: Any) -> None:
    for place, operation in operations(document).items():
        reads = place.split()[0] in ("PUT", "POST", "PATCH") and place not in WITHOUT_A_BODY
        assert ("requestBody" in operation) == reads, place


def test_every_reference_leads_somewhere_and_every_schema_is_used(document: Any) -> None:
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    prefix = '"$ref": "#/components/schemas/'
    used = {part.partition('"')[0] for part in text.split(prefix)[1:]}
    assert used == set(schemas)


def test_every_operation_declares_its_problems(document: Any) -> None:
    for place, operation in operations(document).items():
        problems = {
            status
            for status, response in operation["responses"].items()
            if "application/problem+json" in response.get("content", {})
        }
        assert "500" in problems, place
        assert "requestBody" not in operation or {"400", "413", "415", "422"} <= problems, place
        assert "{name}" not in place or {"404", "422", "429", "503"} <= problems, place


def test_the_leaves_that_the_service_reads_are_described(document: Any) -> None:
    point = document["components"]["schemas"]["NewPoint"]["properties"]
    dense, *others = point["vector"]["anyOf"]
    assert [kind["type"] for kind in dense["oneOf"]] == ["array", "string"]
    assert [kind["type"] for kind in others] == ["array", "object", "object"]
    assert [kind["type"] for kind in point["id"]["oneOf"]] == ["string", "integer"]
    assert document["components"]["schemas"]["NewPoint"]["required"] == ["id"]
    assert document["components"]["schemas"]["NewPoint"]["additionalProperties"] is False


def test_the_interactive_page_is_there(plain: InProcess) -> None:
    assert plain.get("/docs").status_code == 200
