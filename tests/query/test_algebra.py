"""Compositions on planted data, against the single things that they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.backends.base import Backend
from app.backends.local import LocalBackend
from app.errors import InvalidQuery
from app.query import limits
from app.query.algebra import composing
from app.types import F32, Point
from tests.query.asking import ask, collection, unit

Query = Mapping[str, Any]


# ── labels of several at once ────────────────────────────────────────────────────────────────────


class Labelled:
    """1,500 points of one to four of 16 labels, with something common to all and noise."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(0)
        self.labels = unit(random.standard_normal((16, 64)))
        common = unit(random.standard_normal(64))
        self.has = np.zeros((1500, 16), dtype=np.bool_)
        for row in self.has:
            row[random.choice(16, random.integers(1, 5), replace=False)] = True
        mixed = unit((self.has * random.uniform(0.7, 1.3, self.has.shape)) @ self.labels)
        self.rows = unit(mixed + 0.5 * common + random.standard_normal((1500, 64)) / 16)
        attributes = [{"label": np.flatnonzero(row).tolist()} for row in self.has]
        opened = LocalBackend(folder, sync=False, head_points=10_000)
        self.backend = collection(self.rows, attributes, backend=opened)

    def jaccard(self, query: Query, wanted: Any) -> float:
        """How well the labels of the best 20 agree with wanted ones."""
        try:
            ids = ask(self.backend, query, k=20).ids
        except InvalidQuery:  # nothing is left
            return 0.0
        found = self.has[[int(id_) for id_ in ids]]
        return float(np.mean((found & wanted).sum(axis=1) / (found | wanted).sum(axis=1)))

    def mean_jaccard(self, of: Callable[[int, int], tuple[Query, Any]]) -> float:
        """Over pairs of points that share a label and have others."""
        random = np.random.default_rng(1)
        worth: list[float] = []
        while len(worth) < 40:
            a, b = random.choice(len(self.has), 2, replace=False).tolist()
            one, other = self.has[a], self.has[b]
            if min(one.sum(), other.sum()) >= 2 and (one & other).any() and (one & ~other).any():
                worth.append(self.jaccard(*of(a, b)))
        return float(np.mean(worth))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Labelled(tmp_path_factory.mktemp("labelled"))
    yield made
    made.backend.close()


VALUES = {"field": "label"}


def test_an_intersection_needs_concepts(labelled: Labelled) -> None:
    def asked(query: Callable[[list[Query]], Query]) -> float:
        def of(a: int, b: int) -> tuple[Query, Any]:
            return query([{"id": a}, {"id": b}]), labelled.has[a] & labelled.has[b]

        return labelled.mean_jaccard(of)

    with_values = asked(lambda terms: {"intersect": terms, "concepts": VALUES})
    assert with_values >= 0.85
    assert asked(lambda terms: terms[0]) < 0.4
    assert asked(lambda terms: {"sum": terms}) <= 0.5
    assert asked(lambda terms: {"sum": terms, "center": True}) < with_values - 0.2
    assert asked(lambda terms: {"intersect": terms}) <= 0.5  # the lesser score is no better
    # Concepts that nobody named come close, if there are about as many as there are labels.
    assert asked(lambda terms: {"intersect": terms, "concepts": {"kmeans": 16}}) > 0.7
    assert with_values > asked(
        lambda terms: {"intersect": terms, "concepts": VALUES, "center": False}
    )


def test_a_difference_by_concepts_beats_arithmetic(labelled: Labelled) -> None:
    def asked(query: Callable[[list[Query]], Query]) -> float:
        def of(a: int, b: int) -> tuple[Query, Any]:
            return query([{"id": a}, {"id": b}]), labelled.has[a] & ~labelled.has[b]

        return labelled.mean_jaccard(of)

    with_values = asked(lambda terms: {"subtract": terms, "concepts": VALUES})
    assert with_values > 0.64
    assert asked(lambda terms: {"subtract": terms}) < with_values - 0.03
    assert asked(lambda terms: {"reject": terms}) < with_values - 0.03
    assert asked(lambda terms: terms[0]) < with_values - 0.15


