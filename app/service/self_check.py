"""Measures recall on live queries: some are asked again, exactly, when there is time.

What is compared
----------------
A sampled query is put to the backend twice in one call, as it came and with `exact`. One call is
answered on one state of the collection (`app.backends.base`), so nothing that is written between
the answer to the caller and the check can be mistaken for a miss, and no check has to be thrown
away. Comparing the caller's own answer instead would need its ids kept and a proof that nothing was
written since; under steady writes there would be nothing left to compare.

    recall@k = hits that are among the exact ones ÷ exact hits

By score, not by id: whoever ties with the last exact hit is as good as that one. Both sides get
their scores from the same compiled loop, so equal vectors have equal scores. `offset` counts into
k, and `score_threshold` is left out, since it would cut misses off on both sides. Answers that are
certain to be exact are not sampled: their recall is 1, and would only hide the others'.

What it costs
-------------
Of the queries a share (`LIKEWISE_SELF_CHECK`), at most one a second; a check is followed by a pause
of twenty times its length, so all of them take a twentieth of one core at most; while searches wait
for a thread there are none. Samples wait in a short queue and are dropped, and counted, when it is
full. A sample is one query's vector and filter, and is gone after its check. Nothing of it is
logged.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence

from app.backends.base import Answer, Search
from app.errors import CollectionNotFound
from app.metrics.accounts import Work
from app.service.searching import Question
from app.types import Hit, Projection

log = logging.getLogger(__name__)

QUEUE = 8
LEAST_GAP_S = 1.0
PAUSE = 20.0
"""How many times the length of a check nothing is checked after it."""

_IDS_ONLY = Projection(fields=frozenset(), with_text=False)

_Sample = tuple[str, Search]


class SelfCheck:
    """Samples queries on the event loop and checks them on a thread of its own.

    share   of the queries, above 0
    search  `Backend.search`
    busy    tells whether callers wait for searches now
    """

    def __init__(
        self,
        share: float,
        *,
        search: Callable[[str, Sequence[Search]], list[Answer]],
        busy: Callable[[], bool],
        work: Work,
        least_gap_s: float = LEAST_GAP_S,
    ) -> None:
        self._share = share
        self._search = search
        self._busy = busy
        self._work = work
        self._least_gap_s = least_gap_s
        self._random = random.Random()  # noqa: S311  # which query is sampled is no secret
        self._until = self._gap()
        self._next_s = 0.0
        self._samples: queue.Queue[_Sample | None] = queue.Queue(QUEUE)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._check_all, name="self-check", daemon=True)

    def start(self) -> None:
        """Begin to check."""
        self._thread.start()

    def seen(
        self, collection: str, questions: Sequence[Question], answers: Sequence[Answer]
    ) -> None:
        """Perhaps sample a query that was answered. On the event loop; nearly always one line."""
        self._until -= len(answers)
        if self._until > 0:
            return
        self._until = self._gap()
        now_s = time.monotonic()
        if now_s < self._next_s or answers[-1].exact:
            return
        self._next_s = now_s + self._least_gap_s
        try:
            self._samples.put_nowait((collection, questions[-1].search()))
        except queue.Full:
            self._work.self_checks["dropped"] += 1

    def close(self) -> None:
        """Finish the check that is running and end the thread. Blocks."""
        self._closing.set()
        with contextlib.suppress(queue.Full):  # then the thread is not waiting for one
            self._samples.put_nowait(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _gap(self) -> int:
        """Draw how many queries there are up to the next sampled one: geometric, mean 1/share."""
        if self._share >= 1:
            return 1
        return 1 + int(math.log(1.0 - self._random.random()) / math.log1p(-self._share))

    # ── the thread ───────────────────────────────────────────────────────────────────────────

    def _check_all(self) -> None:
        while not self._closing.is_set():
            sample = self._samples.get()
            if sample is None:
                return
            if self._busy():
                self._work.self_checks["busy"] += 1
                continue
            begun_s = time.monotonic()
            try:
                self._check(*sample)
            except CollectionNotFound:  # dropped since
                self._work.self_checks["failed"] += 1
            except Exception:
                self._work.self_checks["failed"] += 1
                facts = {"collection": sample[0], "job": "self-check"}
                log.exception("a self-check failed", extra={"facts": facts})
            del sample
            self._closing.wait(PAUSE * (time.monotonic() - begun_s))

    def _check(self, collection: str, search: Search) -> None:
        again = search._replace(
            k=search.k + search.offset,
            offset=0,
            score_threshold=None,
            projection=_IDS_ONLY,
            explain=False,
        )
        found, exact = self._search(collection, [again, again._replace(exact=True)])
        if exact.hits:  # of nothing, nothing can be missed
            self._work.recalled(collection, recall(found.hits, exact.hits))


def recall(found: Sequence[Hit], exact: Sequence[Hit]) -> float:
    """Tell which share of the exact hits, best first and at least one, was found."""
    last = exact[-1].score
    better = sum(hit.score > last for hit in found)
    # Of those that tie at the cut any will do, but no more than have room there.
    tied = min(sum(hit.score == last for hit in hits) for hits in (found, exact))
    return (better + tied) / len(exact)
