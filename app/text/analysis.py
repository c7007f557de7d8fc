"""What a lexical index holds of a point: the terms of its fields, numbered the same everywhere.

A *term* is a folded word (`app.text.folding`), reduced to its stem if the index has a language. Its
number is the first eight bytes of its BLAKE2b digest, so that heads, segments and queries agree on
it without sharing a dictionary. Two of n terms share a number with odds of about n² / 2⁶⁵: one in
37,000 among a hundred million different words. They would then be one word.

Words come again and again, so what a word becomes is kept: the dearest step, stemming, is taken
once a word. Words that are met once (numbers, names, typing errors) would fill any cache; a full
one is emptied and fills again with what is frequent.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from app.text import english
from app.text.folding import words_of
from app.text.stop import STOP
from app.types import TEXT_FIELD, U32, U64, Attributes, Lexical

VERSION = 1
"""Of all that decides which terms a text has: indexes made by another one are made again."""

LANGUAGES = {"english": english.stem}
"""Languages with a stemmer. Without a language, words stay as they are."""

GAP = 0
"""Stands between the texts of one field, so that no phrase goes across. No term has this number."""

_MOST_REMEMBERED = 200_000  # words, about 40 MB


class Document(NamedTuple):
    """The terms of one point.

    stream   uint64[any], the fields' terms one after the other, in the order they stand there
    ends     where each field ends in the stream
    words    the folded words that they were made of, each once
    """

    stream: U64
    ends: tuple[int, ...]
    words: frozenset[str]


class Term(NamedTuple):
    """What a word becomes."""

    text: str
    number: int


class _Terms(dict[str, int]):
    """Numbers of the terms that words become."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer

    def __missing__(self, word: str) -> int:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        number = self[word] = self._analyzer.term(word).number
        return number


class Analyzer:
    """Makes terms of texts, for one language or none. Safe for any number of threads."""

    def __init__(self, language: str | None) -> None:
        self._stem = None if language is None else LANGUAGES[language]
        self._stop = frozenset() if language is None else STOP.get(language, frozenset())
        self._numbers = _Terms(self)

    def term(self, word: str) -> Term:
        """Make the term of a folded word."""
        text = word if self._stem is None else self._stem(word)
        return Term(text, _number(text))

    def numbers(self, words: Sequence[str]) -> list[int]:
        """Give the numbers of the terms of folded words."""
        return list(map(self._numbers.__getitem__, words))

    def terms_of(self, text: str) -> list[int]:
        """Give the numbers of a text's terms, in their order."""
        return self.numbers(words_of(text))

    def asked_terms(self, text: str) -> list[int]:
        """Give the terms that a text ranks by: without stop words, if it has any others."""
        words = words_of(text)
        return self.numbers([word for word in words if word not in self._stop] or words)


@lru_cache(maxsize=16)
def analyzer_of(language: str | None) -> Analyzer:
    """Share the analyzer of a language, and what it remembers."""
    return Analyzer(language)


def texts_of(field: str, attributes: Attributes, text: str | None) -> list[str]:
    """List the texts of a field of a lexical index: those strings that the point has there."""
    value = text if field == TEXT_FIELD else attributes.get(field)
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def document_of(lexical: Lexical, attributes: Attributes, text: str | None) -> Document:
    """Analyse a point."""
    numbers = analyzer_of(lexical.language).numbers
    stream: list[int] = []
    ends = []
    every: list[str] = []
    for field in lexical.fields:
        texts = texts_of(field, attributes, text)
        for at, each in enumerate(texts):
            if at:
                stream.append(GAP)
            words = words_of(each)
            every += words
            stream += numbers(words)
        ends.append(len(stream))
    # Through an array: numpy takes three times as long over a list of such numbers.
    return Document(np.frombuffer(array("Q", stream), np.uint64), tuple(ends), frozenset(every))


class Counted(NamedTuple):
    """How often each term stands in each field of a point.

    terms     uint64[n], ascending, all different
    counts    int64[n, fields]
    lengths   uint32[fields], terms of each
    """

    terms: U64
    counts: Any
    lengths: U32


def counted(document: Document) -> Counted:
    """Count the terms of a point."""
    stream = document.stream
    fields = len(document.ends)
    terms, places = np.unique(stream, return_inverse=True)
    places = places.reshape(-1)  # numpy 2.0 gives it the input's shape
    if fields > 1:
        widths = np.diff(np.array(document.ends), prepend=0)
        places = places * fields + np.repeat(np.arange(fields), widths)
    counts = np.bincount(places, minlength=terms.size * fields).reshape(-1, fields)
    if terms.size and terms[0] == GAP:
        terms, counts = terms[1:], counts[1:]
    return Counted(terms, counts, counts.sum(axis=0).astype(np.uint32))


def fingerprint(lexical: Lexical) -> str:
    """Name what an index depends on: fields in their order and language, not weights."""
    said = repr((VERSION, list(lexical.fields), lexical.language))
    return blake2b(said.encode(), digest_size=8).hexdigest()


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") or 1
