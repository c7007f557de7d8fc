"""What readers of a collection see: the head, the segments, and the snapshot over both.

Nothing here touches the store. Every method that changes something is for the holder of the
collection's write lock, and ends by publishing a new snapshot with one assignment; `snapshot` may
be read by anyone at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from app.engine.snapshot import LivePart, Snapshot, extended
from app.kernels import bits as bitset
from app.postings.growing_words import GrowingWords
from app.postings.words import WordReader
from app.segments.head import Head
from app.segments.part import Searched
from app.segments.segment import Segment
from app.storage.store import StoredPoint
from app.text.analysis import Document, document_of
from app.types import I64, Attributes, Lexical, Sparse, VectorField, VectorKind, VectorValue
from app.vectors.metric import prepare
from app.vectors.tokens import token_set

Prepared = tuple[Searched | None, ...]
"""A point's vectors as they are searched, by field; None where it has none."""


@dataclass(slots=True, eq=False)
class Effect:
    """What a write did: rows that went, and point versions that came, in the order of `rows`.

    documents   of those that came; none where there is no lexical index
    """

    deleted: list[int] = field(default_factory=list)
    rows: Sequence[int] = ()
    points: Sequence[StoredPoint] = ()
    vectors: Sequence[Prepared] = ()
    attributes: Sequence[Attributes] = ()
    documents: Sequence[Document] = ()
    count: int = 0


def prepared(fields: Sequence[VectorField], points: Sequence[StoredPoint]) -> list[Prepared]:
    """Prepare the vectors of points for searching: one numpy operation a dense field."""
    columns: list[list[Searched | None]] = []
    for number, field_ in enumerate(fields):
        given = [point.vectors[number] for point in points]
        having = [vector for vector in given if vector is not None]
        searched = iter(_searched(field_, having) if having else ())
        columns.append([None if vector is None else next(searched) for vector in given])
    return list(zip(*columns, strict=True))


def _searched(field_: VectorField, vectors: Sequence[VectorValue]) -> Iterable[Searched]:
    if field_.kind is VectorKind.SPARSE:
        return [vector for vector in vectors if isinstance(vector, Sparse)]
    arrays = [vector for vector in vectors if not isinstance(vector, Sparse)]
    if field_.kind is VectorKind.TOKENS:
        return [token_set(tokens) for tokens in arrays]
    return prepare(field_.metric, np.stack(arrays))


def analysed(
    lexical: Lexical | None, points: Sequence[StoredPoint], attributes: Sequence[Attributes]
) -> list[Document]:
    """Analyse the words of points; nothing where there is no lexical index."""
    if lexical is None:
        return []
    return [
        document_of(lexical, own, point.text) for point, own in zip(points, attributes, strict=True)
    ]


def living(segment: Segment, alive: I64, words: WordReader | None = None) -> LivePart:
    """Let those slots of a segment live whose row is among `alive`: int64[any]."""
    bits = bitset.empty(segment.slots)
    bitset.set_slots(bits, segment.find_rows(alive))
    return LivePart.of(segment, bits, words)


