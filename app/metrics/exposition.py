"""The accounts in the text format of Prometheus. The only importer of `prometheus_client`.

The library keeps no state here: it is handed
finished families by a collector of ours, because its own counters take a lock and a look-up of
labels for each entry (decision 15). A registry belongs to one answer, so any number of applications
live in a process.

Labels are bounded. Collections are the one name that callers make up: the largest by points have
metrics of their own, the rest are summed under `_other`, which is no name that a collection can
have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app import __version__
from app.encoders.base import EncoderStatistics
from app.exchange import CollectionStatistics, Statistics, Storage
from app.metrics import process
from app.metrics.accounts import CacheAccount, Recalls, Requests, Work
from app.metrics.families import BY_NAME
from app.tally import SHARES, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""https://prometheus.io/docs/instrumenting/exposition_formats/, the text format."""

OTHER = "_other"
"""The label of all collections without metrics of their own."""


Figure = TypeVar("Figure", bound=float | Histogram)


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer is made of.

    queues  by name: how many wait, how many may
    cache   the embedding cache, None if it is off
    """

    requests: Requests
    work: Work
    queues: Mapping[str, tuple[int, int]]
    encoders: Sequence[EncoderStatistics]
    cache: CacheAccount | None
    statistics: Statistics
    storage: Storage | None


def rendered(told: Told, *, most_collections: int) -> bytes:
    """Write the answer of `GET /metrics`: some milliseconds, so not on the event loop.

    most_collections   that have metrics of their own
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(told, most_collections))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Told(Collector):
    def __init__(self, told: Told, most_collections: int) -> None:
        self._told = told
        self._most_collections = most_collections

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        told = self._told
        yield _values("info", {(__version__,): 1})
        yield from _of_requests(told.requests)
        yield from _of_work(told.work)
        yield _values("queue_waiting", {(name,): now for name, (now, _) in told.queues.items()})
        yield _values("queue_limit", {(name,): most for name, (_, most) in told.queues.items()})
        yield from _of_encoders(told.encoders)
        yield from _of_cache(told.cache or CacheAccount(0))
        yield from _of_statistics(told.statistics)
        shown = _largest(told.statistics.collections, self._most_collections)
        yield from _of_collections(told.statistics.collections, shown)
        yield from _of_storage(told.storage)
        yield from _of_recalls(told.work, shown)
        yield from _of_memory()


def _of_requests(requests: Requests) -> Iterator[Metric]:
    routes = list(requests.routes.items())
    yield _values(
        "http_requests_total",
        {
            (method, template, str(status)): count
            for (template, method), route in routes
            for status, count in list(route.statuses.items())
        },
    )
    yield _histograms(
        "http_request_seconds",
        {(method, template): route.seconds for (template, method), route in routes},
    )
    yield _values("http_requests_in_flight", {(): requests.in_flight})
    yield _values("problems_total", _keyed(dict(requests.problems)))


def _of_work(work: Work) -> Iterator[Metric]:
    yield _histograms("query_stage_seconds", _keyed(work.stages))
    yield _values("queries_total", _keyed(dict(work.plans)))
    yield _histograms("query_parts", {(): work.parts})
    yield _histograms("write_seconds", _keyed(work.write_seconds))
    yield _values("points_written_total", _keyed(work.points))


def _of_encoders(encoders: Sequence[EncoderStatistics]) -> Iterator[Metric]:
    yield _values(
        "encoder_waiting_texts",
        {(one.name, str(lane)): n for one in encoders for lane, n in one.waiting.items()},
    )
    yield _values(
        "encoder_waiting_limit",
        {(one.name, str(lane)): one.limit for one in encoders for lane in one.waiting},
    )
    yield _histograms(
        "encoder_wait_seconds",
        {(one.name, str(lane)): took for one in encoders for lane, took in one.waits.items()},
    )
    yield _values(
        "encoder_spared_texts_total",
        {(one.name, reason): n for one in encoders for reason, n in one.spared.items()},
    )
    yield _histograms("encoder_batch_texts", {(one.name,): one.batch_texts for one in encoders})
    yield _histograms("encoder_batch_tokens", {(one.name,): one.batch_tokens for one in encoders})
    yield _histograms("encoder_batch_seconds", {(one.name,): one.batch_seconds for one in encoders})
    yield _values("encoder_failures_total", {(one.name,): one.failed for one in encoders})


