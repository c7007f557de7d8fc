"""Compositions of a query, as plain dicts: what each function returns is what is sent.

    papers.query(query=q.intersect([q.id(1), q.id(2)], concepts={"field": "categories"}))

`docs/similarity/algebra.md` has the formulas and all options, which every function takes by name.
Where points are expected, ids may stand for themselves; where descriptions are, texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ._images import ImageLike
from ._points import PointId
from ._vectors import SparseVector, Vector

Term: TypeAlias = "Mapping[str, Any]"
"""A leaf or a composition."""

PointLike: TypeAlias = "PointId | Term"
"""The id of a point, or a leaf or a composition in its place."""

TextLike: TypeAlias = "str | Term"
"""A text, or a leaf or a composition in its place."""


def _node(name: str, value: object, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value, **{key: one for key, one in options.items() if one is not None}}


class _Compositions:
    """Functions that write leaves and compositions.

    >>> q.sum([q.text("graphs"), q.weighted(q.id(7), 0.5)])
    {'sum': [{'text': 'graphs'}, {'of': {'id': 7}, 'weight': 0.5}]}
    >>> q.lexical("white whale", every=True)
    {'lexical': {'text': 'white whale', 'every': True}}
    """

    @staticmethod
    def text(text: str, **options: Any) -> dict[str, Any]:
        """A text, read by the vector's encoder or by `encoder`."""
        return _node("text", text, options)

    @staticmethod
    def image(image: ImageLike, **options: Any) -> dict[str, Any]:
        """An image: bytes, a path or a URL."""
        return _node("image", image, options)

    @staticmethod
    def id(id: PointId) -> dict[str, Any]:
        """A stored point, which is left out of the answer."""
        return {"id": id}

    @staticmethod
    def vector(vector: Vector) -> dict[str, Any]:
        """A vector."""
        return {"vector": vector}

    @staticmethod
    def sparse(vector: SparseVector) -> dict[str, Any]:
        """Weights of indices, for a sparse field; in no composition."""
        return {"sparse": vector}

    @staticmethod
    def tokens(tokens: Sequence[Vector]) -> dict[str, Any]:
        """A vector for each token, for a field of tokens; in no composition."""
        return {"tokens": tokens}

    @staticmethod
    def lexical(text: str, **options: Any) -> dict[str, Any]:
        """Words, for a collection with a lexical index; in no composition."""
        return {"lexical": _node("text", text, options)}

    @staticmethod
    def weighted(of: Term, weight: float) -> dict[str, Any]:
        """A term of a sum, by a weight."""
        return {"of": of, "weight": weight}

    @staticmethod
    def sum(terms: Sequence[Term], **options: Any) -> dict[str, Any]:
        """Σ of terms, each plain or `weighted`."""
        return _node("sum", list(terms), options)

    @staticmethod
    def add(first: Term, *others: Term, **options: Any) -> dict[str, Any]:
        """The first and the others, these by one `weight`."""
        return _node("add", [first, *others], options)

    @staticmethod
    def subtract(first: Term, *others: Term, **options: Any) -> dict[str, Any]:
        """The first less the others: `by` vectors, scores or `concepts`."""
        return _node("subtract", [first, *others], options)

    @staticmethod
    def reject(first: Term, *others: Term, **options: Any) -> dict[str, Any]:
        """What of the first does not lie in the span of the others."""
        return _node("reject", [first, *others], options)

    @staticmethod
    def compose(thing: Term, change: Term, **options: Any) -> dict[str, Any]:
        """(1 − `mix`) of a thing and `mix` of what is to be different."""
        return _node("compose", [thing, change], options)

    @staticmethod
    def union(terms: Sequence[Term], **options: Any) -> dict[str, Any]:
        """As similar as to any of them, or what any of them has of `concepts`."""
        return _node("union", list(terms), options)

    @staticmethod
    def intersect(terms: Sequence[Term], **options: Any) -> dict[str, Any]:
        """As similar as to all of them, or what all of them have of `concepts`."""
        return _node("intersect", list(terms), options)

    @staticmethod
    def set(members: Sequence[PointLike], **options: Any) -> dict[str, Any]:
        """The mean of things, seen against a `background`."""
        return _node("set", list(members), options)

    @staticmethod
    def label(field: str, value: object, **options: Any) -> dict[str, Any]:
        """The mean of the points that hold a value of an attribute."""
        return _node("label", {"field": field, "value": value}, options)

    @staticmethod
    def attributes(parts: Sequence[TextLike], **options: Any) -> dict[str, Any]:
        """Descriptions of one thing, of which near-duplicates count once."""
        return _node("attributes", list(parts), options)

    @staticmethod
    def focus(of: PointLike, **aspect: Any) -> dict[str, Any]:
        """Likeness in one aspect: `texts`, `labels`, `text`, or `like` and `unlike`."""
        return {"condition": {"of": of, "mode": "focus", **aspect}}

    @staticmethod
    def change(of: PointLike, to: TextLike, **aspect: Any) -> dict[str, Any]:
        """A thing with something of it changed; a dict has `from` for what goes."""
        return {"condition": {"of": of, "mode": "change", "to": to, **aspect}}

    @staticmethod
    def uncertain(of: PointLike, strength: float = 1.0, **seen: Any) -> dict[str, Any]:
        """A thing whose differences of some kinds are forgiven: by `pairs` or `labels`."""
        return {"uncertain": {"of": of, "strength": strength, **seen}}

    @staticmethod
    def recommend(
        positive: Sequence[PointLike] = (), negative: Sequence[PointLike] = (), **options: Any
    ) -> dict[str, Any]:
        """More like some and less like others; `strategy` says how."""
        sides = {"positive": list(positive), "negative": list(negative)}
        return {"recommend": {**{side: given for side, given in sides.items() if given}, **options}}

    @staticmethod
    def discover(
        target: PointLike, context: Sequence[tuple[PointLike, PointLike]], **options: Any
    ) -> dict[str, Any]:
        """The target within the side of pairs (positive, negative) that is the positive one."""
        return {"discover": {"target": target, "context": _pairs(context), **options}}

    @staticmethod
    def context(pairs: Sequence[tuple[PointLike, PointLike]], **options: Any) -> dict[str, Any]:
        """What is on the positive side of all pairs (positive, negative)."""
        return _node("context", _pairs(pairs), options)


def _pairs(pairs: Sequence[tuple[PointLike, PointLike]]) -> list[dict[str, Any]]:
    return [{"positive": positive, "negative": negative} for positive, negative in pairs]


q = _Compositions
