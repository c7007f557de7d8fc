"""Questions about the service itself, answered however full the queues are.

Load balancers and scrapers ask in order to learn that a service is overloaded, so they must not be
refused because it is. Their answers are made on threads that do nothing else; whoever asks while
the same question is being answered gets that answer. So there is never more to do than one answer
to each question, and no queue that could be full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from app.errors import ShuttingDown

Result = TypeVar("Result")


class Probes:
    """At most one answer to each question is in the making. For one event loop."""

    def __init__(self, questions: int) -> None:
        self._pool = ThreadPoolExecutor(questions, thread_name_prefix="probe")
        self._asked: dict[str, asyncio.Future[Any]] = {}

    async def ask(self, question: str, answer: Callable[[], Result]) -> Result:
        """Await `answer()`, or what it gives to somebody who asked already. Raises ShuttingDown."""
        asked = self._asked.get(question)
        if asked is None:
            try:
                asked = asyncio.wrap_future(self._pool.submit(answer))
            except RuntimeError:
                raise ShuttingDown("the service is stopping") from None
            self._asked[question] = asked
            asked.add_done_callback(lambda done: self._done(question, done))
        # One that goes away must not take the answer from the others.
        result: Result = await asyncio.shield(asked)
        return result

    def _done(self, question: str, done: asyncio.Future[Any]) -> None:
        self._asked.pop(question, None)
        if not done.cancelled():
            done.exception()  # seen, even if everybody who asked has gone

    def close(self) -> None:
        """Finish the answers in the making, then end the threads. Blocks."""
        self._pool.shutdown(wait=True)
