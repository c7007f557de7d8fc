"""What is kept comes back as it was; what somebody else wrote is refused, and never a fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import KeptOutdated
from app.query.memory.class_means import Kept
from app.query.memory.fitting import Fitted
from app.query.memory.kept import KeptClassifier, classifier_from
from app.query.memory.threshold import Side, Space, chosen, threshold_from

from .harness import accuracy, filled, fitted, labels, unit

SPACE = Space("v", 3, "cosine", "tiny", "tiny@1")
R = np.random.default_rng(0)
THRESHOLD = chosen(
    SPACE,
    [
        Side(R.normal(0.7, 0.1, 300), R.normal(0.1, 0.2, 900)),
        Side(
            R.normal(0.7, 0.1, 60), R.normal(0.1, 0.2, 90),
            np.arange(60) % 10, np.stack([np.arange(90) % 9, np.arange(90) % 9 + 1], axis=1),
        ),
    ],
    0.01, 0.02,
)  # fmt: skip
CLASSIFIER = KeptClassifier(
    {"label": "y", "method": "prototypes"},
    {"prototypes": SPACE},
    Fitted(
        {"prototypes": 0.1},
        {"cache": 0.0},
        {"prototypes": [("a", 1.0), (2, 0.5), (True, 0.0)]},
        [("a", 0.3), (2.5, 2.0)],
        0.25,
        {"prototypes": Kept([True, 2, "a"], R.standard_normal((3, 3)), np.array([1, 2, 3]))},
    ),
    {"as_given": {"score": 0.5}},
)


def test_a_threshold_comes_back_as_it_was() -> None:
    assert threshold_from(THRESHOLD.written()) == THRESHOLD


def test_a_classifier_comes_back_as_it_was() -> None:
    found = classifier_from(CLASSIFIER.written())
    assert found.shown() == CLASSIFIER.shown()
    mine, theirs = CLASSIFIER.fitted.means["prototypes"], found.fitted.means["prototypes"]
    assert theirs.means.tolist() == mine.means.tolist()
    assert found.fitted.weights == CLASSIFIER.fitted.weights


def test_a_threshold_decides_by_its_two_bounds_and_tells_rates_between() -> None:
    assert THRESHOLD.reject < THRESHOLD.accept
    middle = (THRESHOLD.reject + THRESHOLD.accept) / 2
    told = [THRESHOLD.decision(s) for s in (THRESHOLD.accept, middle, THRESHOLD.reject - 1e-9)]
    assert told == ["same", "unsure", "different"]
    assert THRESHOLD.far_at(THRESHOLD.accept) == pytest.approx(0.01, abs=0.005)
    assert THRESHOLD.far_at(-1) == 1
    assert THRESHOLD.far_at(1) == 0
    scores = np.linspace(-0.5, 1, 50)
    falling = [THRESHOLD.far_at(score) for score in scores]
    assert falling == sorted(falling, reverse=True)
    assert THRESHOLD.frr_at(0.7) == pytest.approx(0.5, abs=0.07)
    sure = THRESHOLD.confidence.of(scores)
    assert (np.diff(sure) >= 0).all()


JSON: Any = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False),
        st.text(max_size=3),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)  # fmt: skip


def spoilt(draw: st.DrawFn, value: Any) -> Any:
    """Put anything somewhere into a JSON value."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: spoilt(draw, value[name])}
    if isinstance(value, list) and value and draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], spoilt(draw, value[at]), *value[at + 1 :]]
    return draw(JSON)


BODIES = {
    "threshold": (THRESHOLD.written(), threshold_from),
    "classifier": (CLASSIFIER.written(), classifier_from),
}


@given(st.data(), st.sampled_from([*BODIES]))
def test_what_anybody_wrote_is_read_or_refused(data: st.DataObject, kind: str) -> None:
    body, read = BODIES[kind]
    spoilt_body = orjson.dumps(data.draw(st.composite(spoilt)(orjson.loads(body))))
    try:
        found: Any = read(spoilt_body)
    except KeptOutdated:
        return
    read(found.written())
    found.shown()


@given(st.binary(max_size=40), st.sampled_from([*BODIES]))
def test_rubbish_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(KeptOutdated):
        BODIES[kind][1](body)


def test_labels_that_nobody_votes_for_are_no_obstacle() -> None:
    """Each point has a label of its own, which nobody else holds and so nobody votes for."""
    r = np.random.default_rng(4)
    vectors = np.repeat(np.eye(4)[:2], 40, axis=0) + 0.1 * r.standard_normal((80, 4))
    some = [["some"] if n % 5 < 2 and n < 40 else [] for n in range(80)]  # fewer than one half
    backend = filled(vectors, [{"y": [f"own{n}", *few]} for n, few in enumerate(some)])
    asked = {"label": "y", "k": 20, "multi_label": True}
    _, chosen_, _ = fitted(backend, asked, what=["thresholds"])
    assert len(chosen_.thresholds) == 81
    own = {value for label, value in chosen_.thresholds if str(label).startswith("own")}
    assert own == {chosen_.threshold}
    kept = KeptClassifier(asked, {"knn": SPACE}, chosen_, {})
    assert classifier_from(kept.written()).fitted == chosen_


def test_kept_means_learn_new_labels_and_follow_old_ones() -> None:
    """A class that has moved is known again after its newest examples; means of all points, old
    ones included, are still where it was."""
    r = np.random.default_rng(3)
    means = unit(r.standard_normal((4, 16)))
    which = np.repeat(np.arange(4), 40)
    backend = filled(
        means[which] + 0.1 * r.standard_normal((160, 16)), [{"y": int(n)} for n in which]
    )
    asked = {"label": "y", "method": "prototypes"}
    _, chosen_, _ = fitted(backend, asked, what=[], keep=True)
    kept = chosen_.means["prototypes"]
    moved = unit(r.standard_normal((1, 16)))  # where class 0 is from now on
    rows = unit(moved + 0.1 * r.standard_normal((40, 16)))
    followed, plain = kept.after([0] * 40, rows, 0.2), kept.after([0] * 40, rows, None)
    assert plain.counts[0] == followed.counts[0] == 80
    assert float(unit(followed.means[:1])[0] @ moved[0]) > 0.95
    assert float(unit(plain.means[:1])[0] @ moved[0]) < 0.9
    assert plain.means[0] == pytest.approx((kept.means[0] * 40 + rows.sum(0)) / 80)
    new = kept.after(["new"], moved, None)
    assert new.labels == [0, 1, 2, 3, "new"]
    assert new.means[-1] == pytest.approx(moved[0])
    found = labels(backend, means, method="prototypes")
    assert accuracy(found, [0, 1, 2, 3]) == 1
