"""Every metric there is: declared once, here.

`docs/operations.md` has the same table, and tests hold it, the dashboard and the alert rules to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: what it is called, counts and is told apart by."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


def _family(
    name: str, kind: Literal["counter", "gauge", "histogram"], labels: str, meaning: str
) -> Family:
    return Family(f"likewise_{name}", kind, tuple(labels.split()), meaning)


FAMILIES = (
    _family("info", "gauge", "version", "1, with the version that runs."),
    _family(
        "http_requests_total",
        "counter",
        "method route status",
        "Requests answered; status 499 is one whose caller went away.",
    ),
    _family(
        "http_request_seconds",
        "histogram",
        "method route",
        "Time from a request's first byte to its answer's last.",
    ),
    _family(
        "http_requests_in_flight", "gauge", "", "Requests being answered now, the scrape included."
    ),
    _family("problems_total", "counter", "code", "Problem documents sent, by code (docs/api.md)."),
    _family(
        "query_stage_seconds",
        "histogram",
        "stage",
        "Parts of a query: read, wait (for a thread), check, encode, search, rerank, answer.",
    ),
    _family(
        "queries_total", "counter", "plan", "Queries answered, by the plan that was carried out."
    ),
    _family("query_parts", "histogram", "", "Searchable pieces that a query looked into."),
    _family("queue_waiting", "gauge", "queue", "Requests that wait for a thread of a lane."),
    _family("queue_limit", "gauge", "queue", "How many may, before requests get 429."),
    _family(
        "encoder_waiting_texts",
        "gauge",
        "encoder lane",
        "Texts that wait for an encoder; lane is query, write or bulk.",
    ),
    _family(
        "encoder_waiting_limit", "gauge", "encoder lane", "How many may, before requests get 429."
    ),
    _family(
        "encoder_wait_seconds",
        "histogram",
        "encoder lane",
        "Time until the first of a request's texts was run.",
    ),
    _family(
        "encoder_spared_texts_total",
        "counter",
        "encoder reason",
        "Texts that were not run: coalesced with an equal one, cancelled, expired.",
    ),
    _family("encoder_batch_texts", "histogram", "encoder", "Texts of a batch."),
    _family("encoder_batch_tokens", "histogram", "encoder", "Tokens of a batch, padding left out."),
    _family("encoder_batch_seconds", "histogram", "encoder", "Time of the model for a batch."),
    _family(
        "encoder_failures_total", "counter", "encoder", "Batches that the model could not encode."
    ),
    _family(
        "embedding_cache_inputs_total",
        "counter",
        "result",
        "Inputs by what the embedding cache had: hit, miss, or passed (not looked up).",
    ),
    _family("embedding_cache_bytes", "gauge", "", "What the embedding cache holds."),
    _family("embedding_cache_limit_bytes", "gauge", "", "How much it may hold; 0 is off."),
    _family(
        "embedding_cache_restarts_total",
        "counter",
        "",
        "Times that its file was damaged and begun anew.",
    ),
    _family(
        "write_seconds",
        "histogram",
        "operation",
        "Time of a write, its wait for a thread and its sync included.",
    ),
    _family(
        "points_written_total", "counter", "operation", "Points upserted, patched and deleted."
    ),
    _family("commit_seconds", "histogram", "", "Time of a transaction until readers see it."),
    _family("commit_writes", "histogram", "", "Writes that shared a transaction."),
    _family("builds_running", "gauge", "", "Build processes that run now."),
    _family(
        "build_seconds",
        "histogram",
        "kind",
        "Time of a build that ended well; kind is segment or cover.",
    ),
    _family(
        "build_failures_total", "counter", "kind", "Builds that failed and are tried again later."
    ),
    _family("collections", "gauge", "", "Collections that are served."),
    _family(
        "collections_broken",
        "gauge",
        "",
        "Collections that cannot be used, or not be written to any more; /readyz says why.",
    ),
    _family("collection_points", "gauge", "collection", "Live points."),
    _family(
        "collection_dead_slots",
        "gauge",
        "collection",
        "Deleted and replaced versions that a build will take away.",
    ),
    _family(
        "collection_head_points",
        "gauge",
        "collection",
        "Live points outside of graphs, searched exactly.",
    ),
    _family("collection_segments", "gauge", "collection", "Pieces with a graph."),
    _family("collection_segment_bytes", "gauge", "collection", "Files of those pieces."),
    _family(
        "collection_cover_bytes",
        "gauge",
        "collection",
        "Files of the graphs built for frequent filters.",
    ),
    _family("collection_store_bytes", "gauge", "collection", "The database and its log."),
    _family("storage_size_bytes", "gauge", "", "The disk of the data directory."),
    _family("storage_free_bytes", "gauge", "", "What is free of it."),
    _family("storage_writable", "gauge", "", "1, or 0 if the system refuses writes."),
    _family(
        "self_check_recall",
        "histogram",
        "collection",
        "Recall@k of sampled approximate queries against exact answers.",
    ),
    _family(
        "self_check_recall_mean",
        "gauge",
        "collection",
        "Mean recall of about the latest twenty samples.",
    ),
    _family(
        "self_checks_total",
        "counter",
        "outcome",
        "Samples: checked, busy (callers waited), dropped (queue full), failed.",
    ),
    _family(
        "memory_anonymous_bytes",
        "gauge",
        "",
        "Resident memory without mapped files: what counts against the limit.",
    ),
    _family(
        "memory_limit_bytes",
        "gauge",
        "",
        "The container's memory limit, or else the machine's memory.",
    ),
)
"""All but those named `process_…`, which are what every Prometheus library calls them."""

PROCESS = {
    "process_cpu_seconds_total": ("counter", "Processor time of the process."),
    "process_resident_memory_bytes": ("gauge", "Resident memory, mapped files included."),
    "process_virtual_memory_bytes": ("gauge", "Address space."),
    "process_start_time_seconds": ("gauge", "When it started, seconds since 1970."),
    "process_open_fds": ("gauge", "Open files."),
    "process_max_fds": ("gauge", "How many may be."),
}

BY_NAME = {family.name: family for family in FAMILIES}


def metrics_table() -> str:
    """Render all families as a Markdown table: name, type, labels, meaning."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "–"
        lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.meaning} |")
    for name, (kind, meaning) in PROCESS.items():
        lines.append(f"| `{name}` | {kind} | – | {meaning} |")
    return "\n".join(lines) + "\n"
