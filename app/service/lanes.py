"""Bounded worker pools: how synchronous work leaves the event loop, and how overload is refused.

Theory of operation. A lane has a queue and some threads. `run`, on the event loop, puts a job into
the queue, or refuses it with Overloaded where no room is left, and waits. A thread takes the first
job, does it, and hands the result back to the loop. As long as a job is in the queue it can be
taken out again: when its caller goes away, and when its deadline passes. So what waits is always
somebody who still wants it, and a job costs a thread nothing once nobody does. A job that a thread
has taken runs to its end; writes rely on that.

Not concurrent.futures: its queue keeps what was cancelled until a thread comes by, with the bodies
that it holds, and cannot say how long it is.

`_changed` guards the queue and the counters; jobs are touched by one side at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from app.errors import Overloaded, ShuttingDown
from app.service.deadlines import callers_own, deadline, late

Result = TypeVar("Result")

LONGEST_RETRY_S = 60
_JOBS_REMEMBERED = 32


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    context: contextvars.Context
    loop: asyncio.AbstractEventLoop
    waiter: asyncio.Future[Any]
    due: float


class Lane:
    """At most `threads` jobs run and `queue` wait; the next one is refused with Overloaded.

    Jobs see the caller's context variables, so that their log lines carry its request id. Counters,
    to be read at any time:

    running  jobs on a thread now
    done     jobs that ran to their end, well or not
    refused  jobs that found no room
    dropped  jobs whose caller went away before they began
    expired  jobs whose deadline passed before they began

    A `patient` lane is one for jobs of minutes: there a request waits for its turn unless its
    caller itself said for how long.
    """

    def __init__(self, name: str, *, threads: int, queue: int, patient: bool = False) -> None:
        self.name = name
        self.threads = threads
        self.limit = queue
        self.running = self.done = self.refused = self.dropped = self.expired = 0
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._closed = False
        self._deadline = callers_own if patient else deadline
        self._mean_s = 0.0  # of a job's work, decaying
        # Daemons: what must be finished is finished by `close`.
        self._workers = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._workers:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs in the queue now."""
        return len(self._waiting)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Await `work()` done on a thread of this lane.

        Raises Overloaded; DeadlineExceeded, and then `work` was not begun; ShuttingDown.
        """
        loop = asyncio.get_running_loop()
        due = self._deadline.get()
        job = _Job(work, contextvars.copy_context(), loop, loop.create_future(), due)
        self._put(job)
        timer = None
        if due != math.inf:
            timer = loop.call_later(due - time.monotonic(), self._expire, job)
        try:
            result: Result = await job.waiter
        except asyncio.CancelledError:
            if self._withdraw(job):
                self.dropped += 1
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return result

    def retry_after_s(self) -> int:
        """How long what waits now will take, in whole seconds from 1 to 60."""
        expected_s = len(self._waiting) * self._mean_s / self.threads
        return max(1, min(LONGEST_RETRY_S, math.ceil(expected_s)))

    def close(self) -> None:
        """Finish the accepted jobs, then end the threads. Blocks."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._workers:
            thread.join()

    # ── the queue ────────────────────────────────────────────────────────────────────────────

    def _put(self, job: _Job) -> None:
        with self._changed:
            if self._closed:
                raise ShuttingDown("the service is stopping")
            if self.running + len(self._waiting) >= self.threads + self.limit:
                self.refused += 1
                raise Overloaded(
                    f"too many requests wait for the {self.name} threads; try again later",
                    retry_after_s=self.retry_after_s(),
                )
            self._waiting.append(job)
            self._changed.notify()

    def _withdraw(self, job: _Job) -> bool:
        """Take a job out of the queue; False if a thread has it."""
        with self._changed, contextlib.suppress(ValueError):
            self._waiting.remove(job)
            return True
        return False

    def _expire(self, job: _Job) -> None:
        if self._withdraw(job):
            with self._changed:
                self.expired += 1
            _settle(job.waiter, None, late())

    # ── the threads ──────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while (job := self._next()) is not None:
            result: Any = None
            error: BaseException | None = None
            begun_s = time.monotonic()
            try:
                result = job.context.run(job.work)
            except BaseException as exc:
                error = exc
            self._note(time.monotonic() - begun_s)
            _hand_back(job, result, error)
            # Nothing of a request stays in memory because its thread has nothing to do.
            del job, result, error

    def _note(self, took_s: float) -> None:
        """Count a job that is done, before its caller hears of it and sends the next."""
        with self._changed:
            self.running -= 1
            self.done += 1
            self._mean_s += (took_s - self._mean_s) / min(_JOBS_REMEMBERED, self.done)

    def _next(self) -> _Job | None:
        """Wait for a job; None if there will be none."""
        with self._changed:
            while True:
                while not self._waiting:
                    if self._closed:
                        return None
                    self._changed.wait()
                job = self._waiting.popleft()
                if time.monotonic() < job.due:
                    self.running += 1
                    return job
                # The loop was too busy to take it out in time.
                self.expired += 1
                _hand_back(job, None, late())


def _hand_back(job: _Job, result: object, error: BaseException | None) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        job.loop.call_soon_threadsafe(_settle, job.waiter, result, error)


def _settle(waiter: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if waiter.done():  # its caller went away meanwhile
        return
    if error is None:
        waiter.set_result(result)
    else:
        waiter.set_exception(error)
