"""Words on every backend: the lexical index against BM25 by brute force, whatever the parts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from app.attributes.filter import parse_filter
from app.backends.base import Backend, Recall, Search, Selection, View, Words
from app.backends.local import LocalBackend
from app.errors import InvalidFilter, InvalidQuery, LimitExceeded
from app.keys import id_from_key
from app.types import TEXT_FIELD, Lexical, Point, PointId
from tests.builders import definition, point, settle, vector
from tests.reference_lexical import ranked_words

VOCABULARY = ["whale", "whales", "ship", "sail", "sea", "the", "of", "white", "captain", "a"]
LEXICAL = Lexical({TEXT_FIELD: 1.0, "title": 2.5}, "english")


def drawn(seed: int, count: int) -> list[Point]:
    """Points with texts of few words, so that scores tie and words repeat; some have none."""
    chance = random.Random(seed)

    def words(most: int) -> str:
        return " ".join(chance.choices(VOCABULARY, k=chance.randrange(most)))

    return [
        point(
            n,
            [n, 1, 0, 0],
            words(12) or None,
            **({"title": words(4)} if n % 3 else {"title": [words(3), words(3), n]}),
            n=n,
        )
        for n in range(count)
    ]


def recalled(backend: Backend, text: str, **wanted: object) -> list[tuple[PointId, float]]:
    words = {name: wanted.pop(name) for name in ("fields", "every") if name in wanted}
    asked = Recall(Words(text, **words), None)._replace(**wanted)  # type: ignore[arg-type]  # names of its own

    def work(view: View) -> list[tuple[PointId, float]]:
        found = view.recall(asked).candidates
        ids = [id_from_key(key) for key in found.keys]
        return list(zip(ids, found.scores.tolist(), strict=True))

    return backend.view("c", work)


def expected(
    points: Mapping[PointId, Point],
    text: str,
    fields: Mapping[str, float] | None = None,
    **how: bool,
) -> list[tuple[PointId, float]]:
    """Best first, ties by id, of the points that are there."""
    listed = [points[id_] for id_ in sorted(points)]  # type: ignore[type-var]  # integers here
    scores = ranked_words(text, listed, LEXICAL, fields, **how)
    found = [(listed[place].id, score) for place, score in scores.items()]
    return sorted(found, key=lambda pair: (-round(pair[1], 9), pair[0]))


@pytest.mark.parametrize("seed", range(3))
def test_words_rank_as_one_index_over_the_live_points(backend: Backend, seed: int) -> None:
    """In heads and segments, after updates and deletes, by any of the fields."""
    backend.create("c", definition())
    backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
    points = {one.id: one for one in drawn(seed, 60)}
    backend.upsert("c", list(points.values())[:40])
    settle(backend, "c")
    changed = {one.id: one for one in drawn(seed + 100, 12)}
    backend.upsert("c", list(points.values())[40:])
    backend.upsert("c", list(changed.values()))
    points |= changed
    backend.delete("c", Selection(ids=tuple(range(15, 25))))
    for gone in range(15, 25):
        del points[gone]
    for text in ("white whales", "the sea of the captain", "the", "nowhere", "sail sail ship"):
        for fields in (None, {"title": 1.0}, {TEXT_FIELD: 0.5, "title": 0.0}):
            for every in (False, True):
                found = recalled(backend, text, fields=fields, every=every, k=100)
                due = expected(points, text, fields, every=every)
                assert [score for _, score in found] == pytest.approx(
                    [score for _, score in due], rel=1e-5
                )
                assert {id_ for id_, _ in found} == {id_ for id_, _ in due}
                assert recalled(backend, text, fields=fields, every=every, k=5) == found[:5]


def test_rows_are_scored_as_they_are_recalled(backend: Backend) -> None:
    backend.create("c", definition())
    backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
    points = drawn(5, 45)
    backend.upsert("c", points[:30])
    settle(backend, "c")
    backend.upsert("c", points[20:])
    words = Words("white whales at sea", {"title": 3.0, TEXT_FIELD: 1.0})

    def work(view: View) -> None:
        found = view.recall(Recall(words, None, k=100)).candidates
        shuffled = np.random.default_rng(0).permutation(len(points))
        rows = view.find([points[at].id for at in shuffled.tolist()])
        scored = dict(zip(rows.tolist(), view.score_words(words, rows).tolist(), strict=True))
        recalled = dict(zip(found.rows.tolist(), found.scores.tolist(), strict=True))
        assert 0 < len(recalled) < len(points)
        assert scored == pytest.approx({row: recalled.get(row, 0.0) for row in scored})
        assert view.score_words(Words("sea"), rows[:0]).size == 0

    backend.view("c", work)


def test_filters_and_exclusions_choose_among_what_has_the_words(backend: Backend) -> None:
    backend.create("c", definition())
    backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
    points = {one.id: one for one in drawn(7, 50)}
    backend.upsert("c", list(points.values()))
    few = parse_filter({"n": {"$lt": 20}, "title": {"$match": "whale"}})
    whole = recalled(backend, "white sea", k=100)
    assert whole == recalled(backend, "white sea", k=100, filter=parse_filter({}))

    def titled(one: Point) -> bool:
        title = one.attributes["title"]
        texts = title if isinstance(title, list) else [title]
        return any("whale" in text for text in texts if isinstance(text, str))

    allowed = {n for n in range(20) if titled(points[n])}
    kept = [pair for pair in whole if pair[0] in allowed]
    assert 0 < len(kept) < 20
    assert recalled(backend, "white sea", k=100, filter=few) == kept
    assert recalled(backend, "white sea", k=100, filter=few, exclude=(kept[0][0],)) == kept[1:]
    asked = Recall(Words("white sea"), None, few, k=2, exclude=(kept[0][0],))
    assert backend.view("c", lambda view: view.recall(asked)).matches == len(kept) - 1


def test_a_filter_by_words_chooses_for_searches_counts_scrolls_and_deletes(
    backend: Backend,
) -> None:
    backend.create("c", definition())
    backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
    backend.upsert("c", drawn(3, 50))
    settle(backend, "c")
    filter = parse_filter({TEXT_FIELD: {"$match": '"white whale" -captain'}})
    answer = backend.search("c", [Search(vector(1, 0, 0, 0), "v", filter, k=50)])[0]
    found = {hit.record.id for hit in answer.hits}
    assert len(found) == answer.matches == backend.count("c", filter) > 0
    for hit in answer.hits:
        text = (hit.record.text or "").replace("whales", "whale")
        assert "white whale" in text
        assert "captain" not in text
    assert backend.delete("c", Selection(filter=filter)) == len(found)
    assert backend.count("c", filter) == 0


def test_without_the_index_or_the_field_words_are_refused(backend: Backend) -> None:
    backend.create("c", definition())
    backend.upsert("c", drawn(3, 5))
    anywhere, title = parse_filter({"$match": "sea"}), parse_filter({"other": {"$match": "sea"}})
    with pytest.raises(InvalidQuery):
        recalled(backend, "sea")
    with pytest.raises(InvalidFilter) as refused:
        backend.count("c", anywhere)
    assert refused.value.pointer == "/filter/$match"
    backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
    with pytest.raises(InvalidFilter) as refused:
        backend.count("c", title)
    assert refused.value.pointer == "/filter/other/$match"
    with pytest.raises(InvalidQuery):
        recalled(backend, "sea", fields={"other": 1.0})
    backend.alter("c", schema=None, index=None, lexical=lambda present: None)
    with pytest.raises(InvalidFilter):
        backend.count("c", anywhere)


def test_an_index_on_a_full_collection_changes_what_is_found(backend: Backend) -> None:
    """Made later, over other fields, in another language, and with other weights."""
    backend.create("c", definition())
    backend.upsert(
        "c", [point(n, [n, 1, 0, 0], "whales sail", title="the ship") for n in range(30)]
    )
    backend.upsert("c", [point(99, [1, 1, 0, 0], "a ship", title="whale")])
    settle(backend, "c")
    whale, every = parse_filter({"$match": "whale"}), {}

    def made(fields: Mapping[str, float], language: str | None) -> int:
        wanted = Lexical(fields, language)
        info = backend.alter("c", schema=None, index=None, lexical=lambda present: wanted)
        assert info.definition.lexical == wanted
        settle(backend, "c")
        return backend.count("c", whale)

    every["stemmed"] = made({TEXT_FIELD: 1.0}, "english")
    every["plain"] = made({TEXT_FIELD: 1.0}, None)
    every["both"] = made({TEXT_FIELD: 1.0, "title": 1.0}, None)
    assert every == {"stemmed": 30, "plain": 0, "both": 1}
    made({TEXT_FIELD: 0.5, "title": 9.0}, None)  # weights alone
    assert [id_ for id_, _ in recalled(backend, "ship", k=1)] == [0]
    made({TEXT_FIELD: 9.0, "title": 0.5}, None)
    assert [id_ for id_, _ in recalled(backend, "ship", k=1)] == [99]


def test_too_many_words_are_refused_by_the_engine(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path, sync=False)
    backend.create("c", definition())
    backend.alter("c", schema=None, index=None, lexical=lambda present: LEXICAL)
    backend.upsert("c", drawn(3, 5))
    with pytest.raises(LimitExceeded):
        recalled(backend, " ".join(f"w{n}" for n in range(1025)))
    backend.close()
