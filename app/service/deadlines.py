"""Until when a request's work must have begun.

Every request has a moment, of `time.monotonic()`, after which its caller waits no longer. It is
looked at where a request waits for others: in the queues of lanes and encoders. What has not begun
by then is not begun: it is taken out of the queue and answered with DeadlineExceeded. A write that
has begun goes on to its end, since one that is half done cannot be answered with "nothing was
done"; long reads stop between their parts (`app.query.due`). Requests that are answered without
waiting never look."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import Future
from contextvars import ContextVar
from typing import TypeVar

from app.errors import DeadlineExceeded
from app.query.due import deadline

__all__ = ["callers_own", "deadline", "in_time", "late", "restart"]

Result = TypeVar("Result")

callers_own: ContextVar[float] = ContextVar("callers_own", default=math.inf)
"""The moment that its caller named; infinity if none was. For work that takes its time, the
service's own limit would give requests up that their callers still wait for."""


def restart(limit_s: float) -> None:
    """Let the service's own limit begin now; what the caller named stays."""
    deadline.set(min(callers_own.get(), time.monotonic() + limit_s))


def late() -> DeadlineExceeded:
    """The error of a request whose time is over."""
    return DeadlineExceeded(
        "the request's time was over before its work began, and nothing of it was done; send it "
        "again later, or give it more time"
    )


async def in_time(future: Future[Result]) -> Result:
    """Await a future that others complete; cancel it when the request's time is over.

    Raises DeadlineExceeded, and what the future raises.
    """
    due = deadline.get()
    waiter = asyncio.wrap_future(future)
    if due == math.inf:
        return await waiter
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = waiter.cancel()

    timer = asyncio.get_running_loop().call_later(due - time.monotonic(), expire)
    try:
        return await waiter
    except asyncio.CancelledError:
        if expired:
            raise late() from None
        raise
    finally:
        timer.cancel()
