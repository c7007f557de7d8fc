"""What each mechanism is for, on data where that is planted. The baseline is in the same test, and
loses; where a mechanism cannot help, its test says that too."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from app.backends.base import Backend
from app.types import F64, Metric

from .harness import Json, accuracy, classified, filled, fitted, labels, unit


def gaussians(r: np.random.Generator, means: F64, which: Any, spread: float) -> F64:
    return means[which] + spread * r.standard_normal((len(which), means.shape[1]))


# ── neighbours ───────────────────────────────────────────────────────────────────────────────


def test_weights_by_similarity_beat_a_plain_count(engine: Backend) -> None:
    """Few examples of some classes: a count is outvoted by whatever is near enough to be asked."""
    r = np.random.default_rng(0)
    means = unit(r.standard_normal((8, 24)))
    often = np.repeat(np.arange(8), [200, 200, 200, 200, 12, 12, 12, 12])
    memory = gaussians(r, means, often, 0.12)
    filled(memory, [{"y": int(one)} for one in often], backend=engine)
    asked = r.integers(8, size=240)
    queries = gaussians(r, means, asked, 0.12)
    found = {
        how: accuracy(labels(engine, queries, k=40, weights=how), asked)
        for how in ("uniform", "exponential")
    }
    assert found["uniform"] < 0.75
    assert found["exponential"] > 0.9


def multi_label(r: np.random.Generator, count: int, topics: F64) -> tuple[F64, list[list[str]]]:
    """Two levels of labels with a long tail; a thing is the sum of what it is, and noise."""
    shares = 1 / np.arange(1, len(topics) + 1)
    held, rows = [], []
    for _ in range(count):
        some = r.choice(len(topics), size=r.integers(1, 4), replace=False, p=shares / shares.sum())
        held.append(sorted({f"t{one}" for one in some} | {f"group{one % 3}" for one in some}))
        rows.append(topics[some].sum(0) + 0.4 * r.standard_normal(topics.shape[1]))
    return np.array(rows), held


def f1(given: list[set[str]], held: list[list[str]]) -> float:
    """Mean over labels (macro)."""
    every = {label for some in held for label in some}.union(*given)
    found = []
    for label in every:
        here = [(label in a, label in b) for a, b in zip(given, held, strict=True)]
        found.append(2 * here.count((True, True)) / sum(map(sum, here)))
    return float(np.mean(found))


def test_several_labels_by_shares_and_fitted_thresholds(engine: Backend) -> None:
    """Thresholds that are fitted for F1 on points, each judged without itself, beat one half on
    others; both beat the labels that are everywhere, and the nearest class mean. By the mean over
    labels: half of the votes is a fair bar for frequent labels, not for rare ones."""
    r = np.random.default_rng(1)
    topics = unit(r.standard_normal((12, 32)))
    memory, held = multi_label(r, 900, topics)
    filled(memory, [{"y": one} for one in held], backend=engine)
    queries, truth = multi_label(r, 200, topics)
    asked: Json = {"label": "y", "k": 12, "multi_label": True}
    inputs = [{"vector": row} for row in queries]

    def given(**more: Any) -> list[set[str]]:
        answers = classified(engine, {"inputs": inputs, **asked, **more})
        return [set(one["labels"]) for one in answers]

    _, chosen, report = fitted(engine, asked, what=["thresholds"])
    thresholds = {str(label): value for label, value in chosen.thresholds}
    often = {label for label, n in Counter(x for some in held for x in some).items() if n > 450}
    nearest = labels(engine, queries, method="prototypes")
    found = {
        "everywhere": f1([often] * len(truth), truth),
        "mean": f1([{one} for one in nearest], truth),
        "half": f1(given(), truth),
        "fitted": f1(given(thresholds=thresholds), truth),
    }
    assert max(found["everywhere"], found["mean"]) < found["half"]
    assert found["fitted"] > found["half"] + 0.05
    assert report["thresholds"]["kept"]
    assert report["as_fitted"]["macro_f1"] == pytest.approx(found["fitted"], abs=0.05)


def test_mutual_neighbours_make_surer_pseudo_labels(engine: Backend) -> None:
    """Points between classes are near to everything, and nothing is near to them: their neighbours
    do not want them, so they get no label instead of a wrong one."""
    r = np.random.default_rng(2)
    means = 3 * unit(r.standard_normal((6, 16)))
    which = r.integers(6, size=400)
    filled(gaussians(r, means, which, 0.5), [{"y": int(one)} for one in which], backend=engine)
    known = r.integers(6, size=60)
    inside, outside = gaussians(r, means, known, 0.5), 3 * unit(r.standard_normal((60, 16)))
    inputs = [{"vector": row} for row in np.concatenate([inside, outside])]
    rates = {}
    for mutual in (False, True):
        asked: Json = {"inputs": inputs, "label": "y", "k": 8, "reciprocal": mutual}
        answers = [one["label"] for one in classified(engine, asked)]
        right = sum(a == b for a, b in zip(answers[:60], known, strict=True))
        rates[mutual] = right, sum(one is not None for one in answers)
    precision = {mutual: right / given for mutual, (right, given) in rates.items()}
    assert precision[False] < 0.55
    assert precision[True] > 0.85
    assert rates[True][0] > 0.7 * 60


def test_who_is_nobody_is_told_by_what_compares_between_queries(engine: Backend) -> None:
    """Things of no known class: shares of votes are as sure as ever, similarities are not."""
    r = np.random.default_rng(3)
    means = unit(r.standard_normal((30, 32)))
    which = np.repeat(np.arange(20), 15)  # ten classes are never remembered
    filled(gaussians(r, means, which, 0.08), [{"y": int(one)} for one in which], backend=engine)
    asked = r.integers(30, size=200)
    inputs = [{"vector": row} for row in gaussians(r, means, asked, 0.08)]
    answers = classified(engine, {"inputs": inputs, "label": "y", "k": 8, "weights": "exponential"})

    def gap(confidence: list[float]) -> float:
        """Average precision of all answers in one order (GAP), nobody being no right answer."""
        order = np.argsort(-np.array(confidence), kind="stable")
        right = np.array([answers[n]["label"] == asked[n] for n in order], dtype=np.float64)
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        return float((precision * right).sum() / (asked < 20).sum())

    by_share = gap([one["probability"] for one in answers])
    by_score = gap([one["scores"][0]["score"] for one in answers])
    assert by_share < 0.9
    assert by_score > 0.98
    barred = classified(
        engine,
        {"inputs": inputs, "label": "y", "k": 8, "reject": {"min_score": 0.7}},
    )
    refused = np.array([one["abstained"] == "min_score" for one in barred])
    assert refused[asked >= 20].mean() > 0.95
    assert refused[asked < 20].mean() < 0.05


# ── class means ──────────────────────────────────────────────────────────────────────────────


def performed(
    r: np.random.Generator, actions: F64, people: range, each: int
) -> tuple[F64, list[int], list[str]]:
    """Actions of people: x = action + what is particular to the person + noise."""
    offsets = {one: 2.5 * r.standard_normal(actions.shape[1]) for one in people}
    rows, which, who = [], [], []
    for one in people:
        for action in r.choice(len(actions), size=each, replace=False):
            rows.append(actions[action] + offsets[one] + 0.3 * r.standard_normal(actions.shape[1]))
            which.append(int(action))
            who.append(f"p{one}")
    return np.array(rows), which, who


def test_means_without_what_the_performer_brings(engine: Backend) -> None:
    """One example of each action from several people, queries by others: the person is louder than
    the action, until each group's mean is taken out."""
    r = np.random.default_rng(4)
    actions = r.standard_normal((6, 24))
    memory, which, who = performed(r, actions, range(12), 3)
    queries, truth, by = performed(r, actions, range(100, 120), 6)
    attributes = [{"y": a, "who": b} for a, b in zip(which, who, strict=True)]
    # The others' points are stored too, and not remembered: nobody says what they are.
    attributes += [{"who": one} for one in by]
    filled(np.concatenate([memory, queries]), attributes, backend=engine)
    ids = [{"id": len(memory) + n} for n in range(len(queries))]
    asked: Json = {"inputs": ids, "label": "y", "method": "prototypes"}
    raw = [one["label"] for one in classified(engine, asked)]
    centred = [one["label"] for one in classified(engine, {**asked, "nuisance": "who"})]
    assert accuracy(raw, truth) < 0.6
    assert accuracy(centred, truth) > 0.9
    told: Json = {
        **asked,
        "nuisance": "who",
        "inputs": [{"vector": row, "nuisance": one} for row, one in zip(queries, by, strict=True)],
    }
    assert [one["label"] for one in classified(engine, told)] == centred


