"""Words, stems, stop words and the clauses of `$match`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.text.analysis import GAP, LANGUAGES, analyzer_of, document_of
from app.text.clauses import MOST_WORDS, Clause, read_clauses
from app.text.english import stem
from app.text.folding import LONGEST_WORD, words_of
from app.text.stop import STOP
from app.types import TEXT_FIELD, Lexical


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Éclair, ＥＣＬＡＩＲ; eclair", ["eclair", "eclair", "eclair"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("COVID-19 (SARS-CoV-2)", ["covid", "19", "sars", "cov", "2"]),
        ("東京タワー", ["東", "京", "タワー"]),
        ("ﬁne ½", ["fine", "1", "2"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("\x00a\x00b\u200b", ["a", "b"]),
        ("🐋 — …", []),
        ("", []),
        ("x" * 100, ["x" * LONGEST_WORD]),
    ],
)
def test_a_text_is_its_folded_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text(max_size=200))
def test_folding_is_stable_and_its_words_are_bounded(text: str) -> None:
    words = words_of(text)
    assert all(0 < len(word) <= LONGEST_WORD and not word.isspace() for word in words)
    assert words_of(" ".join(words)) == words


# The examples of the published definition (snowballstem.org/algorithms/english), and its traps.
@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("consign consigned consigning consignment", "consign"),
        ("knack knackeries knacks", None),
        ("knightly knights", "knight"),
        ("connect connected connecting connection connections", "connect"),
        ("generate generated generating generations", "generat"),
        ("hopping hopped hop", "hop"),
        ("hoping hoped hope", "hope"),
        ("flies", "fli"),
        ("dies", "die"),
        ("universities university", "univers"),
        ("skies sky", "sky"),
        ("dying", "die"),
        ("news", "news"),
        ("generously", "generous"),
        ("agreed", "agre"),
        ("feed", "feed"),
        ("by say boy", None),
    ],
)
def test_endings_are_cut_as_published(words: str, same: str | None) -> None:
    stems = {stem(word) for word in words.split()}
    if same is not None:
        assert stems == {same}
    else:
        assert len(stems) > 1


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789é", min_size=1, max_size=30))
def test_any_word_has_a_stem_no_longer_than_it_and_one_letter(word: str) -> None:
    found = stem(word)
    assert 0 < len(found) <= len(word) + 1


def test_stop_words_are_left_out_of_what_is_ranked_by_unless_there_is_nothing_else() -> None:
    english, plain = analyzer_of("english"), analyzer_of(None)
    asked = "What is the colour of the whale?"
    assert english.asked_terms(asked) == english.terms_of("colour whale")
    assert english.asked_terms("to be or not to be") == english.terms_of("to be or not to be")
    assert plain.asked_terms(asked) == plain.terms_of(asked)
    assert STOP.keys() == LANGUAGES.keys()
    assert all(words_of(word) == [word] for words in STOP.values() for word in words)


def test_stop_words_stay_in_the_index() -> None:
    lexical = Lexical({TEXT_FIELD: 1.0}, "english")
    assert document_of(lexical, {}, "to be or not to be").stream.size == 6


def test_phrases_do_not_go_across_the_texts_of_a_list() -> None:
    lexical = Lexical({"tags": 1.0})
    document = document_of(lexical, {"tags": ["white whale", 5, None, "ship"]}, None)
    assert [int(term) == GAP for term in document.stream] == [False, False, True, False]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("white whale", [Clause(("white",)), Clause(("whale",))]),
        ('"White Whale"', [Clause(("white", "whale"))]),
        ("whal*", [Clause(("whal",), prefix=True)]),
        ('"white wh"*', [Clause(("white", "wh"), prefix=True)]),
        ("ship -boat", [Clause(("ship",)), Clause(("boat",), excluded=True)]),
        ('ship -"little boat"', [Clause(("ship",)), Clause(("little", "boat"), excluded=True)]),
        ("covid-19", [Clause(("covid", "19"))]),
        ("a a A", [Clause(("a",))]),
        ("- * … ship", [Clause(("ship",))]),
        ("NEAR(a, b) OR title:c^2", None),
    ],
)
def test_clauses_are_read(text: str, clauses: list[Clause] | None) -> None:
    found = read_clauses(text)
    if clauses is None:  # the syntax of other engines is words here, and nothing else
        assert {word for clause in found for word in clause.words} == set(words_of(text))
    else:
        assert list(found) == clauses


@pytest.mark.parametrize("text", ["", "  ", "-whale", '"open', '""', "…", '-"a" -b', '"' * 100_001])
def test_what_asks_for_nothing_or_does_not_end_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected"):
        read_clauses(text)


def test_words_are_bounded() -> None:
    assert len(read_clauses(" ".join(f"w{n}" for n in range(MOST_WORDS)))) == MOST_WORDS
    with pytest.raises(ValueError, match="at most"):
        read_clauses(" ".join(f"w{n}" for n in range(MOST_WORDS + 1)))


@given(st.text(alphabet='ab"*- \x00é\n', max_size=40))
def test_any_text_is_clauses_or_refused(text: str) -> None:
    try:
        clauses = read_clauses(text)
    except ValueError:
        return
    assert any(not clause.excluded for clause in clauses)
    assert len(set(clauses)) == len(clauses)
    assert all(clause.words for clause in clauses)
