"""Which stored points a request means, and what it does to their attributes."""

from __future__ import annotations

from collections.abc import Sequence

from app.attributes.values import check_attributes
from app.backends.base import Lifetime, Selection
from app.errors import InvalidAttributes, InvalidField
from app.service.checks import check_expiry, check_ids, place
from app.service.requests import Chosen, NewLifetime
from app.service.searching import checked_filter
from app.types import AttributeValue


def select(chosen: Chosen, *, max_batch: int, max_nodes: int) -> Selection:
    """Check that exactly one of ids and filter is given, and that one."""
    if (chosen.ids is None) == (chosen.filter is None):
        raise InvalidField("expected exactly one of ids and filter", pointer="")
    if chosen.ids is not None:
        return Selection(ids=check_ids(chosen.ids, limit=max_batch, pointer="/ids"))
    return Selection(filter=checked_filter(chosen.filter, max_nodes))


def check_patch(
    set_: object,
    unset: Sequence[str] | None,
    lifetime: NewLifetime | None,
    *,
    max_attributes_bytes: int,
) -> tuple[dict[str, AttributeValue], Lifetime | None]:
    """Return the attributes to set, and the new lifetime if there is one.

    Raises InvalidField or InvalidAttributes. What a point has already is counted by the backend.
    """
    if set_ is None and unset is None and lifetime is None:
        raise InvalidField("expected set, unset or expires_at, or several of them", pointer="")
    attributes = check_attributes(
        {} if set_ is None else set_, max_bytes=max_attributes_bytes, pointer="/set"
    )
    for index, field in enumerate(unset or ()):
        if field in attributes:
            raise InvalidAttributes(
                "the same field is also in `set`", pointer=place("/unset", index)
            )
    if lifetime is None:
        return attributes, None
    return attributes, Lifetime(check_expiry(lifetime.expires_at, "/expires_at"))
