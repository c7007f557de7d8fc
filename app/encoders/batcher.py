"""Batch the inputs of all callers: one queue and one worker thread for each encoder.

Theory of operation. `submit` puts a job (some texts, one future) into a bounded queue and returns.
The worker takes a **round** from the front of the queue as soon as it is idle; it never waits for
more texts to come. Of a round, equal texts count once; the rest is tokenised, sorted by length and
cut into **batches** within the token budget, which run one after the other. A job may span rounds;
its future is completed when its last text is done.

Guarantees, whatever happens:

- Every future that `submit` returned is completed: with vectors in the order of the texts, with
  EncodingFailed if a batch with one of its texts failed, or with ShuttingDown.
- A batch that fails touches only the jobs with inputs in it, and the worker lives on. An input that
  cannot be read fails its own jobs only.
- Memory is bounded: texts by the queue, activations by the token budget.
- A future stays cancellable until its result is there. What is cancelled is not run, except for
  the batch that is running.

Only `_draw` decides who is next: another order (lanes, fairness) is a change there and in the type
of `_waiting`, nowhere else. All shared state is guarded by `_changed`; jobs are written by the
worker alone.
"""

from __future__ import annotations

import copy
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.encoders.base import Encoded, Encoder, EncoderStatistics, OutputKind, Prepared
from app.encoders.inputs import Input
from app.encoders.packing import count_round, pack
from app.errors import EncodingFailed, LikewiseError, Overloaded, ShuttingDown
from app.tally import POWERS, SECONDS, Histogram
from app.types import F32

ROUND_BATCHES = 4  # enough texts to sort by length; a newcomer waits for no more than these
LONGEST_RETRY_S = 60
BATCHES_REMEMBERED = 8

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Job:
    """One submission. `missing` counts the inputs without an output."""

    inputs: Sequence[Input]
    output: OutputKind
    outputs: F32 | list[Any]
    tokens: list[int]
    missing: int
    future: Future[Encoded] = field(default_factory=Future)

    def put(self, place: int, made: Any, tokens: int) -> None:
        self.outputs[place] = made
        self.tokens[place] = tokens
        self.missing -= 1
        # A caller may cancel at any moment before this call; after it, no more.
        if self.missing == 0 and self.future.set_running_or_notify_cancel():
            self.future.set_result(Encoded(self.outputs, self.tokens))

    def fail(self, error: LikewiseError) -> None:
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


_Place = tuple[_Job, int]  # an input of a job
_Ready = tuple[list[_Place], Prepared]  # who waits for an input, and the input


