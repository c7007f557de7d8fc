"""The words of a head: what `app.postings.words` holds of a segment, growing by a point at a time.

One writer appends; a view is what had been appended when it was taken. Arrays grow as those of a
head do (`app.segments.head`): past every view's end, or into larger ones that leave the old ones to
their views.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.postings.growing import GrowingPostings, PostingsView
from app.postings.postings import MOST_OCCURRENCES, Lists
from app.text.analysis import Document, analyzer_of, counted
from app.types import I64, U32, U64
from app.vectors.arrays import doubled, read_only

_FIRST_TERMS = 4096
_FIRST_ENDS = 256


class GrowingWords:
    """`append` is for one thread at a time; `view` for any."""

    def __init__(self, fields: int, language: str | None) -> None:
        self._fields = fields
        self._analyzer = analyzer_of(language)
        self._slots = 0
        self._postings = GrowingPostings(fields)
        self._stream: U64 = np.zeros(_FIRST_TERMS, dtype=np.uint64)
        self._ends: I64 = np.zeros(_FIRST_ENDS, dtype=np.int64)
        self._words: set[str] = set()
        self._terms: dict[str, int] = {}

    def append(self, document: Document) -> None:
        """Add the next slot."""
        own = counted(document)
        weights = np.minimum(own.counts, MOST_OCCURRENCES).astype(np.uint16)
        first = self._slots * self._fields
        start = int(self._ends[first])
        end = start + document.stream.size
        while end > self._stream.size:
            self._stream = doubled(self._stream)
        while first + self._fields >= self._ends.size:
            self._ends = doubled(self._ends)
        self._stream[start:end] = document.stream
        self._ends[first + 1 : first + self._fields + 1] = np.array(document.ends) + start
        for word in document.words - self._words:
            term = self._analyzer.term(word)
            self._terms[term.text] = term.number
        self._words |= document.words
        self._postings.append(self._slots, own.terms, weights, own.lengths)
        self._slots += 1

    def view(self, slots: int) -> WordsView:
        """Take the first `slots` slots."""
        ends = read_only(self._ends[: slots * self._fields + 1])
        stream = read_only(self._stream[: int(ends[-1])])
        return WordsView(self._postings.view(slots), self._fields, stream, ends, self._terms)


class WordsView:
    """The words of the first slots of a head: a `WordReader`."""

    __slots__ = ("_ends", "_postings", "_stream", "_terms", "fields")

    def __init__(
        self, postings: PostingsView, fields: int, stream: U64, ends: I64, terms: dict[str, int]
    ) -> None:
        self.fields = fields
        self._postings = postings
        self._stream = stream
        self._ends = ends
        self._terms = terms

    @property
    def slots(self) -> int:
        """Count the slots."""
        return self._postings.slots

    @property
    def lengths(self) -> U32:
        """Give the words of each text: uint32[slots, fields]."""
        return self._postings.lengths

    def lists(self, terms: U64) -> Lists:
        """Find the postings of terms: uint64[any]."""
        return self._postings.lists(terms)

    def starting(self, prefix: str) -> list[int]:
        """List the numbers of the terms that begin so, newer ones included."""
        terms = self._terms.copy()  # one step: the writer may add to it meanwhile
        return [number for text, number in terms.items() if text.startswith(prefix)]

    def stream(self) -> tuple[NDArray[np.unsignedinteger], I64]:
        """Give the terms of all slots in their order, and where each field ends."""
        return self._stream, self._ends

    def places(self, numbers: U64) -> NDArray[np.unsignedinteger]:
        """Give the numbers themselves: here the stream says them."""
        return numbers
