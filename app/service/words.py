"""What is looked for in the lexical index: a text, or a text with fields and `every`."""

from __future__ import annotations

from collections.abc import Mapping

from app.attributes.lexical import MOST_FIELDS, MOST_WEIGHT
from app.attributes.values import pointer_to
from app.backends.base import Words
from app.errors import InvalidQuery
from app.query.reading import Members, items, number
from app.service.checks import check_text
from app.types import Lexical


def words_from(raw: object, at: str, lexical: Lexical, max_text_chars: int) -> Words:
    """Read words to look for: a text, or {text, fields, every}.

    Raises InvalidText, InvalidQuery or LimitExceeded, with the place to blame.
    """
    if not isinstance(raw, Mapping):
        return Words(check_text(raw, limit=max_text_chars, pointer=at))
    members = Members(raw, at, "words to look for")
    text = check_text(members.required("text"), limit=max_text_chars, pointer=members.place("text"))
    fields = _weighed(members.raw("fields"), members.place("fields"), lexical)
    every = members.flag("every")
    members.end()
    return Words(text, fields, every)


def _weighed(raw: object, at: str, lexical: Lexical) -> Mapping[str, float] | None:
    """Read which fields are looked into: names, which keep their weights, or weights by name."""
    if raw is None:
        return None
    weights: dict[str, float] = {}
    if isinstance(raw, Mapping):
        for name, weight in raw.items():
            place = pointer_to(at, name)
            weights[_indexed(name, lexical, place)] = number(weight, place, low=0, high=MOST_WEIGHT)
    else:
        for i, name in enumerate(items(raw, at, most=MOST_FIELDS)):
            found = _indexed(name, lexical, f"{at}/{i}")
            weights[found] = lexical.fields[found]
    if not any(weights.values()):
        raise InvalidQuery("expected at least one field with a weight above 0", pointer=at)
    return weights


def _indexed(name: object, lexical: Lexical, at: str) -> str:
    if not isinstance(name, str) or name not in lexical.fields:
        known = ", ".join(lexical.fields)
        raise InvalidQuery(
            f"expected a field of the collection's lexical index: {known}", pointer=at
        )
    return name
