"""What is searched for: leaves, and expressions over them.

Theory of operation
-------------------
An expression is read from JSON before anything is known of vectors. It says which leaves it has
(the service encodes their texts and images, and checks their vectors), and is compiled when all
of them mean something, on the view that is searched:

    JSON → expression → leaves made into vectors → `Compiled`: probes, and perhaps a rule

A *probe* is a query of one recall. Without a rule there is one probe, and the recall's own scores
stand. With a rule the candidates of all probes are put together, and the rule scores every one of
them by its vector: so whatever is not one vector (the lesser of two similarities, a context of
pairs) is recalled by vectors all the same.

New nodes enter `NODES`, by the member that names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.attributes.filter import Filter
from app.backends.base import View, Words
from app.errors import LimitExceeded
from app.query.limits import MOST_DEPTH, MOST_LEAVES
from app.query.reading import Members, one_of
from app.types import F32, F64, PointId, Sparse, VectorField

ENCODED = ("text", "image", "record")
"""Leaves that an encoder reads."""

LEAVES = (*ENCODED, "vector", "id", "tokens", "sparse", "lexical")
"""Leaves by the member that names them; `lexical` is read by nobody but the lexical index."""

Probe = F32 | Sparse | Words

Rule = Callable[[F32], F64]
"""Scores candidates by their vectors as they are searched: float32[n, d] → float64[n]."""


class Meaning(Protocol):
    """What the leaves of one expression mean, in the field and on the view that is searched."""

    @property
    def view(self) -> View: ...

    @property
    def field(self) -> VectorField | None:
        """The field; None for the lexical index."""
        ...

    @property
    def filter(self) -> Filter | None: ...

    def probe(self, leaf: Leaf) -> Probe:
        """Give what a leaf stands for, as a recall takes it; of an id, the point's own.

        Raises PointNotFound or InvalidQuery for an id that has none.
        """
        ...

    def vector(self, leaf: Leaf) -> F32:
        """Give a leaf as a dense vector in the form that is searched: float32[dimension].

        Raises InvalidQuery where the field holds no dense vectors, and as `probe` does.
        """
        ...


@dataclass(frozen=True, slots=True)
class Compiled:
    """What an expression comes to.

    probes    of each, candidates are recalled; one or more
    rule      scores the candidates; None lets the recall's scores stand (of one probe)
    exclude   points that are not to be found, since the query names them
    facts     for `explain`
    """

    probes: list[Probe]
    rule: Rule | None = None
    exclude: tuple[PointId, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


class Expression(Protocol):
    """A node of a query."""

    @property
    def at(self) -> str:
        """JSON pointer of the node."""
        ...

    def leaves(self) -> Iterator[Leaf]:
        """Every leaf below, itself included."""
        ...

    def compiled(self, meaning: Meaning) -> Compiled:
        """Make probes of it. Raises InvalidQuery where it makes no sense in the field."""
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """A thing to be like, as it came.

    kind      one of `LEAVES`
    value     what stands under that name; checked by the service
    encoder   who reads it instead of the field's own encoder
    stands    where its value stands, if not under its kind
    """

    at: str
    kind: str
    value: Any
    encoder: str | None = None
    stands: str | None = None

    @property
    def place(self) -> str:
        """Where its value stands."""
        return f"{self.at}/{self.kind}" if self.stands is None else self.stands

    def leaves(self) -> Iterator[Leaf]:
        """Give itself."""
        yield self

    def compiled(self, meaning: Meaning) -> Compiled:
        """Be its own probe; a point that is named is not found."""
        exclude = (self.value,) if self.kind == "id" else ()
        return Compiled([meaning.probe(self)], exclude=exclude)


class Reading:
    """The reading of one query's expressions, which counts what it reads."""

    def __init__(self) -> None:
        self._leaves = 0

    def leaf(self, kind: str, value: object, at: str, encoder: str | None = None) -> Leaf:
        """Make a leaf. Raises LimitExceeded when there are too many."""
        self._leaves += 1
        if self._leaves > MOST_LEAVES:
            raise LimitExceeded(
                f"at most {MOST_LEAVES} things are searched for in one query",
                pointer=at,
                limit=MOST_LEAVES,
            )
        return Leaf(at, kind, value, encoder)

    def expression(self, raw: object, at: str, depth: int = 0) -> Expression:
        """Read an expression that stands at `at`. Raises InvalidQuery or LimitExceeded."""
        if depth > MOST_DEPTH:
            raise LimitExceeded(
                f"expressions nest at most {MOST_DEPTH} deep", pointer=at, limit=MOST_DEPTH
            )
        known = {**dict.fromkeys(LEAVES), **NODES}
        names: list[str] = []
        if isinstance(raw, Mapping):
            names = [name for name in known if raw.get(name) is not None]
        if len(names) != 1:
            one_of(raw, known, at, "a query")
        assert isinstance(raw, Mapping)
        (name,) = names
        if name in NODES:
            return NODES[name](self, raw, at, depth)
        return self._leaf(name, raw, at)

    def _leaf(self, name: str, raw: Mapping[str, object], at: str) -> Leaf:
        members = Members(raw, at, "a query")
        value = members.required(name)
        encoder = members.text("encoder", None) if name in ENCODED else None
        members.end()
        return self.leaf(name, value, at, encoder)


ReadNode = Callable[[Reading, Mapping[str, object], str, int], Expression]
"""(reading, the object, its pointer, its depth) → expression. Inner expressions are read by
`reading.expression(raw, at, depth + 1)`."""

NODES: dict[str, ReadNode] = {}
"""Compositions by the member that names them; `app.query.algebra` fills it."""
