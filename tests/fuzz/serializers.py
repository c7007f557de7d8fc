"""How schemathesis writes a body of lines: what it makes up is one of them."""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """Write a made-up value as a line; what is bytes already (made up to be wrong) stays it."""
    return value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"
