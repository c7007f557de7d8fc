"""The budget of long request bodies: how many of their bytes may be in work at once.

The queues bound how many requests wait, not how large they are: 256 waiting writes of 64 MiB are
16 GiB. So the bytes of every body that is not a short one are taken from a budget as it is read,
and given back when its request is answered. Parsed, a body is a few times as large as its bytes.

What a body declares is looked at, and not taken: else sixteen clients that announce 64 MiB each and
send nothing would keep everybody else out."""

from __future__ import annotations

import asyncio

from app.errors import Overloaded


class Inflight:
    """Used on the event loop alone.

    held     bytes taken now
    refused  requests that found no room
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.held = self.refused = 0

    def check(self, size: int) -> None:
        """Raise Overloaded if there is no room for `size` bytes now."""
        if self.held and self.held + size > self.budget:
            self.refused += 1
            raise Overloaded("too many bytes of request bodies are in work; try again later")

    def take(self, size: int) -> None:
        """Take `size` bytes until the current task, which serves the request, ends.

        A body larger than the whole budget is taken if nothing else is held. Raises Overloaded.
        """
        self.check(size)
        task = asyncio.current_task()
        assert task is not None
        self.held += size
        task.add_done_callback(lambda _: self._give_back(size))

    def _give_back(self, size: int) -> None:
        self.held -= size