@pytest.mark.parametrize("alike", [True, False])
def test_borrowed_spread_helps_rare_classes_where_classes_spread_alike(
    engine: Backend, alike: bool
) -> None:
    """Two examples of a class do not tell how far it reaches; what the others reach does. Where
    rare classes are narrow in truth, there is nothing to gain, and the others lose."""
    r = np.random.default_rng(5)
    means = r.standard_normal((6, 16)) * 1.2
    spreads = np.where(np.arange(6) < 3, 1.0, 1.0 if alike else 0.2)

    def drawn(which: Any) -> F64:
        noise = r.standard_normal((len(which), 16))
        return np.asarray(means[which] + spreads[which][:, None] * noise)

    which = np.repeat(np.arange(6), [150, 150, 150, 2, 2, 2])
    filled(drawn(which), [{"y": int(one)} for one in which], Metric.L2, engine)
    asked = np.repeat(np.arange(6), 60)
    queries = drawn(asked)
    recall = {}
    for augment in (0, 40):
        found = labels(engine, queries, k=7, weights="exponential", beta=3, augment=augment)
        right = np.array([a == b for a, b in zip(found, asked, strict=True)])
        recall[augment] = right[asked < 3].mean(), right[asked >= 3].mean()
    (head, tail), (head_after, tail_after) = recall[0], recall[40]
    if alike:
        assert tail < 0.6
        assert tail_after > tail + 0.3
        assert head_after >= head - 0.01
    else:
        assert tail > 0.9
        assert tail_after <= tail + 0.05
        assert head_after <= head


