"""Bounded worker pools: how synchronous work leaves the event loop, and how overload is refused."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from app.errors import Overloaded, ShuttingDown

Result = TypeVar("Result")


class Lane:
    """At most `threads` jobs run and `queue` wait; the next one is refused with Overloaded.

    A job whose caller went away before it started is dropped; one that has started runs to its
    end. Jobs see the caller's context variables, so that their log lines carry its request id.
    For one event loop, which alone adds jobs: so looking for room and taking it is one step.
    """

    def __init__(self, name: str, *, threads: int, queue: int) -> None:
        self.name = name
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.threads = threads
        self.limit = queue
        self._jobs: set[Future[Any]] = set()  # its methods are each one step for all threads

    @property
    def waiting(self) -> int:
        """Count the jobs that wait for a thread."""
        return max(0, len(self._jobs) - self.threads)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Await `work()` done on a thread of this lane. Raises Overloaded, ShuttingDown."""
        if len(self._jobs) >= self.threads + self.limit:
            raise Overloaded(f"too many requests wait for the {self.name} threads; try again later")
        context = contextvars.copy_context()
        try:
            future: Future[Result] = self._pool.submit(context.run, work)
        except RuntimeError:
            raise ShuttingDown("the service is stopping") from None
        self._jobs.add(future)
        # Also called when the job is cancelled before it starts, or has ended already.
        future.add_done_callback(self._jobs.discard)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Finish the accepted jobs, then end the threads. Blocks."""
        self._pool.shutdown(wait=True)
