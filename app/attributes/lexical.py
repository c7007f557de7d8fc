"""Which fields' words are indexed: read strictly, each mistake blamed by its place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping

from app.attributes.values import json_type, name_problem, pointer_to
from app.errors import InvalidDefinition
from app.text.analysis import LANGUAGES
from app.types import TEXT_FIELD, Lexical

MOST_FIELDS = 16
"""Fields of one lexical index: each adds a number to every posting."""

MOST_WEIGHT = 1000.0

DEFAULT_LANGUAGE = "english"
"""Whose endings are cut off where a definition names no language."""


def check_lexical(raw: object, pointer: str = "/lexical") -> Lexical | None:
    """Read the definition of a lexical index; None if there is to be none.

    raw   None or False; True for the points' own texts; or an object with `fields` (names, or name
          → weight) and `language`, each of which may be left out. Fields come back by name, so that
          their order in a request never makes an index anew

    Raises InvalidDefinition, pointing at the member to blame.
    """
    if raw is None or raw is False:
        return None
    if raw is True:
        raw = {}
    if not isinstance(raw, dict):
        raise InvalidDefinition(
            f"expected true, null or an object with fields and language, received {json_type(raw)}",
            pointer=pointer,
        )
    for name in raw:
        if name not in ("fields", "language"):
            raise InvalidDefinition(
                "a lexical index has fields and language, no such member",
                pointer=pointer_to(pointer, name),
            )
    fields = _fields(raw.get("fields"), f"{pointer}/fields")
    language = raw.get("language", DEFAULT_LANGUAGE)
    return Lexical(fields, _language(language, f"{pointer}/language"))


def _fields(raw: object, pointer: str) -> Mapping[str, float]:
    if raw is None:
        return {TEXT_FIELD: 1.0}
    weighed: dict[str, float] = {}
    if isinstance(raw, list):
        for place, name in enumerate(raw):
            at = f"{pointer}/{place}"
            field = _field(name, at)
            if field in weighed:
                raise InvalidDefinition("the field is there twice", pointer=at)
            weighed[field] = 1.0
            _bounded(weighed, pointer)
    elif isinstance(raw, dict):
        for name, weight in raw.items():
            at = pointer_to(pointer, name)
            weighed[_field(name, at)] = _weight(weight, at)
            _bounded(weighed, pointer)
    else:
        raise InvalidDefinition(
            f"expected a list of fields, or an object of their weights, received {json_type(raw)}",
            pointer=pointer,
        )
    if not any(weighed.values()):
        raise InvalidDefinition(
            "expected at least one field with a weight above 0", pointer=pointer
        )
    return dict(sorted(weighed.items()))


def _bounded(fields: Mapping[str, float], pointer: str) -> None:
    if len(fields) > MOST_FIELDS:
        raise InvalidDefinition(
            f"a lexical index has at most {MOST_FIELDS} fields", pointer=pointer
        )


def _field(name: object, pointer: str) -> str:
    if name == TEXT_FIELD:
        return TEXT_FIELD
    if not isinstance(name, str):
        raise InvalidDefinition(
            f'expected the name of an attribute or "{TEXT_FIELD}", received {json_type(name)}',
            pointer=pointer,
        )
    problem = name_problem(name)
    if problem is not None:
        raise InvalidDefinition(
            f'{problem}; the points\' own texts are "{TEXT_FIELD}"', pointer=pointer
        )
    return name


def _weight(raw: object, pointer: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise InvalidDefinition(f"expected a weight, received {json_type(raw)}", pointer=pointer)
    if not 0 <= raw <= MOST_WEIGHT or not math.isfinite(raw):
        raise InvalidDefinition(f"expected a weight from 0 to {MOST_WEIGHT:g}", pointer=pointer)
    return float(raw)


def _language(raw: object, pointer: str) -> str | None:
    if raw is None or (isinstance(raw, str) and raw in LANGUAGES):
        return raw
    close = difflib.get_close_matches(str(raw)[:20].lower(), LANGUAGES, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise InvalidDefinition(
        f"expected null or one of {', '.join(LANGUAGES)}{hint}", pointer=pointer
    )
