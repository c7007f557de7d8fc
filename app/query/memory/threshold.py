"""A threshold as it is kept: chosen on labelled pairs, for one field as its encoder made it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import orjson

from app.errors import KeptOutdated
from app.ranking.memory.verification import (
    Confidence,
    Rate,
    clopper_pearson,
    confidence,
    equal_error,
    interval_over_labels,
    rate,
    rejecting_threshold,
    threshold_for,
)
from app.types import F64, I64

Json = dict[str, Any]

_MARKS = 257
"""Quantiles of scores that are kept of each side."""


@dataclass(frozen=True, slots=True)
class Space:
    """What vectors of a field compare as: a threshold means nothing in another one.

    space   of the encoder, `id@version`; None where callers bring the vectors
    """

    using: str
    dimension: int
    metric: str
    encoder: str | None
    space: str | None


class Side(NamedTuple):
    """Scores of labelled pairs, and whose they are where that is known.

    genuine, impostors   float64[…]
    of_genuine           int64[genuine], the label of each pair
    of_impostors         int64[impostors, 2], its two labels
    """

    genuine: F64
    impostors: F64
    of_genuine: I64 | None = None
    of_impostors: I64 | None = None

    def intervals(self, threshold: float) -> tuple[Interval, Interval] | None:
        """Give intervals of FAR and TAR over the labels; None where these are not known."""
        if self.of_genuine is None or self.of_impostors is None:
            return None
        labels = int(max(self.of_genuine.max(), self.of_impostors.max())) + 1
        accepted, compared = np.zeros((2, labels, labels))
        places = tuple(self.of_impostors.T)
        np.add.at(compared, places, 1.0)
        np.add.at(accepted, places, (self.impostors >= threshold).astype(np.float64))
        own = np.bincount(self.of_genuine, minlength=labels).astype(np.float64)
        good = (self.genuine >= threshold).astype(np.float64)
        passed: F64 = np.bincount(self.of_genuine, good, minlength=labels).astype(np.float64)
        return interval_over_labels(accepted, compared), interval_over_labels(passed, own)


Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Scores at or above `accept` are the same, below `reject` different, between unsure.

    measured    "held_out" or "calibration": which pairs `far` and `tar` were counted on
    over_labels   intervals of the two where labels, not pairs, are drawn; None for given pairs
    impostors, genuine   quantiles of their scores, ascending, evenly spaced from 0 to 1
    """

    space: Space
    accept: float
    reject: float
    target_far: float
    target_frr: float | None
    measured: str
    far: Rate
    tar: Rate
    over_labels: tuple[Interval, Interval] | None
    chosen_far: Rate
    chosen_tar: Rate
    equal_error: float
    confidence: Confidence
    impostors: tuple[float, ...]
    genuine: tuple[float, ...]

    def decision(self, score: float) -> str:
        """Decide."""
        if score >= self.accept:
            return "same"
        return "different" if score < self.reject else "unsure"

    def far_at(self, score: float) -> float:
        """Tell the share of impostors that score as high, between quantiles."""
        return 1.0 - _share_below(self.impostors, score)

    def frr_at(self, score: float) -> float:
        """Tell the share of genuine pairs that score lower, between quantiles."""
        return _share_below(self.genuine, score)

    def shown(self) -> Json:
        """Give what answers show."""
        far, tar = (None, None) if self.over_labels is None else map(list, self.over_labels)
        return {
            "using": self.space.using,
            "encoder": self.space.encoder,
            "space": self.space.space,
            "accept": self.accept,
            "reject": self.reject,
            "target_far": self.target_far,
            "target_frr": self.target_frr,
            "measured": self.measured,
            "far": {**self.far._asdict(), "over_labels": far},
            "tar": {**self.tar._asdict(), "over_labels": tar},
            "chosen": {
                "far": {**self.chosen_far._asdict(), "over_labels": None},
                "tar": {**self.chosen_tar._asdict(), "over_labels": None},
            },
            "equal_error": self.equal_error,
        }

    def written(self) -> bytes:
        """Write it as it is kept."""
        told = asdict(self)
        for name in ("far", "tar", "chosen_far", "chosen_tar", "confidence"):
            told[name] = getattr(self, name)._asdict()
        return orjson.dumps(told)