def test_a_union_by_concepts_beats_a_sum(labelled: Labelled) -> None:
    def asked(query: Callable[[list[Query]], Query]) -> float:
        def of(a: int, b: int) -> tuple[Query, Any]:
            return query([{"id": a}, {"id": b}]), labelled.has[a] | labelled.has[b]

        return labelled.mean_jaccard(of)

    with_values = asked(lambda terms: {"union": terms, "concepts": VALUES})
    assert with_values > asked(lambda terms: {"sum": terms}) + 0.03
    assert with_values > asked(lambda terms: {"union": terms}) + 0.03


def test_coefficients_are_told_by_the_names_of_values(labelled: Labelled) -> None:
    single = np.flatnonzero(labelled.has.sum(axis=1) == 1)
    a = int(single[0])
    (name,) = np.flatnonzero(labelled.has[a]).tolist()
    b = int(next(at for at in range(1500) if labelled.has[at, name] and at != a))
    query = {"intersect": [{"id": a}, {"id": b}], "concepts": VALUES}
    (told,) = ask(labelled.backend, query).composed
    assert told["coefficients"][0][0] == name
    assert told["terms"][0]["coefficients"][0][0] == name
    assert all(0 <= term["explained"] <= 1 for term in told["terms"])
    assert told["concepts"]["values"] == 16
    assert told["ms"] > 0


def test_two_labels_at_once_make_a_compound_label(labelled: Labelled) -> None:
    """Prototypes of single labels rank pairs of them, which have no prototype of their own."""
    worth: dict[str, list[float]] = {"pair": [], "single": []}
    for a in range(0, 16, 2):
        both = np.zeros(16, dtype=np.bool_)
        both[[a, a + 1]] = True
        labels = [{"label": {"field": "label", "value": one}} for one in (a, a + 1)]
        for name, query in (("pair", {"sum": labels, "center": True}), ("single", labels[0])):
            found = [int(id_) for id_ in ask(labelled.backend, query, k=10).ids]
            worth[name].append(float(labelled.has[found][:, both].all(axis=1).mean()))
    assert np.mean(worth["pair"]) > 0.9
    assert np.mean(worth["single"]) < 0.5


# ── sets ─────────────────────────────────────────────────────────────────────────────────────────


def test_set_expansion_under_something_common_to_all() -> None:
    random = np.random.default_rng(4)
    topics, common = unit(random.standard_normal((12, 48))), unit(random.standard_normal(48))
    of = np.repeat(np.arange(12), 40)
    # Some points have more of what is common to all: they are near to every mean.
    share = random.uniform(0.2, 3.0, (480, 1))
    rows = topics[of] + share * common + 0.9 * random.standard_normal((480, 48)) / np.sqrt(48) * 2
    backend = collection(rows)

    def ap(query: Callable[[list[int]], Query]) -> float:
        worth = []
        for topic in range(12):
            members = np.flatnonzero(of == topic)[:5].tolist()
            found = ask(backend, query(members), k=475, max_k=500).ids
            hits = of[[int(id_) for id_ in found]] == topic
            ranks = np.flatnonzero(hits) + 1
            worth.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
        return float(np.mean(worth))

    alone = ap(lambda members: {"id": members[0]})
    plain = ap(lambda members: {"set": members, "background": "none"})
    less = ap(lambda members: {"set": members})
    centred = ap(lambda members: {"set": members, "center": True})
    assert alone < plain < less
    assert centred > plain + 0.05
    assert centred > 0.75


def test_the_odd_one_out_of_a_set_is_told() -> None:
    random = np.random.default_rng(6)
    topics, common = unit(random.standard_normal((6, 32))), unit(random.standard_normal(32))
    of = np.repeat(np.arange(6), 30)
    rows = unit(topics[of] + 2 * common + 0.15 * random.standard_normal((180, 32)))
    backend = collection(rows)
    right, plain = [], []
    for topic in range(6):
        for odd in random.choice(np.flatnonzero(of != topic), 5, replace=False).tolist():
            members = [*random.choice(np.flatnonzero(of == topic), 4, replace=False).tolist(), odd]
            (told,) = ask(backend, {"set": members}).composed
            right.append(int(np.argmin(told["agreement"])) == 4)
            # Without the background, what is common to all hides it more often.
            apart = rows[members] @ rows[[members[0]]].T
            plain.append(int(np.argmin(apart)) == 4)
    assert np.mean(right) > 0.95
    assert np.mean(right) >= np.mean(plain)