class Batcher:
    """The queue of one encoder.

    queue         most texts that may wait; a single larger submission is taken if nothing waits
    batch_tokens  most tokens of one batch, padding included
    """

    def __init__(self, encoder: Encoder, *, queue: int, batch_tokens: int) -> None:
        self._encoder = encoder
        self._queue = queue
        self._batch_tokens = batch_tokens
        self._waiting: deque[_Place] = deque()
        self._changed = threading.Condition()
        self._closing_at: float | None = None
        # Written by the worker only.
        self._texts, self._tokens = Histogram(POWERS), Histogram(POWERS)
        self._seconds = Histogram(SECONDS)
        self._failed = 0
        self._text_s = 0.0  # seconds a text, decaying
        self._worker = threading.Thread(
            target=self._work, name=f"batcher-{encoder.name}", daemon=True
        )
        self._worker.start()

    def submit(self, inputs: Sequence[Input], output: OutputKind = "dense") -> Future[Encoded]:
        """Put inputs, prompts already before their texts, into the queue.

        Raises Overloaded if they have no room and ShuttingDown after `close`.
        """
        count = len(inputs)
        dense = output == "dense"
        outputs: F32 | list[Any] = (
            np.zeros((count, self._encoder.dimension), np.float32) if dense else [None] * count
        )
        job = _Job(tuple(inputs), output, outputs, [0] * count, count)
        with self._changed:
            if self._closing_at is not None:
                raise ShuttingDown("the encoder is stopping and takes no new texts")
            if self._waiting and len(self._waiting) + count > self._queue:
                raise Overloaded(
                    f"{len(self._waiting)} texts wait for {self._encoder.name} and at most "
                    f"{self._queue} may; send the request again later",
                    retry_after_s=self._retry_after_s(),
                    encoder=self._encoder.name,
                )
            if count:
                self._waiting.extend((job, place) for place in range(count))
                self._changed.notify()
            else:
                job.future.set_result(Encoded(outputs, []))
        return job.future

    def statistics(self) -> EncoderStatistics:
        """Tell what was done, and what waits."""
        return EncoderStatistics(
            self._encoder.name,
            waiting=len(self._waiting),
            limit=self._queue,
            batch_texts=self._texts,
            batch_tokens=self._tokens,
            batch_seconds=self._seconds,
            failed=self._failed,
        )

    def close(self, grace_s: float = 5.0) -> None:
        """Take no more texts, work for at most `grace_s` on what waits, fail the rest.

        Returns when the worker has ended: after the batch that was running at the end of the grace.
        """
        with self._changed:
            if self._closing_at is None:
                self._closing_at = time.monotonic() + grace_s
            self._changed.notify()
        self._worker.join()

    # ── the worker thread ────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while drawn := self._draw():
            try:
                self._run_round(drawn)
            except Exception as exc:
                self._fail(drawn, exc)

    def _draw(self) -> list[_Place]:
        """Wait for texts and take the next round; empty when the worker shall end."""
        with self._changed:
            while True:
                if self._out_of_time():
                    self._shut_out(self._waiting)
                    self._waiting.clear()
                # Jobs that were cancelled or have failed need no more work.
                while self._waiting and self._waiting[0][0].future.done():
                    self._waiting.popleft()
                if self._waiting:
                    estimate = self._encoder.estimate
                    costs = (estimate(job.inputs[place]) for job, place in self._waiting)
                    count = count_round(costs, ROUND_BATCHES * self._batch_tokens)
                    return [self._waiting.popleft() for _ in range(count)]
                if self._closing_at is not None:
                    return []
                self._changed.wait()

    def _run_round(self, drawn: list[_Place]) -> None:
        wanted: dict[tuple[OutputKind, Input], list[_Place]] = {}
        for job, place in drawn:
            if not job.future.done():
                wanted.setdefault((job.output, job.inputs[place]), []).append((job, place))
        batches: dict[OutputKind, list[_Ready]] = {}
        prepared = self._encoder.prepare([given for _, given in wanted])
        for ((output, _), places), one in zip(wanted.items(), prepared, strict=True):
            if isinstance(one, LikewiseError):
                _refuse(places, one)
            else:
                batches.setdefault(output, []).append((places, one))
        for output, ready in batches.items():
            for batch in pack([one.cost for _, one in ready], self._batch_tokens):
                if self._out_of_time():
                    self._shut_out(drawn)
                    return
                self._run_batch([ready[place] for place in batch], output)

    def _run_batch(self, batch: list[_Ready], output: OutputKind) -> None:
        batch = [
            (places, one)
            for places, one in batch
            if not all(job.future.done() for job, _ in places)
        ]
        if not batch:
            return
        begun_s = time.perf_counter()
        try:
            made = self._encoder.run([one for _, one in batch], output)
            if output == "dense":
                expected, found = (len(batch), self._encoder.dimension), np.shape(made)
                if found != expected:
                    raise ValueError(f"expected vectors of shape {expected}, got {found}")
            elif len(made) != len(batch):
                raise ValueError(f"expected {len(batch)} outputs, got {len(made)}")
        except Exception as exc:
            self._failed += 1
            self._fail([place for places, _ in batch for place in places], exc)
            return
        # Before the callers hear of it: who was answered finds the batch in the account.
        took_s = time.perf_counter() - begun_s
        self._seconds.note(took_s)
        self._texts.note(len(batch))
        self._tokens.note(sum(one.tokens for _, one in batch))
        self._text_s += (took_s / len(batch) - self._text_s) / BATCHES_REMEMBERED
        for (places, one), out in zip(batch, made, strict=True):
            for job, place in places:
                job.put(place, out, one.tokens)

    def _fail(self, places: Sequence[_Place], exc: Exception) -> None:
        name = self._encoder.name
        facts = {"encoder": name, "job": "encode", "texts": len(places)}
        logger.error("an encoder failed on a batch", exc_info=exc, extra={"facts": facts})
        # One error for each job: a raised exception collects the traceback of whoever raises it.
        for job in {id(job): job for job, _ in places}.values():
            error = EncodingFailed(
                f"{name} failed on a batch of {len(places)} texts: {type(exc).__name__}",
                encoder=name,
            )
            error.__cause__ = exc
            job.fail(error)

    def _retry_after_s(self) -> int:
        """How long the texts that wait will take, in whole seconds from 1 to 60."""
        return max(1, min(LONGEST_RETRY_S, math.ceil(len(self._waiting) * self._text_s)))

    def _out_of_time(self) -> bool:
        return self._closing_at is not None and time.monotonic() >= self._closing_at

    def _shut_out(self, places: Sequence[_Place] | deque[_Place]) -> None:
        for job, _ in places:
            job.fail(ShuttingDown("the service stopped before the text was encoded"))


def _refuse(places: Sequence[_Place], error: LikewiseError) -> None:
    """Fail the jobs with an input that cannot be read; each is told which of its own it was."""
    for job, place in places:
        own = copy.copy(error)
        own.pointer = f"/{place}{error.pointer or ''}"
        job.fail(own)
