"""What the gate adds to a request: `python -m bench.gate`. No data, no network; a few seconds.

The best of several rounds, in microseconds: other processes only ever add to a round.
"""

from __future__ import annotations

import timeit
from collections.abc import Awaitable, Callable
from typing import Any

from app.access.grants import Grant, Scope
from app.access.guard import Guard
from app.api.access import Gate
from app.metrics.accounts import Requests

KEY = b"lw_" + b"x" * 43
HEADERS = [
    (b"host", b"127.0.0.1:8000"),
    (b"accept", b"application/json"),
    (b"user-agent", b"likewise-client/0.1.0"),
    (b"content-type", b"application/json"),
    (b"content-length", b"7500"),
    (b"authorization", b"Bearer " + KEY),
]
SCOPE = {"type": "http", "method": "POST", "path": "/v1/collections/docs-1/query"}
REQUESTS, ROUNDS = 20_000, 15


async def behind(*_: Any) -> None:
    """Stand for the application."""


def best_us(work: Callable[[], object]) -> float:
    """Microseconds of one call, in the best of all rounds."""
    return min(timeit.repeat(work, number=REQUESTS, repeat=ROUNDS)) / REQUESTS * 1e6


def request_through(app: Callable[..., Awaitable[None]]) -> Callable[[], object]:
    """One request to an application that never waits."""

    def ask() -> None:
        started: Any = app(dict(SCOPE, headers=HEADERS), None, None)
        try:
            started.send(None)
        except StopIteration:
            return
        raise AssertionError("the gate waited for something")

    return ask


def main() -> None:
    """Print what a key costs, by itself and with all that the gate does."""
    without = best_us(request_through(behind))
    for title, patterns in (("all collections", None), ("two patterns", ("docs-*", "films"))):
        guard = Guard(fixed_keys=[(Grant("bench", frozenset({Scope.READ}), patterns), KEY)])
        gate = best_us(request_through(Gate(guard, behind, Requests()))) - without
        print(
            f"{title}: key to grant {best_us(lambda: guard.grant(KEY)):.2f} µs, "  # noqa: B023
            f"whole gate {gate:.2f} µs"
        )


if __name__ == "__main__":
    main()
