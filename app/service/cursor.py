"""Scroll cursors: the last id of a page, as an opaque URL-safe string."""

from __future__ import annotations

import base64
import binascii
import json

from app.errors import InvalidCursor, InvalidId
from app.service.checks import check_id
from app.types import PointId


def cursor_after(last: PointId) -> str:
    """Return the cursor that continues after `last`."""
    return base64.urlsafe_b64encode(json.dumps([last]).encode()).decode()


def id_from_cursor(cursor: str) -> PointId:
    """Return the id that a cursor continues after; raise InvalidCursor."""
    try:
        (last,) = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        return check_id(last, "/cursor")
    except (binascii.Error, ValueError, TypeError, RecursionError, InvalidId):
        raise InvalidCursor(
            "expected a cursor that an earlier page returned as `next_cursor`", pointer="/cursor"
        ) from None
