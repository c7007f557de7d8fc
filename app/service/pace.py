"""Which searches are short enough to be done on the event loop: an account of what they took.

The rule
--------
A hand-over to a thread and back costs more than a search through a graph. So a search that is
expected to be short is done where it arrives, on the event loop; and as a rule nothing holds the
loop for longer than a millisecond (`LIMIT_S`), since every other request waits meanwhile. What is
expected comes from an account of the searches before:

- Searches are told apart by *kind*: collection, vector, the fields and operators of the filter,
  and how much is asked for (`k` and `ef` by powers of two, text, attributes). Within a kind they
  differ by the vector and the filter's values only.
- Of each kind two decaying means are kept: of the time, and of the share that took longer than the
  limit. Expected times must add up to `EXPECTED_S` at most, and of each kind in a request no more
  than `SURPRISES` may lately have been too long. So an occasional slow search is put up with, and
  so is a process that is now and then off its core; a kind that is slow once in a while is not.
- A kind starts on the lane, and comes to the loop after `TRIALS` searches there.
- What may be long whatever its past is never done on the loop: exact searches, those that want
  many results or vectors, or have a large filter, and whatever needs an encoder or a look-up.

On the loop the clock on the wall is charged, as that is what others wait for. On the lane it is the
thread's processor time: there a search also waits for the interpreter and for its share of a core,
which it would not on the loop. What it waited for the disk is then missing, so good news from the
lane counts for a quarter: while data is not in memory, about one search in thirty learns that on
the loop.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from app.service.requests import Query

LIMIT_S = 0.001
"""What takes longer than this, in seconds, should not have been done on the event loop."""

EXPECTED_S = 0.7 * LIMIT_S
SURPRISES = 1 / 8
TRIALS = 8

MOST_QUERIES = 8
MOST_RESULTS = 128
MOST_CONDITIONS = 16
MOST_VALUES = 64

_KINDS = 1024
_SEARCHES_REMEMBERED = 32
_SEARCHES_REMEMBERED_OF_LANE = 128

Kind = Hashable


@dataclass(slots=True)
class _Account:
    searches: int = 0
    mean_s: float = 0.0
    surprises: float = 0.0


class Pace:
    """The account of all kinds. Threads may lose each other's entries: it is a guess anyway."""

    def __init__(self) -> None:
        self._accounts: dict[Kind, _Account] = {}

    def allows(self, kinds: Sequence[Kind]) -> bool:
        """Tell whether searches of these kinds are, together, expected to be short."""
        expected_s = 0.0
        for kind in kinds:
            account = self._accounts.get(kind)
            if account is None or account.searches < TRIALS or account.surprises > SURPRISES:
                return False
            expected_s += account.mean_s
        return expected_s <= EXPECTED_S

    def note(self, kind: Kind, took_s: float, *, on_loop: bool) -> None:
        """Charge one search to its kind."""
        account = self._accounts.get(kind)
        if account is None:
            while len(self._accounts) >= _KINDS:  # names of fields are the callers' to make up
                self._accounts.pop(next(iter(self._accounts)), None)
            account = self._accounts[kind] = _Account()
        account.searches += 1
        surprise = took_s > LIMIT_S
        remembered = _SEARCHES_REMEMBERED if on_loop or surprise else _SEARCHES_REMEMBERED_OF_LANE
        share = 1 / min(remembered, account.searches)
        # How much too long does not matter: it should not have been.
        account.mean_s += (min(took_s, LIMIT_S) - account.mean_s) * share
        account.surprises += (surprise - account.surprises) * share


def kinds_of(collection: str, queries: Sequence[Query]) -> list[Kind] | None:
    """Tell the kind of each query; None if some of them must not be done on the event loop."""
    if len(queries) > MOST_QUERIES:
        return None
    kinds: list[Kind] = []
    for query in queries:
        wanted = query.k + query.offset
        projection = query.projection
        if (
            query.vector is None
            or query.rerank is not None
            or query.exact
            or projection.with_vectors
            or wanted > MOST_RESULTS
            or (query.ef or 0) > MOST_RESULTS
        ):
            return None
        shape: list[str] = []
        if query.filter is not None and not _shaped(query.filter, shape):
            return None
        kinds.append(
            (
                collection,
                query.using,
                wanted.bit_length(),
                (query.ef or 0).bit_length(),
                projection.with_text,
                projection.fields is None or len(projection.fields) > 0,
                *shape,
            )
        )
    return kinds


def _shaped(condition: object, shape: list[str]) -> bool:
    """Add the members' names of a raw filter, without its values.

    False if it is a large one, or none.
    """
    if isinstance(condition, dict):
        for name, inner in condition.items():
            shape.append(name)
            if len(shape) > 2 * MOST_CONDITIONS:
                return False
            if isinstance(inner, dict | list) and not _shaped(inner, shape):
                return False
        return True
    if not isinstance(condition, list):
        return False  # no filter at all, as the lane will say
    return len(condition) <= MOST_VALUES and all(
        _shaped(inner, shape) for inner in condition if isinstance(inner, dict)
    )