def test_a_set_may_be_seen_against_what_a_filter_lets_pass() -> None:
    rows = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]]
    kinds = [{"kind": "a"}, {"kind": "a"}, {"kind": "a"}, {"kind": "b"}, {"kind": "b"}, {}]
    backend = collection(rows, kinds)
    told = []
    for background in ("collection", "matches", {"kind": "b"}):
        query = {"set": [0, 1], "background": background}
        (facts,) = ask(backend, query, filter={"kind": "a"}).composed
        told.append((facts["background"]["of"], facts["background"]["points"]))
    assert told == [("collection", 6), ("matches", 3), ("a filter", 2)]
    ids = ask(backend, {"set": [0, 1], "background": {"kind": "b"}}).ids
    assert set(ids) == {2, 3, 4, 5}  # named points are left out
    assert len(ask(backend, {"set": [0, 1], "keep": True}).ids) == 6


def test_the_order_of_a_set_makes_no_difference() -> None:
    random = np.random.default_rng(0)
    backend = collection(random.standard_normal((60, 16)))
    one = ask(backend, {"set": [3, 1, 4, 15, 9]}, k=55)
    other = ask(backend, {"set": [9, 15, 3, 1, 4]}, k=55)
    assert (one.ids, one.scores) == (other.ids, other.scores)


def test_the_label_of_one_point_is_that_point() -> None:
    random = np.random.default_rng(0)
    backend = collection(random.standard_normal((30, 8)), [{"name": f"n{at}"} for at in range(30)])
    label = ask(backend, {"label": {"field": "name", "value": "n7"}})
    assert label.ids[0] == 7
    assert label.ids[1:] == ask(backend, {"id": 7}, k=9).ids


# ── attributes ───────────────────────────────────────────────────────────────────────────────────


