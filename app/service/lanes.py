"""Bounded worker pools: how synchronous work leaves the event loop, and how overload is refused."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from app.errors import Overloaded, ShuttingDown

Result = TypeVar("Result")


class Lane:
    """At most `threads` jobs run and `queue` wait; the next one is refused with Overloaded.

    A job whose caller went away before it started is dropped; one that has started runs to its
    end. Jobs see the caller's context variables, so that their log lines carry its request id.
    """

    def __init__(self, name: str, *, threads: int, queue: int) -> None:
        self.name = name
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._room = threading.Semaphore(threads + queue)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Await `work()` done on a thread of this lane. Raises Overloaded, ShuttingDown."""
        if not self._room.acquire(blocking=False):
            raise Overloaded(f"too many requests wait for the {self.name} threads; try again later")
        context = contextvars.copy_context()
        try:
            future: Future[Result] = self._pool.submit(context.run, work)
        except RuntimeError:
            self._room.release()
            raise ShuttingDown("the service is stopping") from None
        # Also called when the job is cancelled before it starts.
        future.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Finish the accepted jobs, then end the threads. Blocks."""
        self._pool.shutdown(wait=True)
