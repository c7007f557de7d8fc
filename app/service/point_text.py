"""Which text of a point a reranker reads: its own, an attribute, or a template of attributes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import InvalidQuery
from app.service.checks import place
from app.types import Projection, Record

_FIELD = re.compile(r"\{([^{}]+)\}")
_MOST_CHARS = 4096  # of a template


@dataclass(frozen=True, slots=True)
class PointText:
    """What is read of a point.

    parts    texts and names of attributes in turn, from a text to a text; None is the point's text
    """

    parts: tuple[str, ...] | None = None

    def widened(self, wanted: Projection) -> Projection:
        """The projection that also holds what is read."""
        if self.parts is None:
            return Projection(wanted.fields, with_text=True, with_vectors=wanted.with_vectors)
        if wanted.fields is None:
            return wanted
        return Projection(
            wanted.fields | set(self.parts[1::2]),
            with_text=wanted.with_text,
            with_vectors=wanted.with_vectors,
        )

    def of(self, record: Record, most_chars: int) -> str:
        """The text to read of a point; "" if it has none of what is to be read.

        most_chars  of it: a template may name a long attribute a thousand times
        """
        if self.parts is None:
            return record.text or ""
        values = [_as_text(record.attributes.get(name)) for name in self.parts[1::2]]
        if not any(values):
            return ""
        text = self.parts[0]
        for value, after in zip(values, self.parts[2::2], strict=True):
            text += value + after
            if len(text) >= most_chars:
                break
        return text[:most_chars]


def point_text_from(field: str | None, template: str | None, at: str) -> PointText:
    """What a query's `rerank`, which stands at `at`, says of it. Raises InvalidQuery."""
    if field is not None and template is not None:
        raise InvalidQuery("expected at most one of field and template", pointer=at)
    if field is not None:
        return PointText(("", field, ""))
    if template is None:
        return PointText()
    pointer = place(at, "template")
    parts = tuple(_FIELD.split(template))
    if len(parts) == 1 or any("{" in text or "}" in text for text in parts[0::2]):
        raise InvalidQuery(
            "expected the names of attributes in braces, and no other braces, as in "
            '"{title}. {abstract}"',
            pointer=pointer,
        )
    if len(template) > _MOST_CHARS:
        raise InvalidQuery(f"a template has at most {_MOST_CHARS} characters", pointer=pointer)
    return PointText(parts)


def _as_text(value: object) -> str:
    """A string as it is, strings of a list with commas between; nothing else is a text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(one for one in value if isinstance(one, str))
    return ""
