"""Batch the inputs of all callers: one queue and a few worker threads for each encoder.

Theory of operation. `submit` puts a job (some inputs, one future) into a lane of the queue and
returns. Idle workers begin at once; nobody ever waits for more inputs to come. A worker takes one
step after the other, and before each it looks again whose turn it is (`turns`):

- A lane with no batch at hand has its next **round** prepared (tokenised): one input of each job in
  turn, sorted by length, cut into **batches**. These are put before all workers.
- A lane with batches has the first of them run.

So a round is left between two batches whenever a more urgent lane has something, and nothing of it
is lost. Batches are short in time rather than small in number: they are cut to `STEP_S` by what a
token took lately on this machine, and a round too short to fill the workers is shared among them.

There are three crews of workers:

    express     1 thread, queries only
    ordinary    `encoder.parallel` threads: queries and writes, and imports that waited too long
    background  `encoder.parallel` threads of low priority in the eyes of the system: imports

So a query waits for no batch of anybody else as long as it is alone, and a write for none of an
import: they begin at once, and the system gives them a core that a bulk batch was using. With
nothing else to do the cores are all the background's.

Guarantees, whatever happens:

- Every future that `submit` returned is completed: with outputs in the order of the inputs, with
  EncodingFailed if the encoder failed on one of its inputs, DeadlineExceeded if `due` passed before
  its inputs were run, or ShuttingDown.
- An input that cannot be read, or on which the encoder fails, fails its own jobs only: a batch that
  fails is done again in halves, down to the input that is the fault. The workers live on.
- Equal inputs, waiting or running, of whatever callers, are run once.
- No lane starves: it gets a batch for `PATIENCE_S` of work that the ordinary workers do for lanes
  above it. No job of a lane waits for more than two rounds of the others.
- Memory is bounded: each lane by inputs and by their characters, activations by the token budget.
- A future stays cancellable until its result is there. What is cancelled or late is taken out of
  the queue and not run, unless somebody else wants it or it is running.

`waiting` holds the state, guarded by `_lock`. Futures are completed outside of it, for their
callbacks are others' code.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal

import numpy as np

from app.encoders.base import (
    Encoded,
    Encoder,
    EncoderStatistics,
    LaneName,
    OutputKind,
    Prepared,
)
from app.encoders.inputs import Input, size_of
from app.encoders.packing import pack
from app.encoders.priority import lower_priority
from app.encoders.turns import LANES, Turns
from app.encoders.waiting import Job, State, Waiting, Work, empty_outputs
from app.errors import (
    DeadlineExceeded,
    EncodingFailed,
    LikewiseError,
    Overloaded,
    ShuttingDown,
)
from app.tally import POWERS, SECONDS, Histogram
from app.types import F32

STEP_S = 0.025
"""What a batch is meant to take of a core: long beside the 0.1 ms that a step costs, short for who
waits."""

PATIENCE_S = 8 * STEP_S
ROUND_BATCHES: dict[LaneName, int] = {"query": 4, "write": 8, "bulk": 8}
"""Enough inputs to sort by length, and the more the better for an import: only its like waits."""

FIRST_BATCH_TOKENS = 256  # while nobody knows how fast the machine is
LEAST_BATCH_TOKENS = 64  # below, what a step costs begins to show
QUEUE_CHARS = 64 << 20
LONGEST_RETRY_S = 60
BATCHES_REMEMBERED = 8

logger = logging.getLogger(__name__)


Crew = Literal["express", "ordinary", "background"]

OWN: dict[Crew, tuple[LaneName, ...]] = {
    "express": ("query",),
    "ordinary": ("query", "write"),
    "background": ("bulk",),
}


class Batcher:
    """The queue of one encoder.

    queue         most inputs that may wait in a lane; a larger submission is taken if nothing waits
    batch_tokens  most tokens of one batch, padding included
    queue_chars   most characters (bytes of images) that may wait in a lane, as for `queue`
    niceness      how far the background steps back behind other threads (`priority`)
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        queue: int,
        batch_tokens: int,
        queue_chars: int = QUEUE_CHARS,
        niceness: int = 0,
    ) -> None:
        self._encoder = encoder
        self._queue = queue
        self._queue_chars = queue_chars
        self._niceness = niceness
        self._batch_tokens = batch_tokens
        self._waiting = Waiting()
        self._turns = Turns(PATIENCE_S)
        self._lock = threading.Lock()
        # There is something to do for one of the crew.
        self._called: dict[Crew, threading.Condition] = {
            crew: threading.Condition(self._lock) for crew in OWN
        }
        self._express_idle = False
        # Here and not in a callback's closure, which would tie future and job into a cycle.
        self._job_of: dict[Future[Encoded], Job] = {}
        self._closing_at: float | None = None
        # Everything below is written under the lock.
        self._texts, self._tokens = Histogram(POWERS), Histogram(POWERS)
        self._seconds = Histogram(SECONDS)
        self._waits: dict[LaneName, Histogram] = {lane: Histogram(SECONDS) for lane in LANES}
        self._failed = 0
        self._text_s = 0.0  # seconds of the clock a text, decaying
        self._token_s = 0.0  # seconds of a core a token, decaying
        self._workers = [
            threading.Thread(
                target=self._work, args=[crew], name=f"{encoder.name}-{crew}", daemon=True
            )
            for crew in OWN
            for _ in range(1 if crew == "express" else encoder.parallel)
        ]
        for worker in self._workers:
            worker.start()

    def submit(
        self,
        inputs: Sequence[Input],
        output: OutputKind = "dense",
        *,
        lane: LaneName = "write",
        due: float = math.inf,
    ) -> Future[Encoded]:
        """Put inputs, prompts already before their texts, into the queue.

        due  moment of `time.monotonic()` after which nobody wants the outputs

        Raises Overloaded if they have no room and ShuttingDown after `close`.
        """
        inputs = tuple(inputs)
        count, size = len(inputs), sum(map(size_of, inputs))
        outputs = empty_outputs(output, count, self._encoder.dimension)
        job = Job(lane, output, outputs, [0] * count, count, time.monotonic(), due)
        with self._lock:
            if self._closing_at is not None:
                raise ShuttingDown("the encoder is stopping and takes no new texts")
            self._check_room(lane, count, size)
            if count:
                self._waiting.put(job, inputs, self._encoder.estimate)
                self._job_of[job.future] = job
                self._call(lane)
        if count:
            job.future.add_done_callback(self._done)
        else:
            job.future.set_result(Encoded(outputs, []))
        return job.future

    def statistics(self) -> EncoderStatistics:
        """Tell what was done, and what waits."""
        waiting = self._waiting
        return EncoderStatistics(
            self._encoder.name,
            waiting=dict(waiting.inputs),
            limit=self._queue,
            waits=self._waits,
            batch_texts=self._texts,
            batch_tokens=self._tokens,
            batch_seconds=self._seconds,
            failed=self._failed,
            spared={
                "coalesced": waiting.coalesced,
                "cancelled": waiting.cancelled,
                "expired": waiting.expired,
            },
        )

    def close(self, grace_s: float = 5.0) -> None:
        """Take no more inputs, work for at most `grace_s` on what waits, fail the rest.

        Returns when the workers have ended: after the batches that ran at the end of the grace.
        """
        with self._lock:
            if self._closing_at is None:
                self._closing_at = time.monotonic() + grace_s
            for called in self._called.values():
                called.notify_all()
        for worker in self._workers:
            worker.join(max(0.0, self._closing_at - time.monotonic()))
        with self._lock:
            rest = [job for job in self._waiting.all_jobs() if self._waiting.remove(job)]
        for job in rest:
            _fail(job, ShuttingDown("the service stopped before the text was encoded"))
        for worker in self._workers:
            worker.join()

    # ── under the lock, on callers' threads ──────────────────────────────────────────────────

    def _check_room(self, lane: LaneName, count: int, size: int) -> None:
        waiting, held = self._waiting.inputs[lane], self._waiting.sizes[lane]
        if not waiting:
            return
        name = self._encoder.name
        if waiting + count > self._queue:
            full = f"{waiting} texts wait for {name} and at most {self._queue} may"
        elif held + size > self._queue_chars:
            full = f"{held} characters wait for {name} and at most {self._queue_chars} may"
        else:
            return
        raise Overloaded(
            f"{full}; send the request again later",
            retry_after_s=max(1, min(LONGEST_RETRY_S, math.ceil(self._expected_s()))),
            encoder=name,
        )

    def _expected_s(self) -> float:
        """How long all that waits will take."""
        return sum(self._waiting.inputs.values()) * self._text_s / self._encoder.parallel

    def _call(self, lane: LaneName, batches: int = 1) -> None:
        """Wake as many workers as can do something for a lane."""
        if lane == "query" and self._express_idle:
            self._express_idle = False
            self._called["express"].notify()
            batches -= 1
        self._called["background" if lane == "bulk" else "ordinary"].notify(batches)

    def _done(self, future: Future[Encoded]) -> None:
        """Forget a future that was completed, and take its job out if it was cancelled."""
        job = self._job_of.pop(future, None)
        if job is not None and future.cancelled():
            with self._lock:
                removed = self._waiting.cancel(job)
            if removed:
                future.set_running_or_notify_cancel()  # tells concurrent.futures.wait

    # ── the worker threads ───────────────────────────────────────────────────────────────────

    def _work(self, crew: Crew) -> None:
        if crew == "background":
            lower_priority(self._niceness)
        going = True
        while going:
            hand: list[Work] = []
            try:
                going = self._step(crew, hand)
            except BaseException as exc:
                # Nothing may end a worker: those who wait for it would wait for ever.
                with contextlib.suppress(BaseException):
                    self._fail(hand, exc)

    def _step(self, crew: Crew, hand: list[Work]) -> bool:
        """Prepare a round or run a batch, filling `hand` with it; False if there will be none."""
        lane = self._next(crew, hand)
        for job in self._lapsed():
            _fail(job, DeadlineExceeded("the text was not encoded before its request's time ended"))
        if lane is None or not hand:
            return lane is not None
        begun_s = time.perf_counter()
        try:
            if hand[0].state is State.RUNNING:
                self._run(hand)
            else:
                self._prepare(hand, crew)
        finally:
            if crew == "ordinary":
                with self._lock:
                    self._turns.took(lane, time.perf_counter() - begun_s)
        return True

    def _next(self, crew: Crew, hand: list[Work]) -> LaneName | None:
        """Wait for something to do and take it in hand; None if the worker shall end."""
        waiting = self._waiting
        with self._lock:
            while (lane := self._choose(crew)) is None:
                if self._closing_at is not None:
                    return None
                self._express_idle |= crew == "express"
                self._called[crew].wait()
            if crew == "express":
                self._express_idle = False
            now = time.monotonic()
            if self._closing_at is not None and now >= self._closing_at:
                return None
            if waiting.ready(lane):
                for job in waiting.take(lane, now, hand):
                    self._waits[job.lane].note(now - job.arrived)
            else:
                waiting.draw(lane, ROUND_BATCHES[lane] * self._budget(), now, hand)
            return lane

    def _choose(self, crew: Crew) -> LaneName | None:
        """The lane that a worker turns to now; None if it has nothing to do."""
        # Before the end each does whatever is left.
        own = OWN[crew] if self._closing_at is None else LANES
        found = self._waiting.lanes(LANES)
        if crew == "ordinary":
            return self._turns.choose(found, own)
        lane = next((lane for lane in found if lane in own), None)
        if lane is not None:
            self._turns.served(lane)
        return lane

    def _budget(self) -> int:
        """Most tokens of a batch, so that it takes about `STEP_S`."""
        if self._token_s == 0:
            return min(FIRST_BATCH_TOKENS, self._batch_tokens)
        fitting = max(LEAST_BATCH_TOKENS, int(STEP_S / self._token_s))
        return min(fitting, self._batch_tokens)

    def _lapsed(self) -> list[Job]:
        if not self._waiting.lapsed:
            return []
        with self._lock:
            lapsed, self._waiting.lapsed = self._waiting.lapsed, []
        return lapsed

    def _prepare(self, drawn: list[Work], crew: Crew) -> None:
        ready: dict[OutputKind, list[Work]] = {}
        made: list[Prepared | LikewiseError] | None = None
        try:
            made = self._encoder.prepare([work.given for work in drawn])
        except BaseException:
            if len(drawn) == 1:
                raise
        if made is None:
            self._halve(drawn, partial(self._prepare, crew=crew))
            return
        for work, one in zip(drawn, made, strict=True):
            if isinstance(one, Prepared):
                work.prepared = one
                ready.setdefault(work.output, []).append(work)
            else:
                self._refuse(work, one)
        budget = self._share(sum(one.cost for one in made if isinstance(one, Prepared)))
        for works in ready.values():
            costs = [work.prepared.cost for work in works if work.prepared is not None]
            batches = [[works[place] for place in batch] for batch in pack(costs, budget)]
            with self._lock:
                lanes = [lane for batch in batches for lane in self._waiting.publish(batch)]
                # The express has nothing else to do next: it takes the first itself.
                for lane in lanes[crew == "express" :]:
                    self._call(lane)

    def _share(self, tokens: int) -> int:
        """Most tokens of a batch of a round: a short round is shared by all workers."""
        share = math.ceil(tokens / self._encoder.parallel)
        return min(self._budget(), max(LEAST_BATCH_TOKENS, share))

    def _run(self, batch: list[Work]) -> None:
        output = batch[0].output
        prepared = [work.prepared for work in batch if work.prepared is not None]
        begun_s, begun_core_s = time.perf_counter(), time.thread_time()
        made: F32 | list[Any] | None = None
        try:
            made = self._run_and_checked(prepared, output)
        except BaseException:
            if len(batch) == 1:
                raise
        if made is None:
            self._halve(batch, self._run)
            return
        took_s, core_s = time.perf_counter() - begun_s, time.thread_time() - begun_core_s
        with self._lock:
            # Before the callers hear of it: who was answered finds the batch in the account.
            self._note(took_s, core_s, prepared)
            complete = self._waiting.finish(batch, made)
        for job in complete:
            _complete(job)

    def _run_and_checked(self, batch: Sequence[Prepared], output: OutputKind) -> F32 | list[Any]:
        made, count = self._encoder.run(batch, output), len(batch)
        if output == "dense":
            expected, found = (count, self._encoder.dimension), np.shape(made)
            if found != expected:
                raise ValueError(f"expected vectors of shape {expected}, got {found}")
        elif len(made) != count:
            raise ValueError(f"expected {count} outputs, got {len(made)}")
        return made

    def _halve(self, works: list[Work], step: Callable[[list[Work]], None]) -> None:
        """Do a step that failed again with each half, leaving `works` empty.

        One caller's input must not be what fails the others', whose texts only stood beside it.
        """
        middle = len(works) // 2
        halves = [works[:middle], works[middle:]]
        # The traceback of what fails below holds this list, and must not hold other jobs.
        works.clear()
        for half in halves:
            try:
                step(half)
            except BaseException as exc:
                self._fail(half, exc)
            half.clear()

    def _note(self, took_s: float, core_s: float, batch: Sequence[Prepared]) -> None:
        self._seconds.note(took_s)
        self._texts.note(len(batch))
        self._tokens.note(sum(one.tokens for one in batch))
        token_s = core_s / max(1, sum(one.cost for one in batch))
        self._text_s += (took_s / len(batch) - self._text_s) / BATCHES_REMEMBERED
        if self._token_s == 0:
            self._token_s = token_s
        self._token_s += (token_s - self._token_s) / BATCHES_REMEMBERED

    def _fail(self, works: Sequence[Work], exc: BaseException) -> None:
        with self._lock:
            self._failed += bool(works)
            failed = self._waiting.give_up(works)
        name = self._encoder.name
        for job, _ in failed:
            # One error for each job: a raised exception collects the traceback of who raises it.
            error = EncodingFailed(
                f"{name} failed on a batch of {len(works)} texts: {type(exc).__name__}",
                encoder=name,
            )
            error.__cause__ = exc
            _fail(job, error)
        facts = {"encoder": name, "job": "encode", "texts": len(works)}
        logger.error("an encoder failed on a batch", exc_info=exc, extra={"facts": facts})

    def _refuse(self, work: Work, error: LikewiseError) -> None:
        """Fail the jobs with an input that cannot be read; each is told which of its own it was."""
        with self._lock:
            failed = self._waiting.give_up([work])
        for job, place in failed:
            own = copy.copy(error)
            own.pointer = f"/{place}{error.pointer or ''}"
            _fail(job, own)


def _complete(job: Job) -> None:
    # A caller may cancel at any moment before this call; after it, no more. Its callbacks are
    # others' code, and no fault in them may keep the next job from its result.
    with contextlib.suppress(BaseException):
        if job.future.set_running_or_notify_cancel():
            job.future.set_result(Encoded(job.outputs, job.tokens))


def _fail(job: Job, error: LikewiseError) -> None:
    with contextlib.suppress(BaseException):
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(error)