class Parts:
    """The parts of one collection: segments, sealed heads, and last the head that grows."""

    def __init__(self, fields: Sequence[VectorField], lexical: Lexical | None = None) -> None:
        self._fields = tuple(fields)
        self.snapshot = Snapshot((), lexical=lexical)
        self._begin_head()
        self.snapshot = replace(self.snapshot, parts=(self._empty(),))

    def _begin_head(self) -> None:
        self._head = Head(self._fields)
        self._words = growing_words(self.snapshot.lexical)

    def _empty(self) -> LivePart:
        words = None if self._words is None else self._words.view(0)
        return LivePart.of(self._head.view(), bitset.full(0), words)

    def publish(self, effects: Sequence[Effect]) -> None:
        """Append what came, tombstone what went, show both at once."""
        *settled, last = self.snapshot.parts
        due_ms, hidden_ms = self.snapshot.due_ms, self.snapshot.hidden_ms
        for effect in effects:
            for point in effect.points:
                if point.expires_at is not None:
                    due_ms = min(due_ms, point.expires_at)
                    hidden_ms = min(hidden_ms, point.expires_at - 1)
            for row, point, vectors, attributes in zip(
                effect.rows, effect.points, effect.vectors, effect.attributes, strict=True
            ):
                self._head.append(row, point.key, vectors, attributes)
            if self._words is not None:
                for _, document in zip(effect.points, effect.documents, strict=True):
                    self._words.append(document)
        view = self._head.view()
        if view.slots > last.part.slots:
            words = None if self._words is None else self._words.view(view.slots)
            last = LivePart.of(view, extended(last.live, last.part.slots, view.slots), words)
        deleted = [row for effect in effects for row in effect.deleted]
        self.snapshot = Snapshot(
            (*settled, last), due_ms, hidden_ms, self.snapshot.lexical
        ).without(deleted)

    def take(self, other: Parts) -> None:
        """Become what `other` is: after a failure, drawn again from the store."""
        self._head = other._head
        self._words = other._words
        self.snapshot = other.snapshot

    def hide(self, rows: Sequence[int], *, upto_ms: int, due_ms: float) -> None:
        """Tombstone what has expired up to a time; the rest does not before `due_ms`."""
        left = self.snapshot.without(rows)
        self.snapshot = replace(left, hidden_ms=upto_ms, due_ms=due_ms)

    def replace_head(self, other: Parts) -> None:
        """Let the head of others grow in the place of this one: the same points, fewer slots."""
        *settled, _ = self.snapshot.parts
        self._head = other._head
        self._words = other._words
        self._show((*settled, other.snapshot.parts[-1]))

    def seal(self) -> None:
        """End the head and begin a new one; the old one stays searchable."""
        kept = [part for part in self.snapshot.parts if part.part.slots]
        self._begin_head()
        self._show((*kept, self._empty()))

    def swap(self, sources: Sequence[LivePart], built: LivePart | None) -> None:
        """Put `built`, or nothing, in the place of parts, in one step."""
        ids = {id(live.part) for live in sources}
        others = [live for live in self.snapshot.parts if id(live.part) not in ids]
        self._show((built, *others) if built is not None else tuple(others))

    def _show(self, parts: tuple[LivePart, ...]) -> None:
        self.snapshot = replace(self.snapshot, parts=parts)

    def reword(self, lexical: Lexical | None, heads: Mapping[int, GrowingWords]) -> None:
        """Exchange the lexical index. Segments are without words until theirs are put in.

        heads   words of the parts that are no segments, by `id` of the part; all of them, where
                there is an index
        """
        last = self.snapshot.parts[-1]
        self._words = heads.get(id(last.part))
        parts = tuple(
            replace(live, words=words.view(live.part.slots) if words is not None else None)
            for live in self.snapshot.parts
            for words in [heads.get(id(live.part))]
        )
        self.snapshot = replace(self.snapshot, parts=parts, lexical=lexical)

    def reweigh(self, lexical: Lexical) -> None:
        """Change the weights of the lexical index alone."""
        self.snapshot = replace(self.snapshot, lexical=lexical)

    def put_words(self, segment: Segment, words: WordReader) -> None:
        """Show the words of a segment, if it is still there."""
        self._show(
            tuple(
                replace(live, words=words) if live.part is segment else live
                for live in self.snapshot.parts
            )
        )

    def current(self, earlier: Sequence[LivePart]) -> list[LivePart]:
        """Find parts again as they are now, with the tombstones that came since."""
        ids = {id(live.part) for live in earlier}
        return [live for live in self.snapshot.parts if id(live.part) in ids]


def growing_words(lexical: Lexical | None) -> GrowingWords | None:
    """Begin the words of a head, if there is a lexical index."""
    return None if lexical is None else GrowingWords(len(lexical.fields), lexical.language)
