"""The accounts of one application: written on the event loop (`app.tally` says why).

The exceptions are `recalls` and their counts, which the thread of the self-check writes; of
`self_checks` each entry has one writer.

Labels are bounded by what the code knows: templates of routes, methods of HTTP, codes of problems,
plans. The one name that callers choose, the collection's, is cut to the largest ones when the
accounts are read (`app.metrics.exposition`), never here.
"""

from __future__ import annotations

from app.tally import POWERS, SECONDS, SHARES, Histogram

_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})


class Route:
    """Requests to one route by one method: how they ended and how long they took."""

    __slots__ = ("seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.seconds = Histogram(SECONDS)


class Requests:
    """All HTTP requests of an application."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.routes: dict[tuple[str, str], Route] = {}
        self.problems: dict[str, int] = {}

    def note(self, method: str, template: str, status: int, took_s: float) -> None:
        """Enter a request that was answered with `status`; 0 is one that never was."""
        route = self.routes.get((template, method))
        if route is None:
            if method not in _METHODS:  # it is the caller's to make up
                method = "other"
            route = self.routes.setdefault((template, method), Route())
        route.statuses[status] = route.statuses.get(status, 0) + 1
        route.seconds.note(took_s)

    def refused(self, code: str) -> None:
        """Enter a problem document that was sent."""
        self.problems[code] = self.problems.get(code, 0) + 1


STAGES = ("read", "wait", "check", "encode", "search", "rerank", "answer")
"""What the time of a query goes to: receiving and validating its body; waiting for a thread; checks
of a text query, which are a visit to the lane of their own; its texts' encoder; the search; the
reranker, if one is asked for; writing the answer."""

WRITES = ("create", "alter", "drop", "upsert", "patch", "delete")


class Recalls:
    """What the self-check found out about one collection."""

    __slots__ = ("latest", "recall")

    def __init__(self) -> None:
        self.recall = Histogram(SHARES)
        self.latest: float | None = None
        """Mean of the latest checks, each of which counts for a twentieth."""

    def note(self, recall: float) -> None:
        """Enter the recall of one query."""
        self.recall.note(recall)
        self.latest = recall if self.latest is None else self.latest + (recall - self.latest) / 20


class Work:
    """What a service did: queries, writes, self-checks."""

    def __init__(self) -> None:
        self.stages = {stage: Histogram(SECONDS) for stage in STAGES}
        self.plans = dict.fromkeys(("graph", "exact", "empty"), 0)
        self.parts = Histogram(POWERS[:8])
        self.write_seconds = {operation: Histogram(SECONDS) for operation in WRITES}
        self.points = dict.fromkeys(("upsert", "patch", "delete"), 0)
        self.recalls: dict[str, Recalls] = {}
        self.self_checks = dict.fromkeys(("checked", "dropped", "busy", "failed"), 0)

    def answered(self, plan: str, parts: int) -> None:
        """Enter the plan of one query."""
        self.plans[plan] = self.plans.get(plan, 0) + 1
        self.parts.note(parts)

    def recalled(self, collection: str, recall: float) -> None:
        """Enter the recall of one query of a collection."""
        found = self.recalls.get(collection)
        if found is None:
            found = self.recalls[collection] = Recalls()
        found.note(recall)
        self.self_checks["checked"] += 1


class CacheAccount:
    """What the embedding cache did: inputs found, not found, and passed over it."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self.hits = self.misses = self.passed = self.restarts = 0