# ── label texts ──────────────────────────────────────────────────────────────────────────────


def test_a_thing_said_ten_times_counts_once_where_attributes_are_grouped(engine: Backend) -> None:
    """A class is known by four attributes, one of which is said in ten ways."""
    r = np.random.default_rng(6)
    attributes = unit(r.standard_normal((14, 64)))
    classes = [r.choice(12, size=4, replace=False) for _ in range(10)]
    # Two attributes are everywhere, and are what is said again and again.
    texts: dict[str, F64] = {}
    named: dict[str, Json] = {}
    for number, own in enumerate(classes):
        words = []
        for one in own:
            texts[f"{number}/{one}"] = attributes[one]
            words.append(f"{number}/{one}")
        named[str(number)] = {"attributes": words}
    truth = r.integers(10, size=300)
    queries = np.stack([unit(attributes[classes[one]].sum(0)) for one in truth])
    queries = queries + 0.12 * r.standard_normal(queries.shape)
    filled(np.eye(64), [{}] * 64, backend=engine)
    loud = {str(n): {"attributes": list(one["attributes"])} for n, one in named.items()}
    for number, own in enumerate(classes):
        for again in range(10):  # the same thing in other words
            word = f"{number}/{own[0]}/{again}"
            texts[word] = unit(attributes[own[0]] + 0.02 * r.standard_normal(64))
            loud[str(number)]["attributes"].append(word)

    def right(some: Json, **more: Any) -> float:
        found = labels(engine, queries, texts, method="zero_shot", labels=some, **more)
        return accuracy(found, [str(one) for one in truth])

    plain = {label: one["attributes"] for label, one in named.items()}
    loud_plain = {label: one["attributes"] for label, one in loud.items()}
    assert abs(right(named) - right(loud)) <= 0.01
    assert right(plain) - right(loud_plain) > 0.1


def test_attributes_that_are_wrong_or_missing_cost_little_by_little(engine: Backend) -> None:
    r = np.random.default_rng(7)
    attributes = unit(r.standard_normal((20, 64)))
    classes = [r.choice(20, size=6, replace=False) for _ in range(10)]
    truth = r.integers(10, size=200)
    queries = np.stack([unit(attributes[classes[one]].sum(0)) for one in truth])
    queries = queries + 0.1 * r.standard_normal(queries.shape)
    texts = {f"{n}/{one}": attributes[one] for n, own in enumerate(classes) for one in range(20)}
    filled(np.eye(64), [{}] * 64, backend=engine)

    def right(kept: int, wrong: int) -> float:
        some = {}
        for number, own in enumerate(classes):
            others = [one for one in range(20) if one not in own][:wrong]
            words = [f"{number}/{one}" for one in [*own[:kept], *others]]
            some[str(number)] = {"attributes": words}
        found = labels(engine, queries, texts, method="zero_shot", labels=some)
        return accuracy(found, [str(one) for one in truth])

    curve = [right(6, 0), right(4, 0), right(2, 0), right(2, 2)]
    assert curve[0] > 0.9
    assert all(a >= b - 0.03 for a, b in pairwise(curve))
    assert curve[-1] < curve[0] - 0.1


