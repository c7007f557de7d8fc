"""Whether one point passes a filter: the definition of what filters mean.

It looks at one point at a time and takes every condition at its word. The indexes answer the same
question for a million points at once; tests hold them to this file.
"""

from __future__ import annotations

from app.attributes.filter import (
    And,
    AnyOf,
    Everything,
    Exists,
    Filter,
    Ids,
    Match,
    Not,
    Or,
    Range,
    Values,
    Within,
)
from app.attributes.places import place_from
from app.attributes.values import elements, instant_us
from app.text.analysis import analyzer_of, texts_of
from app.text.clauses import Clause, stands_in
from app.text.folding import words_of
from app.types import AttributeElement, Attributes, Lexical, PointId


def matches(
    filter: Filter,
    id: PointId,
    attributes: Attributes,
    text: str | None = None,
    lexical: Lexical | None = None,
) -> bool:
    """Decide whether the point `id` with these attributes and this text passes the filter.

    lexical   the collection's: needed where the filter has a `$match`
    """
    if isinstance(filter, Everything):
        return True
    if isinstance(filter, And):
        return all(matches(child, id, attributes, text, lexical) for child in filter.children)
    if isinstance(filter, Or):
        return any(matches(child, id, attributes, text, lexical) for child in filter.children)
    if isinstance(filter, Not):
        return not matches(filter.child, id, attributes, text, lexical)
    if isinstance(filter, Ids):
        return id in filter.ids
    if isinstance(filter, Match):
        assert lexical is not None
        return _has_words(filter, attributes, text, lexical)
    if filter.field not in attributes:
        return False
    if isinstance(filter, Exists):
        return True
    found = elements(attributes[filter.field])
    if isinstance(filter, AnyOf):
        return any(_is_among(element, filter.values) for element in found)
    if isinstance(filter, Within):
        places = [place_from(element) for element in found if isinstance(element, dict)]
        return any(filter.area.holds(place) for place in places)
    return any(_is_inside(element, filter) for element in found)


def _has_words(match: Match, attributes: Attributes, text: str | None, lexical: Lexical) -> bool:
    analyzer = analyzer_of(lexical.language)
    fields = lexical.fields if match.field is None else (match.field,)
    texts = [
        [analyzer.term(word).text for word in words_of(each)]
        for field in fields
        for each in texts_of(field, attributes, text)
    ]

    def stands(clause: Clause) -> bool:
        return any(stands_in(clause, terms, analyzer) for terms in texts)

    if any(stands(clause) for clause in match.clauses if clause.excluded):
        return False
    wanted = [stands(clause) for clause in match.clauses if not clause.excluded]
    return all(wanted) if match.every else any(wanted)


def _is_among(element: AttributeElement, values: Values) -> bool:
    if element is None:
        return values.null
    if isinstance(element, bool):
        return element in values.bools
    if isinstance(element, str):
        return element in values.strings
    if isinstance(element, dict):
        return False  # places are met by areas only
    # Python compares an int with a float exactly, and hashes equal numbers alike.
    return element in values.numbers


def _is_inside(element: AttributeElement, range: Range) -> bool:
    value: int | float | None = None
    if range.over == "instants":
        value = instant_us(element) if isinstance(element, str) else None
    elif isinstance(element, int | float) and not isinstance(element, bool):
        value = element
    if value is None:
        return False
    if range.low is not None and not (value > range.low if range.low_open else value >= range.low):
        return False
    if range.high is None:
        return True
    return value < range.high if range.high_open else value <= range.high
