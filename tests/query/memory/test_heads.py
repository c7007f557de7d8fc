"""Several heads: fused, weighed by class, and composed to labels of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.backends.base import Backend, View
from app.query.expression import Leaf
from app.query.memory.classify import Classifier
from app.query.memory.fitting import Fit, Fitted, Fitting
from app.query.memory.inputs import Thing
from app.types import F64, Definition, Point, VectorField

from .harness import Json, accuracy, read, unit

MODES = ("face", "sound")
BASIC = ["anger", "fear", "joy", "sadness", "surprise", "disgust"]


class Seen:
    """Things seen in two modes, each of which tells some classes apart and confuses the rest."""

    def __init__(self, seed: int, blur: float = 0.4) -> None:
        self.r = np.random.default_rng(seed)
        self.blur = blur
        self.means = {}
        for number, mode in enumerate(MODES):
            means = unit(self.r.standard_normal((6, 24)))
            confused = slice(0, 3) if number else slice(3, 6)
            means[confused] = means[confused].mean(0) + 0.25 * (
                means[confused] - means[confused].mean(0)
            )
            self.means[mode] = unit(means)

    def drawn(self, which: Sequence[Sequence[int]]) -> dict[str, F64]:
        """Things that are one class each, or two in equal parts."""
        return {
            mode: np.stack(
                [
                    unit(self.means[mode][list(one)].sum(0))
                    + self.blur * self.r.standard_normal(24)
                    for one in which
                ]
            )
            for mode in MODES
        }


def store(backend: Backend, rows: Mapping[str, F64], which: Sequence[int]) -> None:
    backend.create("c", Definition({mode: VectorField(mode, 24) for mode in MODES}))
    backend.upsert(
        "c",
        [
            Point(
                number,
                {mode: rows[mode][number].astype(np.float32) for mode in MODES},
                {"y": BASIC[one]},
            )
            for number, one in enumerate(which)
        ],
    )


def judged(backend: Backend, asked: Json, rows: Mapping[str, F64]) -> list[Json]:
    """Answer a request about things, whose vector in each mode is another one."""
    return answers(backend, read({"label": "y", **asked})[0], rows)


def answers(backend: Backend, classifier: Classifier, rows: Mapping[str, F64]) -> list[Json]:
    count = len(rows["face"])
    things = [Thing(f"/{n}", Leaf(f"/{n}", "vector", None)) for n in range(count)]
    leaves: dict[tuple[str, str], Any] = {
        (f"/{n}", mode): rows[mode][n].astype(np.float32) for n in range(count) for mode in MODES
    }

    def run(view: View) -> list[Json]:
        fields = _fields(view, classifier)
        return classifier.answers(classifier.judge(view, things, fields, leaves))

    return backend.view("c", run)


def _fields(view: View, classifier: Classifier) -> dict[str, VectorField]:
    return {head.at: view.definition.vectors[str(head.using)] for head in classifier.heads}


HEADS = [{"name": mode, "using": mode, "method": "prototypes"} for mode in MODES]


@pytest.fixture
def seen(engine: Backend) -> Seen:
    planted = Seen(1)
    which = planted.r.integers(6, size=600)
    store(engine, planted.drawn([[one] for one in which]), which.tolist())
    return planted


def test_heads_together_beat_the_best_and_weights_by_class_beat_equal_ones(
    engine: Backend, seen: Seen
) -> None:
    asked = seen.r.integers(6, size=250)
    rows, truth = seen.drawn([[one] for one in asked]), [BASIC[one] for one in asked]
    alone = [
        accuracy([one["label"] for one in judged(engine, {"heads": [head]}, rows)], truth)
        for head in HEADS
    ]
    equal = judged(engine, {"heads": HEADS}, rows)
    classifier, _ = read({"label": "y", "heads": HEADS})
    fit = Fit("/fit", "y", None, 240, 0, frozenset(["temperature", "weights"]), False)

    def run(view: View) -> tuple[Fitted, Json]:
        return Fitting(view, classifier, fit, _fields(view, classifier), {}).run()

    fitted, report = engine.view("c", run)
    weighed = answers(engine, fitted.into(classifier), rows)
    together = accuracy([one["label"] for one in equal], truth)
    by_class = accuracy([one["label"] for one in weighed], truth)
    assert together > max(alone) + 0.1
    assert by_class >= together - 0.02
    assert report["as_fitted"]["accuracy"] >= report["as_given"]["accuracy"]
    for one in equal + weighed:
        for told in one["scores"]:
            assert sum(told["heads"].values()) == pytest.approx(told["probability"], abs=1e-9)


def test_weights_by_class_may_be_given(engine: Backend, seen: Seen) -> None:
    """A head that is told to keep still about what it confuses: better than its say in everything,
    where it says that loudly."""
    asked = seen.r.integers(6, size=250)
    rows, truth = seen.drawn([[one] for one in asked]), [BASIC[one] for one in asked]
    loud = [{**head, "temperature": 0.02} for head in HEADS]
    weights = {
        "face": {label: (1.0 if n < 3 else 0.1) for n, label in enumerate(BASIC)},
        "sound": {label: (0.1 if n < 3 else 1.0) for n, label in enumerate(BASIC)},
    }
    equal = judged(engine, {"heads": loud}, rows)
    given = judged(engine, {"heads": loud, "class_weights": weights}, rows)
    right = [accuracy([one["label"] for one in some], truth) for some in (equal, given)]
    assert right[1] > right[0]


def test_labels_of_two_are_told_by_what_only_basic_labels_taught(
    engine: Backend, seen: Seen
) -> None:
    """The memory holds basic labels alone; things are two of them at once. The best single label
    can never be right; sums in pairs are, each head saying what it adds."""
    pairs = [(0, 4), (1, 5), (2, 4), (3, 5), (0, 3), (1, 2)]
    asked = seen.r.integers(len(pairs), size=200)
    rows = seen.drawn([pairs[one] for one in asked])
    names = {f"{BASIC[a]} and {BASIC[b]}": [BASIC[a], BASIC[b]] for a, b in pairs}
    truth = [list(names)[one] for one in asked]
    heads = [{**head, "temperature": 0.2} for head in HEADS]
    right = {}
    for by in ("probabilities", "features"):
        found = judged(engine, {"heads": heads, "compose": {"pairs": names, "by": by}}, rows)
        right[by] = accuracy([one["label"] for one in found], truth)
        for one in found:
            assert sum(told["probability"] for told in one["scores"]) <= 1 + 1e-9
            for told in one["scores"]:
                assert sum(told["heads"].values()) == pytest.approx(told["probability"])
    one_head = judged(engine, {"heads": heads[:1], "compose": {"pairs": names}}, rows)
    assert right["probabilities"] > 0.5
    assert right["features"] > 0.5
    assert right["probabilities"] > accuracy([one["label"] for one in one_head], truth) + 0.05
    every = judged(engine, {"heads": heads, "compose": "pairs", "top": 15}, rows)
    assert all(len(one["scores"]) == 15 for one in every)
    assert all(len(one["label"]) == 2 for one in every)


def test_a_head_may_know_labels_that_others_do_not(tmp_path: Path, engine: Backend) -> None:
    rows = {mode: np.eye(24)[:4] for mode in MODES}
    store(engine, rows, [0, 1, 2, 3])
    heads = [
        {"name": "a", "using": "face", "method": "knn", "k": 1, "filter": {"y": "anger"}},
        {"name": "b", "using": "sound", "method": "knn", "k": 1},
    ]
    (answer,) = judged(engine, {"heads": heads}, {mode: np.eye(24)[1:2] for mode in MODES})
    told = {one["label"]: one["heads"] for one in answer["scores"]}
    assert told == {"anger": {"a": 0.5, "b": 0.0}, "fear": {"a": 0.0, "b": 0.5}}
