"""The language of `$match`: words, "phrases", prefixes*, -exclusions.

A text asked for is read into clauses. A clause is some words that stand side by side in a text, in
that order: one word, what stood in quotation marks, or what was written in one piece and is several
words ("covid-19"). The last of them may be a prefix. What each clause *means* is `stands_in`, one
text at a time; indexes answer the same for many points at once, and tests hold them to it.

A prefix `p*` means the terms that begin with p as it is written, and the term of the word p, so
that with a stemmer "universities*" still finds what "universities" finds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from app.text.analysis import Analyzer
from app.text.folding import words_of

MOST_WORDS = 64
"""Words that one `$match` may ask for, in all its clauses."""

_CLAUSE = re.compile(r'(-?)(?:"([^"]*)"(\*?)|([^\s"]+))')
_BREAKS = re.compile(r"\s*")


class Clause(NamedTuple):
    """Some words side by side, at least one.

    words      folded, not yet reduced to stems
    prefix     whether the last word is only the beginning of one
    excluded   whether what has it is left out
    """

    words: tuple[str, ...]
    prefix: bool = False
    excluded: bool = False


def read_clauses(text: str) -> tuple[Clause, ...]:
    """Read what is to be matched; clauses without a letter or digit are passed over.

    Raises ValueError, saying what was expected, if quotation marks have no partner, no word is
    asked for, or too many are.
    """
    clauses: dict[Clause, None] = {}
    at = _past_space(text, 0)
    while at < len(text):
        found = _CLAUSE.match(text, at)
        if found is None:
            raise ValueError("expected a second quotation mark at the end of the phrase")
        minus, phrase, star, plain = found.groups()
        said = plain if phrase is None else phrase
        words = tuple(words_of(said))
        if words:
            prefix = bool(star) if plain is None else plain.endswith("*")
            clauses[Clause(words, prefix, bool(minus))] = None
        at = _past_space(text, found.end())
    if all(clause.excluded for clause in clauses):
        raise ValueError(
            "expected at least one word to look for; what only leaves points out goes into $not"
        )
    if sum(len(clause.words) for clause in clauses) > MOST_WORDS:
        raise ValueError(f"expected at most {MOST_WORDS} words")
    return tuple(clauses)


def stands_in(clause: Clause, terms: Sequence[str], analyzer: Analyzer) -> bool:
    """Tell whether the words of a clause stand side by side among the terms of one text."""
    *before, last = clause.words
    wanted = [analyzer.term(word).text for word in before]
    ending = analyzer.term(last).text
    return any(
        list(terms[at : at + len(wanted)]) == wanted
        and (
            terms[at + len(wanted)] == ending
            or (clause.prefix and terms[at + len(wanted)].startswith(last))
        )
        for at in range(len(terms) - len(wanted))
    )


def _past_space(text: str, at: int) -> int:
    found = _BREAKS.match(text, at)
    return at if found is None else found.end()
