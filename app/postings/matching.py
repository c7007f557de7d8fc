"""Which slots of a part a `$match` means; agrees, slot by slot, with `app.attributes.matches`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.attributes.filter import Match
from app.kernels import bits as bitset
from app.kernels.phrases import with_phrase
from app.postings.postings import Lists
from app.postings.words import WordReader
from app.text.analysis import Analyzer
from app.text.clauses import Clause
from app.types import I64, U32, U64, Bits
from app.vectors.arrays import read_only


def matching_words(
    match: Match, words: WordReader, fields: Sequence[int], analyzer: Analyzer
) -> Bits:
    """Mark the slots whose words meet a condition.

    fields     numbers of the text fields to look in
    analyzer   that the words were made with
    returns    bits over the slots of `words`, the caller's to keep
    """
    search = _Search(words, np.array(sorted(fields), dtype=np.int64), analyzer)
    found: Bits | None = None
    for clause in match.clauses:
        if clause.excluded:
            continue
        bits = search.clause(clause)
        if found is None:
            found = bits
        elif match.every:
            found &= bits
        else:
            found |= bits
    assert found is not None  # what only excludes is refused
    for clause in match.clauses:
        if clause.excluded:
            found &= ~search.clause(clause)
    return found


def holding(words: WordReader, lists: Lists, fields: I64, *, every: bool = False) -> Bits:
    """Mark the slots that hold any of some terms, or every one, in one of the fields.

    lists     of the terms, in these words
    fields    int64[any], numbers of the text fields that count
    returns   bits over the slots of `words`, the caller's to keep
    """
    bits = bitset.empty(words.slots)
    everywhere = fields.size == words.fields
    for number, (start, end) in enumerate(
        zip(lists.starts.tolist(), lists.ends.tolist(), strict=True)
    ):
        slots: U32 = lists.slots[start:end]
        if not everywhere:
            slots = read_only(slots[lists.weights[start:end, fields].any(axis=1)])
        own = bitset.empty(words.slots) if every and number else bits
        bitset.set_slots(own, slots)
        if own is not bits:
            bits &= own
    return bits


class _Search:
    """One look into one part."""

    def __init__(self, words: WordReader, fields: I64, analyzer: Analyzer) -> None:
        self._words = words
        self._fields = fields
        self._analyzer = analyzer

    def clause(self, clause: Clause) -> Bits:
        *before, last = (self._analyzer.term(word).number for word in clause.words)
        lasts = {last}
        if clause.prefix:
            lasts |= set(self._words.starting(clause.words[-1]))
        ending = np.array(sorted(lasts), dtype=np.uint64)
        bits = self._holding(ending)
        for term in set(before):
            bits &= self._holding(np.array([term], dtype=np.uint64))
        return self._side_by_side(bits, before, ending) if before else bits

    def _holding(self, terms: U64) -> Bits:
        """Mark the slots that hold any of some terms in one of the fields."""
        return holding(self._words, self._words.lists(terms), self._fields)

    def _side_by_side(self, candidates: Bits, before: list[int], ending: U64) -> Bits:
        wanted = np.array(before, dtype=np.uint64)
        order = np.sort(np.unique(wanted))
        places = self._words.places(order)
        last = self._words.places(ending)
        bits = bitset.empty(self._words.slots)
        if places.size < order.size or last.size == 0:
            return bits
        stream, ends = self._words.stream()
        slots = with_phrase(
            read_only(stream),
            read_only(ends),
            read_only(self._fields),
            self._words.fields,
            read_only(bitset.slots_of(candidates)),
            read_only(places[np.searchsorted(order, wanted)]),
            read_only(last),
        )
        bitset.set_slots(bits, slots)
        return bits
