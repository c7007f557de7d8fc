"""Until when somebody waits for the work that is being done.

Searches are bounded one by one, but a request may have a thousand of them, each with stages of its
own. So long reads look at the clock between their parts, and stop when their caller has gone. What
changes something never looks: it is done whole or not begun (`app.service.deadlines`).
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar

from app.errors import DeadlineExceeded

deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""The moment, of `time.monotonic()`, of the request being served; infinity outside one."""


def check_due() -> None:
    """Raise DeadlineExceeded if the request's time is over."""
    if time.monotonic() > deadline.get():
        raise DeadlineExceeded(
            "the request's time was over before its work was done; it changed nothing: ask for "
            "less at once, or give it more time"
        )