class Gap:
    """Points of classes whose texts are off: a shift that all share, and one of each class."""

    def __init__(self, seed: int, own: float = 0.9, count: int = 600) -> None:
        r = np.random.default_rng(seed)
        self.classes = 12
        means = unit(r.standard_normal((self.classes, 48)))
        shift = r.standard_normal(48) * 0.1
        wrong = own * unit(r.standard_normal((self.classes, 48)))
        self.texts = {str(n): unit(means[n] + wrong[n] + shift) for n in range(self.classes)}
        self.truth = r.integers(self.classes, size=count)
        self.points = gaussians(r, means, self.truth, 0.09)
        self.asked = r.integers(self.classes, size=240)
        self.queries = gaussians(r, means, self.asked, 0.09)
        self.attributes = [{"y": str(one)} for one in self.truth]

    def right(self, backend: Backend, **members: Any) -> float:
        found = labels(
            backend, self.queries, self.texts, labels=[*map(str, range(self.classes))], **members
        )
        return accuracy(found, [str(one) for one in self.asked])


def test_a_labelled_cache_mends_texts_that_are_off(engine: Backend) -> None:
    planted = Gap(8, own=2.0)
    filled(planted.points, planted.attributes, backend=engine)
    alone = planted.right(engine, method="zero_shot")
    cached = planted.right(
        engine, method="cache", labelled=True, shots=16, alpha=20.0, beta=8.0, temperature=0.1
    )
    assert alone < 0.85
    assert cached > alone + 0.1


@pytest.mark.parametrize("labelled", [True, False])
def test_a_point_may_stand_for_several_labels(engine: Backend, labelled: bool) -> None:
    texts = {"a": np.eye(4)[0], "b": np.eye(4)[1]}
    middle = unit(np.array([[1.0, 1.0, 0.1, 0.0], [0.0, 0.0, 1.0, 1.0]]))
    filled(middle, [{"y": ["a", "b"]}, {"y": "b"}], backend=engine)
    asked: Json = {
        "inputs": [{"vector": middle[0]}], "method": "cache", "labels": ["a", "b"], "label": "y",
        "labelled": labelled, "alpha": 1.0, "explain": True,
    }  # fmt: skip
    (answer,) = classified(engine, asked, texts)
    told = sorted((voter["id"], voter["labels"]) for voter in answer["voters"]["cache"])
    every = [(0, ["a"]), (0, ["b"]), (1, ["b"])]
    assert told == (every if labelled else sorted([*every, (1, ["a"])]))
    weights = [v["weight"] for v in answer["voters"]["cache"] if v["id"] == 0]
    assert weights[0] == pytest.approx(weights[1])
    assert weights[0] > 0.5


def test_an_unlabelled_cache_is_worth_a_little_and_is_gated(engine: Backend) -> None:
    """Where texts are mostly right, points that they are sure of help; where they are mostly wrong
    the cache only repeats them, and a development set switches it off."""
    planted = Gap(9, own=1.2)
    filled(planted.points, planted.attributes, backend=engine)
    asked: Json = {
        "method": "cache", "labels": [*map(str, range(12))], "alpha": 3.0, "temperature": 0.1,
    }  # fmt: skip
    alone = planted.right(engine, method="zero_shot")
    cached = planted.right(engine, **{k: v for k, v in asked.items() if k != "labels"})
    assert cached > alone + 0.01
    _, chosen, report = fitted(engine, asked, planted.texts, what=["cache"])
    assert chosen.alphas == {"cache": 3.0}
    assert report["cache"]["cache"]["with"] >= report["cache"]["cache"]["without"]


def test_a_cache_that_does_harm_is_switched_off() -> None:
    """Labels that were mixed up: a labelled cache of them is worse than no cache."""
    planted = Gap(10, own=0.3)
    r = np.random.default_rng(0)
    mixed = [{"y": str(one), "said": str(r.integers(12))} for one in planted.truth]
    backend = filled(planted.points, mixed)
    asked: Json = {
        "method": "cache", "labels": [*map(str, range(12))], "labelled": True, "label": "said",
        "alpha": 30.0, "beta": 8.0, "temperature": 0.1,
    }  # fmt: skip
    classifier, chosen, report = fitted(backend, asked, planted.texts, what=["cache"], sample=120)
    assert report["cache"]["cache"]["with"] < report["cache"]["cache"]["without"]
    assert chosen.alphas == {"cache": 0.0}
    assert classifier.heads[0].alpha == 0.0  # type: ignore[attr-defined]
    assert report["as_fitted"]["accuracy"] > report["as_given"]["accuracy"]
