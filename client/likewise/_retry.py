"""When a failed call is worth repeating, and after how long: one pure function.

Every call of the SDK may be repeated without harm: points are written under their ids, so the
second upsert of the same points leaves what the first one left; a patch sets the same attributes
again (and the points that its filter no longer finds are those it has already changed); deleting
what is gone deletes nothing; the rest only reads. What a repetition may change is the *answer*: a
`delete` whose first answer was lost reports 0, a `drop` reports that nothing was there. Calls
whose answer matters that much are not repeated once the service may have acted (`repeatable`).

A call that timed out is not repeated: the time the caller allowed is spent, and a service that is
too slow gets no faster by being asked twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Retries:
    """How patiently calls are repeated.

    attempts       repetitions after the first try; 0 for none
    first_wait_s   most seconds before the first repetition; doubles with each further one
    longest_wait_s most seconds of one wait. A service that asks for more is not waited for.
    """

    attempts: int = 4
    first_wait_s: float = 0.25
    longest_wait_s: float = 20.0


class Failure(Enum):
    """How a try failed, by what the service may have done."""

    UNREACHED = auto()
    """No connection was made: nothing was done."""

    REFUSED = auto()
    """429 or 503, "not now": nothing was done."""

    BROKEN = auto()
    """The connection ended without an answer (or a proxy's did, 502): perhaps it was done."""

    FINAL = auto()
    """Anything else: the same request would fail again, or time is up."""


def wait_before_retry(
    retries: Retries,
    failure: Failure,
    *,
    attempt: int,
    repeatable: bool,
    retry_after_s: float | None,
    jitter: float,
) -> float | None:
    """Seconds to wait before the next try, or None to give up.

    attempt        0 after the first try
    repeatable     whether a second execution would give an answer as good as the first
    retry_after_s  what the service asked for: never undercut
    jitter         uniform in [0, 1)

    Exponential back-off with full jitter: a uniform share of a doubling ceiling spreads clients
    that failed together best (Brooker, "Exponential Backoff And Jitter", AWS, 2015). It is added
    to `retry_after_s`, for clients that were given the same second would return together too.

    >>> wait_before_retry(Retries(first_wait_s=1), Failure.BROKEN, attempt=2, repeatable=True,
    ...                   retry_after_s=None, jitter=0.5)
    2.0
    """
    if attempt >= retries.attempts or failure is Failure.FINAL:
        return None
    if failure is Failure.BROKEN and not repeatable:
        return None
    asked = retry_after_s or 0.0
    if asked > retries.longest_wait_s:
        return None
    ceiling = retries.first_wait_s * 2.0 ** min(attempt, 60)  # 2⁶⁰: far above any longest wait
    return min(asked + jitter * ceiling, retries.longest_wait_s)