def test_a_repeated_attribute_does_not_outvote_the_others() -> None:
    """Classes that nobody named, of five attributes out of 30; one attribute is told ten times."""
    random = np.random.default_rng(2)
    attributes = unit(random.standard_normal((30, 64)))
    has = [random.choice(30, 5, replace=False) for _ in range(40)]
    rows = np.stack(
        [
            attributes[one].sum(axis=0) + random.standard_normal(64) * 0.25
            for one in has
            for _ in range(5)
        ]
    )
    backend = collection(rows)
    texts: dict[str, F32] = {}
    for at in range(30):
        for wording in range(10):
            worded = attributes[at] + 0.02 * random.standard_normal(64)
            texts[f"{at}/{wording}"] = unit(worded)

    def accuracy(repeated: int, aggregate: str) -> float:
        right = []
        for number, one in enumerate(has[:25]):
            words = [f"{at}/0" for at in one[1:]]
            words += [f"{one[0]}/{wording}" for wording in range(repeated)]
            query = {"attributes": words, "aggregate": aggregate}
            found = ask(backend, query, texts, k=5).ids
            right.append(np.mean([int(id_) // 5 == number for id_ in found]))
        return float(np.mean(right))

    grouped, plain = accuracy(1, "group"), accuracy(1, "mean")
    assert grouped == plain
    assert grouped > 0.9
    assert abs(accuracy(10, "group") - grouped) <= 0.01
    assert accuracy(10, "mean") < plain - 0.2


def test_groups_of_attributes_are_told() -> None:
    backend = collection(np.eye(4))
    texts = {"a": [1, 0, 0, 0], "a again": [1, 0.05, 0, 0], "b": [0, 1, 0, 0]}
    (told,) = ask(backend, {"attributes": ["a", "b", "a again"]}, texts).composed
    assert told["groups"] == [[0, 2], [1]]


# ── conditions: focus and change ─────────────────────────────────────────────────────────────────


class Scenes:
    """Things of an object, a colour and a shape, and galleries to choose the right one from.

    Of each gallery one thing is right. For `focus` it has the colour of the reference and nothing
    else of it, the others its object or shape; for `change` it is the reference in another colour,
    the others are half right.
    """

    def __init__(self, folder: Path) -> None:
        self.random = random = np.random.default_rng(0)
        kinds = (12, 8, 8)
        self.parts = [unit(random.standard_normal((kind, 64))) for kind in kinds]
        self.common = unit(random.standard_normal(64))
        worded = unit(random.standard_normal(64))  # what sets texts apart from things
        self.texts = {
            f"colour {at}": unit(one + 0.6 * worded) for at, one in enumerate(self.parts[1])
        }
        self.texts["colour"] = unit(self.parts[1].mean(axis=0) + 0.6 * worded)
        self.colours = [f"colour {at}" for at in range(8)]
        self.rows: list[F32] = []
        self.attributes: list[dict[str, int]] = []
        for _ in range(600):
            self.add(*(int(random.integers(kind)) for kind in kinds), -1)
        self.focus = [self.scene(number, changed=False) for number in range(60)]
        self.change = [self.scene(1000 + number, changed=True) for number in range(60)]
        opened = LocalBackend(folder, sync=False, head_points=10_000)
        self.backend = collection(self.rows, self.attributes, backend=opened)

    def add(self, object_: int, colour: int, shape: int, gallery: int) -> int:
        random, (objects, colours, shapes) = self.random, self.parts
        thing = 1.2 * objects[object_] + 0.8 * colours[colour] + 0.8 * shapes[shape]
        self.rows.append(unit(thing + 0.6 * self.common + 0.0875 * random.standard_normal(64)))
        attributes = {"object": object_, "colour": colour, "shape": shape, "gallery": gallery}
        self.attributes.append(attributes)
        return len(self.rows) - 1

    def other(self, one: int, of: int) -> int:
        return int((one + 1 + self.random.integers(of - 1)) % of)

    def scene(self, gallery: int, *, changed: bool) -> tuple[int, int, int, int, int]:
        """Reference, the right one, gallery, the colour of the reference, another colour."""
        o, c, s = (int(self.random.integers(kind)) for kind in (12, 8, 8))
        new = self.other(c, 8)
        reference = self.add(o, c, s, -2)
        if changed:
            right = self.add(o, new, s, gallery)
            for _ in range(4):
                self.add(o, c, s, gallery)
                self.add(self.other(o, 12), new, self.other(s, 8), gallery)
        else:
            right = self.add(self.other(o, 12), c, self.other(s, 8), gallery)
            for _ in range(5):
                self.add(o, self.other(c, 8), s, gallery)
                self.add(self.other(o, 12), self.other(c, 8), s, gallery)
        return reference, right, gallery, c, new

    def right(self, scenes: list[Any], query: Callable[[Any], Query]) -> float:
        """R@1 in the galleries."""
        hits = []
        for scene in scenes:
            found = ask(self.backend, query(scene), self.texts, filter={"gallery": scene[2]}, k=1)
            hits.append(found.ids == [scene[1]])
        return float(np.mean(hits))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Scenes(tmp_path_factory.mktemp("scenes"))
    yield made
    made.backend.close()


def test_focus_compares_one_aspect_where_thing_text_and_both_lose(scenes: Scenes) -> None:
    def right(**condition: Any) -> float:
        return scenes.right(
            scenes.focus, lambda scene: {"condition": {"of": scene[0], **condition}}
        )

    thing = scenes.right(scenes.focus, lambda scene: {"id": scene[0]})
    text = scenes.right(scenes.focus, lambda scene: {"text": "colour"})
    both = scenes.right(scenes.focus, lambda scene: {"compose": {"id": scene[0], "text": "colour"}})
    assert max(thing, text, both) < 0.3
    assert right(texts=scenes.colours) > 0.8
    assert right(labels="colour") > 0.95
    assert right(labels="shape") < 0.3  # another aspect is another question


def test_like_and_unlike_examples_say_what_is_meant(scenes: Scenes) -> None:
    random = np.random.default_rng(5)
    plain = scenes.attributes[:600]
    of_colour = [
        [at for at, one in enumerate(plain) if (one["colour"] == colour)] for colour in range(8)
    ]

    def shown(scene: Any) -> tuple[list[int], list[int]]:
        like = random.choice(of_colour[scene[3]], 10, replace=False).tolist()
        others = [at for colour in range(8) if colour != scene[3] for at in of_colour[colour]]
        return like, random.choice(others, 10, replace=False).tolist()

    sides = {scene[0]: shown(scene) for scene in scenes.focus}

    def right(query: Callable[[int, list[int], list[int]], Query]) -> float:
        return scenes.right(scenes.focus, lambda scene: query(scene[0], *sides[scene[0]]))

    lowrank = right(
        lambda of, like, unlike: {"condition": {"of": of, "like": like, "unlike": unlike}}
    )
    assert lowrank > 0.85
    assert right(lambda of, like, unlike: {"set": [of, *like], "background": "none"}) < lowrank
    assert lowrank > right(
        lambda of, like, unlike: {"recommend": {"positive": [of, *like], "negative": unlike}}
    )
    gated = right(
        lambda of, like, unlike: {
            "condition": {"of": of, "like": like, "unlike": unlike, "method": "gate"}
        }
    )
    assert gated < 0.3  # nothing here lies along an axis


def test_change_keeps_the_thing_and_brings_the_new(scenes: Scenes) -> None:
    def right(query: Callable[[Any], Query]) -> float:
        return scenes.right(scenes.change, query)

    thing = right(lambda scene: {"id": scene[0]})
    text = right(lambda scene: {"text": f"colour {scene[4]}"})
    assert max(thing, text) < 0.4

    def changed(scene: Any, **condition: Any) -> Query:
        to = f"colour {scene[4]}"
        return {"condition": {"of": scene[0], "mode": "change", "to": to, **condition}}

    assert right(lambda scene: changed(scene, **{"from": f"colour {scene[3]}"})) > 0.9
    assert right(lambda scene: changed(scene, texts=scenes.colours)) > 0.9
    assert right(lambda scene: changed(scene, labels="colour")) > 0.9


def test_uncertainty_forgives_what_differs_within_pairs(scenes: Scenes) -> None:
    """Pairs of one object teach that colour and shape do not matter."""
    plain = scenes.attributes[:600]
    others: dict[int, list[int]] = {}
    for at in range(600, len(scenes.attributes)):
        others.setdefault(scenes.attributes[at]["object"], []).append(at)
    by_object = [[at for at, one in enumerate(plain) if one["object"] == o] for o in range(12)]
    pairs = [[found[at], found[at + 1]] for found in others.values() for at in (0, 2, 4, 6)]

    def precision(strength: float | None) -> float:
        worth = []
        for found in by_object[::2]:
            of = found[-1]
            query: Query = {"id": of}
            if strength is not None:
                query = {"uncertain": {"of": of, "pairs": pairs, "strength": strength}}
            ids = ask(scenes.backend, query, filter={"gallery": -1}, k=40).ids
            right = [plain[int(id_)]["object"] == plain[of]["object"] for id_ in ids]
            worth.append(np.mean(right))
        return float(np.mean(worth))

    assert precision(0.0) == pytest.approx(precision(None))
    assert precision(None) < 0.9
    assert precision(10.0) > 0.95


# ── a backend that remembers ─────────────────────────────────────────────────────────────────────


def test_means_are_remembered_until_something_is_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    opened = LocalBackend(tmp_path, sync=False, head_points=1000)
    backend: Backend = collection(random.standard_normal((50, 8)), backend=opened)
    query = {"set": [1, 2]}
    told = [ask(backend, query).composed[0]["background"] for _ in range(2)]
    assert [one["remembered"] for one in told] == [False, True]
    backend.upsert("c", [Point(50, {"v": unit(np.ones(8))}, {})])
    fresh = ask(backend, query).composed[0]["background"]
    assert (fresh["remembered"], fresh["points"]) == (False, 51)
    backend.close()


def test_means_of_large_collections_are_of_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    rows = unit(random.standard_normal((400, 8)) + 1)
    backend = collection(rows, [{"kind": at % 2} for at in range(400)])
    query = {"label": {"field": "kind", "value": 1}}
    exact = ask(backend, query, k=20)
    monkeypatch.setattr(limits, "MOST_AVERAGED", 100)
    monkeypatch.setattr(composing, "DRAWN", 150)
    drawn = ask(backend, query, k=20)
    assert (exact.composed[0]["points"], drawn.composed[0]["points"]) == (200, 150)
    assert drawn.scores == pytest.approx(exact.scores, abs=0.02)


def test_one_and_true_are_two_labels(tmp_path: Path) -> None:
    opened = LocalBackend(tmp_path, sync=False, head_points=1000)
    rows = [[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.1], [0, 0, 1]]
    kinds = [{"kind": kind} for kind in (1, 1, True, True, "a")]
    backend = collection(rows, kinds, backend=opened)

    def explained(at: int, value: Any) -> float:
        concepts = {"field": "kind", "values": [value, "a"]}
        query = {"union": [{"id": 4}, {"id": at}], "concepts": concepts, "center": False}
        told = ask(backend, query).composed[0]["terms"][1]["explained"]
        return float(told)

    assert explained(0, 1) > 0.9 > 0.1 > explained(0, True)
    assert explained(2, True) > 0.9 > 0.1 > explained(2, 1)
    backend.close()
