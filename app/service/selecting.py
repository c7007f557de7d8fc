"""Which stored points a request means, and what it does to their attributes."""

from __future__ import annotations

from collections.abc import Sequence

from app.attributes.values import check_attributes
from app.backends.base import Selection
from app.errors import InvalidAttributes, InvalidField
from app.service.checks import check_ids, place
from app.service.requests import Chosen
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
    set_: object, unset: Sequence[str] | None, *, max_attributes_bytes: int
) -> dict[str, AttributeValue]:
    """Return the attributes to set. Raises InvalidField or InvalidAttributes.

    The limit is held by what one request sets; what a point gathers over many is not counted.
    """
    if set_ is None and unset is None:
        raise InvalidField("expected set or unset, or both", pointer="")
    attributes = check_attributes(
        {} if set_ is None else set_, max_bytes=max_attributes_bytes, pointer="/set"
    )
    for index, field in enumerate(unset or ()):
        if field in attributes:
            raise InvalidAttributes(
                "the same field is also in `set`", pointer=place("/unset", index)
            )
    return attributes