def _of_cache(cache: CacheAccount) -> Iterator[Metric]:
    looked_up = {"hit": cache.hits, "miss": cache.misses, "passed": cache.passed}
    yield _values("embedding_cache_inputs_total", _keyed(looked_up))
    yield _values("embedding_cache_bytes", {(): cache.size_bytes})
    yield _values("embedding_cache_limit_bytes", {(): cache.limit_bytes})
    yield _values("embedding_cache_restarts_total", {(): cache.restarts})


def _of_statistics(statistics: Statistics) -> Iterator[Metric]:
    yield _histograms("commit_seconds", {(): statistics.commit_seconds})
    yield _histograms("commit_writes", {(): statistics.commit_writes})
    yield _values("builds_running", {(): statistics.building})
    yield _histograms("build_seconds", _keyed(statistics.build_seconds))
    yield _values("build_failures_total", _keyed(statistics.build_failures))
    yield _values("collections", {(): len(statistics.collections)})
    yield _values("collections_broken", {(): statistics.broken})


def _largest(collections: Sequence[CollectionStatistics], most: int) -> set[str]:
    largest = sorted(collections, key=lambda one: (-one.points, one.name))
    return {one.name for one in largest[:most]}


def _of_collections(
    collections: Sequence[CollectionStatistics], shown: set[str]
) -> Iterator[Metric]:
    for figure in (
        "points", "dead_slots", "head_points", "segments", "segment_bytes", "cover_bytes",
        "store_bytes",
    ):  # fmt: skip
        sums: dict[tuple[str, ...], float] = {}
        for one in collections:
            label = (one.name if one.name in shown else OTHER,)
            sums[label] = sums.get(label, 0) + getattr(one, figure)
        yield _values(f"collection_{figure}", sums)


def _of_storage(storage: Storage | None) -> Iterator[Metric]:
    if storage is not None:
        yield _values("storage_size_bytes", {(): storage.size_bytes})
        yield _values("storage_free_bytes", {(): storage.free_bytes})
        yield _values("storage_writable", {(): int(storage.writable)})


def _of_recalls(work: Work, shown: set[str]) -> Iterator[Metric]:
    recalls: dict[tuple[str, ...], Histogram] = {}
    means: dict[tuple[str, ...], float] = {}
    others: list[Recalls] = []
    for name, found in list(work.recalls.items()):
        if name in shown:
            recalls[name,] = found.recall
            if found.latest is not None:
                means[name,] = found.latest
        else:
            others.append(found)
    if others:
        recalls[OTHER,] = together = Histogram(SHARES)
        for found in others:
            together.add(found.recall)
        latest = [found.latest for found in others if found.latest is not None]
        means[OTHER,] = sum(latest) / max(1, len(latest))
    yield _histograms("self_check_recall", recalls)
    yield _values("self_check_recall_mean", means)
    yield _values("self_checks_total", _keyed(work.self_checks))


def _of_memory() -> Iterator[Metric]:
    for name, found in (
        ("memory_anonymous_bytes", process.anonymous_bytes()),
        ("memory_limit_bytes", process.limit_bytes()),
    ):
        if found is not None:
            yield _values(name, {(): found})


def _keyed(values: Mapping[str, Figure]) -> dict[tuple[str, ...], Figure]:
    return {(name,): value for name, value in values.items()}


def _values(name: str, values: Mapping[tuple[str, ...], float]) -> Metric:
    family = BY_NAME[f"likewise_{name}"]
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    made = make(family.name, family.meaning, labels=family.labels)
    for labels, value in values.items():
        made.add_metric(labels, value)
    return made


def _histograms(name: str, histograms: Mapping[tuple[str, ...], Histogram]) -> Metric:
    family = BY_NAME[f"likewise_{name}"]
    made = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
    for labels, histogram in histograms.items():
        counts, total = list(histogram.counts), 0
        buckets = []
        for bound, count in zip((*histogram.bounds, float("inf")), counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        made.add_metric(labels, buckets, histogram.sum)
    return made