def chosen(
    space: Space,
    sides: Sequence[Side],
    target_far: float,
    target_frr: float | None,
) -> Threshold:
    """Choose a threshold on the first side, and measure it on the last."""
    genuine, impostors = sides[0].genuine, sides[0].impostors
    accept = threshold_for(impostors, target_far)
    reject = accept
    if target_frr is not None:
        reject = min(rejecting_threshold(genuine, target_frr), accept)
    last = sides[-1]
    return Threshold(
        space,
        accept,
        reject,
        target_far,
        target_frr,
        "held_out" if len(sides) > 1 else "calibration",
        rate(last.impostors, accept),
        rate(last.genuine, accept),
        last.intervals(accept),
        rate(impostors, accept),
        rate(genuine, accept),
        equal_error(genuine, impostors)[0],
        confidence(genuine, impostors),
        _marks(impostors),
        _marks(genuine),
    )


def _marks(scores: F64) -> tuple[float, ...]:
    marks: list[float] = np.quantile(scores, np.linspace(0, 1, _MARKS)).tolist()
    return tuple(marks)


def _share_below(marks: Sequence[float], score: float) -> float:
    if score <= marks[0]:
        return 0.0
    if score > marks[-1]:
        return 1.0
    return float(np.interp(score, marks, np.linspace(0, 1, len(marks))))


# ── reading what was kept ────────────────────────────────────────────────────────────────────


def threshold_from(body: bytes) -> Threshold:
    """Read what `written` wrote. It may be anybody's: raises KeptOutdated if it is not that."""
    try:
        raw = orjson.loads(body)
        found = Threshold(
            space_from(raw["space"]),
            _number(raw["accept"]),
            _number(raw["reject"]),
            _number(raw["target_far"]),
            None if raw["target_frr"] is None else _number(raw["target_frr"]),
            _text(raw["measured"]),
            _rate(raw["far"]),
            _rate(raw["tar"]),
            None if raw["over_labels"] is None else _intervals(raw["over_labels"]),
            _rate(raw["chosen_far"]),
            _rate(raw["chosen_tar"]),
            _number(raw["equal_error"]),
            Confidence(_number(raw["confidence"]["slope"]), _number(raw["confidence"]["middle"])),
            _rising(raw["impostors"]),
            _rising(raw["genuine"]),
        )
    except (KeyError, TypeError, ValueError):
        raise KeptOutdated("the threshold cannot be read: choose it anew") from None
    return found


def space_from(raw: Mapping[str, Any]) -> Space:
    """Read a space. Raises KeyError, TypeError or ValueError."""
    return Space(
        _text(raw["using"]),
        int(raw["dimension"]),
        _text(raw["metric"]),
        None if raw["encoder"] is None else _text(raw["encoder"]),
        None if raw["space"] is None else _text(raw["space"]),
    )


def _number(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise ValueError
    return float(raw)


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError
    return raw


def _rate(raw: Mapping[str, Any]) -> Rate:
    hits, of = raw["hits"], raw["of"]
    if type(hits) is not int or type(of) is not int or not 0 <= hits <= of < 2**53:
        raise ValueError
    return Rate(hits / of if of else 0.0, *clopper_pearson(hits, of), hits, of)


def _intervals(raw: Any) -> tuple[Interval, Interval]:
    (a, b), (c, d) = raw
    return (_number(a), _number(b)), (_number(c), _number(d))


def _rising(raw: object) -> tuple[float, ...]:
    if not isinstance(raw, list) or len(raw) != _MARKS:
        raise ValueError
    found = tuple(_number(one) for one in raw)
    if any(a > b for a, b in pairwise(found)):
        raise ValueError
    return found
