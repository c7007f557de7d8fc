"""`python -m bench.watching`: what metrics and self-check add to the path of a query.

Everything is called as a query calls it, in a loop, without the query. Beside it the same entries
made with the counters of `prometheus_client`, and how long the answer of `/metrics` takes to make
with many collections.
"""

from __future__ import annotations

import timeit

from prometheus_client import CollectorRegistry, Counter
from prometheus_client import Histogram as TheirHistogram

from app.backends.base import Answer
from app.exchange import CollectionStatistics, Statistics, Storage
from app.metrics.accounts import Requests, Work
from app.metrics.exposition import Told, rendered
from app.service.self_check import SelfCheck
from app.tally import POWERS, SECONDS, Histogram

ROUTE = "/v1/collections/{name}/query"
REPEATS, NUMBER = 7, 20_000


def best_us(work: object, number: int = NUMBER) -> float:
    """Microseconds of one call: the best of some rounds."""
    assert callable(work)
    return min(timeit.repeat(work, number=number, repeat=REPEATS)) / number * 1e6


def main() -> None:
    """Measure and print."""
    requests, work = Requests(), Work()
    answers = [Answer([], 1, "graph", False)]
    check = SelfCheck(0.001, search=lambda *_: [], busy=lambda: True, work=work)
    check._next_s = float("inf")

    def ours() -> None:
        requests.in_flight += 1
        work.stages["read"].note(1e-5)
        work.stages["search"].note(1e-4)
        work.answered("graph", 2)
        check.seen("c", [], answers)
        work.stages["answer"].note(1e-5)
        requests.in_flight -= 1
        requests.note("POST", ROUTE, 200, 1.3e-4)

    registry = CollectorRegistry()
    counter = Counter("a", "a", ["method", "route", "status"], registry=registry)
    stages = TheirHistogram("b", "b", ["stage"], buckets=SECONDS, registry=registry)
    seconds = TheirHistogram("c", "c", ["method", "route"], buckets=SECONDS, registry=registry)
    plans = Counter("d", "d", ["plan"], registry=registry)
    parts = TheirHistogram("e", "e", buckets=POWERS, registry=registry)

    def theirs() -> None:
        stages.labels("read").observe(1e-5)
        stages.labels("search").observe(1e-4)
        plans.labels("graph").inc()
        parts.observe(2)
        stages.labels("answer").observe(1e-5)
        counter.labels("POST", ROUTE, "200").inc()
        seconds.labels("POST", ROUTE).observe(1.3e-4)

    print(f"entries of one query, ours: {best_us(ours):.2f} µs")
    print(f"the same with prometheus_client: {best_us(theirs):.2f} µs")
    for count in (1, 100, 1000):
        sizes = [CollectionStatistics(f"c{i}", i, 0, 0, 1, 1, 1, 1) for i in range(count)]
        commits = Histogram(SECONDS), Histogram(POWERS)
        statistics = Statistics(sizes, 0, 0, *commits, {}, {})
        told = Told(requests, work, {}, [], statistics, Storage(1, 1, True))
        took_us = best_us(lambda told=told: rendered(told, most_collections=100), 10)
        print(f"/metrics with {count} collections, 100 of them shown: {took_us / 1e3:.1f} ms")


if __name__ == "__main__":
    main()
