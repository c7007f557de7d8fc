"""A real server seen from outside: its metrics, its log, its spans."""

from __future__ import annotations

from tests.metrics.reading import value

from .conftest import DIMENSION, PARENT, POINTS, QUERIES, SECRET, TRACE, Observed


def test_every_bad_request_is_refused_as_the_callers(observed: Observed) -> None:
    assert {name: status // 100 for name, status in observed.statuses.items()} == dict.fromkeys(
        observed.statuses, 4
    )


# ── metrics ──────────────────────────────────────────────────────────────────────────────────


def test_requests_are_counted_by_route_method_and_status(observed: Observed) -> None:
    samples = observed.samples
    query = {"method": "POST", "route": "/v1/collections/{name}/query"}
    good = value(samples, "likewise_http_requests_total", {**query, "status": "200"})
    assert good == QUERIES + 1
    every = [
        count
        for labels, count in samples["likewise_http_requests_total"].items()
        if set(query.items()) <= set(labels)
    ]
    assert value(samples, "likewise_http_request_seconds_count", query) == sum(every)
    unknown = {"method": "GET", "route": "-", "status": "404"}
    assert value(samples, "likewise_http_requests_total", unknown) == 1
    assert value(samples, "likewise_http_requests_in_flight") == 1, "the scrape itself"


def test_problems_are_counted_by_code(observed: Observed) -> None:
    codes = {
        dict(labels)["code"]: n for labels, n in observed.samples["likewise_problems_total"].items()
    }
    assert sum(codes.values()) == len(observed.statuses)
    for code in ("invalid-name", "invalid-filter", "schema-violation", "route-not-found"):
        assert codes[code] == 1, code


def test_queries_are_accounted_for_by_plan_stage_and_recall(observed: Observed) -> None:
    samples = observed.samples
    assert value(samples, "likewise_queries_total", {"plan": "graph"}) >= QUERIES
    assert sum(samples["likewise_queries_total"].values()) == QUERIES + 3
    for stage in ("read", "search", "answer"):
        counted = value(samples, "likewise_query_stage_seconds_count", {"stage": stage})
        assert counted >= QUERIES + 2, stage
    assert value(samples, "likewise_query_stage_seconds_count", {"stage": "encode"}) == 1
    recall = value(samples, "likewise_self_check_recall_mean", {"collection": "films"})
    assert 0.8 <= recall <= 1


def test_writes_builds_and_sizes_are_accounted_for(observed: Observed) -> None:
    samples = observed.samples
    assert value(samples, "likewise_points_written_total", {"operation": "upsert"}) == POINTS + 1
    assert value(samples, "likewise_points_written_total", {"operation": "patch"}) == 1
    assert value(samples, "likewise_points_written_total", {"operation": "delete"}) == 1
    assert value(samples, "likewise_commit_seconds_count") >= 4
    assert value(samples, "likewise_build_seconds_count", {"kind": "segment"}) >= 1
    films = {"collection": "films"}
    assert value(samples, "likewise_collection_points", films) == POINTS - 1
    assert value(samples, "likewise_collection_segments", films) >= 1
    vectors = POINTS * DIMENSION * 4
    assert value(samples, "likewise_collection_segment_bytes", films) > vectors
    assert value(samples, "likewise_collection_store_bytes", films) > vectors
    assert value(samples, "likewise_encoder_batch_texts_sum", {"encoder": "tiny"}) == 3
    assert value(samples, "likewise_storage_free_bytes") > 0
    assert value(samples, "likewise_memory_limit_bytes") > value(
        samples, "likewise_memory_anonymous_bytes"
    ) > 0  # fmt: skip
    assert value(samples, "process_resident_memory_bytes") > 0


def test_nothing_of_a_request_is_a_label(observed: Observed) -> None:
    assert SECRET not in observed.metrics


# ── the log ──────────────────────────────────────────────────────────────────────────────────


def test_nothing_of_a_request_is_in_the_log_at_debug_level(observed: Observed) -> None:
    assert SECRET not in observed.log
    assert observed.log.count('"message":"request"') > QUERIES + len(observed.statuses)


def test_a_request_line_says_where_how_long_and_what_was_wrong(observed: Observed) -> None:
    (line,) = [line for line in observed.lines if line.get("request_id") == "asked-for"]
    assert (line["collection"], line["path"]) == ("texts", "/v1/collections/{name}/query")
    assert (line["status"], line["trace_id"]) == (200, TRACE)
    refused = [line for line in observed.lines if line.get("problem") == "invalid-filter"]
    assert [(line["status"], line["collection"]) for line in refused] == [(422, "films")]


def test_lines_of_background_work_say_which_job_of_what(observed: Observed) -> None:
    jobs = {line["job"]: line for line in observed.lines if "job" in line}
    assert jobs["build segment"]["collection"] == "films"
    assert jobs["build segment"]["seconds"] >= 0
    assert jobs["load encoder"]["encoder"] == "tiny"
    for line in observed.lines:
        assert {"time", "level", "logger", "message"} <= set(line)


# ── spans ────────────────────────────────────────────────────────────────────────────────────


def test_a_request_is_a_span_below_its_callers_with_its_stages_below(observed: Observed) -> None:
    spans = [span for span in observed.spans if span.trace_id.hex() == TRACE]
    by_name = {span.name: span for span in spans}
    assert set(by_name) == {"POST /v1/collections/{name}/query", "encode", "search"}
    request = by_name["POST /v1/collections/{name}/query"]
    assert request.parent_span_id.hex() == PARENT
    for stage in ("encode", "search"):
        span = by_name[stage]
        assert span.parent_span_id == request.span_id
        assert request.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= request.end_time_unix_nano
    facts = {item.key: item.value for item in by_name["search"].attributes}
    assert facts["likewise.collection"].string_value == "texts"
    assert facts["likewise.plan"].string_value == "exact"
    assert (facts["likewise.k"].int_value, facts["likewise.matches"].int_value) == (10, 1)
    facts = {item.key: item.value for item in request.attributes}
    assert facts["likewise.request_id"].string_value == "asked-for"
    assert facts["http.response.status_code"].int_value == 200


def test_a_write_is_a_span_with_its_collection_and_points(observed: Observed) -> None:
    writes = [
        {item.key: item.value for item in span.attributes}
        for span in observed.spans
        if span.name == "write"
    ]
    told = {
        (one["likewise.operation"].string_value, one["likewise.collection"].string_value)
        for one in writes
    }
    assert {("upsert", "films"), ("delete", "films")} <= told
    assert POINTS in [
        one["likewise.points"].int_value for one in writes if "likewise.points" in one
    ]


def test_nothing_of_a_request_is_in_a_span(observed: Observed) -> None:
    assert observed.spans
    assert SECRET not in str(observed.spans)


def test_readiness_tells_of_each_component(observed: Observed) -> None:
    components = observed.readiness["components"]
    assert components["encoders"]["encoders"] == {"tiny": "ready"}
    assert components["storage"]["free_bytes"] > 0
    assert components["queues"]["queues"]["search"] == {"waiting": 0, "limit": 1024}
    assert components["engine"]["faults"] == {}
