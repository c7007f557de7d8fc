"""From JSON to a classifier and the things that it judges.

    {"inputs": [{"text": …}, {"id": …}, …],
     "label": "topic", "method": "knn", "k": 10, …}            one head, or
     "heads": [{"name": …, "using": …, "method": …, "weight": …, …}, …]
     "filter", "compose", "multi_label", "thresholds", "reject", "top", "explain"

Members that say how a head judges stand beside `method`, or in each of `heads`; `label`, `filter`
and `using` beside `heads` hold for all of them that do not say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import LimitExceeded
from app.query.expression import Reading
from app.query.labels import Label, key_of, read_label
from app.query.limits import (
    MOST_INPUTS,
    MOST_LABEL_PAIRS,
    MOST_LABELS,
)
from app.query.memory.classify import Classifier, Compose
from app.query.memory.head import Head
from app.query.memory.inputs import Thing
from app.query.memory.read_heads import HeadReader
from app.query.reading import Members, items, number, refused
from app.ranking.memory.decisions import Bar


class ClassifierReader:
    """Reads one classifier. Raises InvalidQuery, InvalidFilter, LimitExceeded, with their place."""

    def __init__(self, raw: Mapping[str, object], at: str, *, max_k: int, max_nodes: int) -> None:
        """Begin to read.

        raw   members of a request, or of a stored classifier
        """
        self._members = Members(raw, at, "classify")
        self._max_k = max_k
        self._max_nodes = max_nodes

    def classifier(self) -> Classifier:
        """Read it. Members that are not its own have been taken before."""
        members = self._members
        heads = HeadReader(members, max_k=self._max_k, max_nodes=self._max_nodes).heads()
        several = members.flag("multi_label")
        for head in heads:
            if several and not head.by_vote:
                raise refused("only neighbours give several labels: method knn", head.at)
        compose = self._compose()
        if several and compose is not None:
            raise refused("expected either multi_label or compose", members.at)
        threshold, thresholds = self._thresholds()
        found = Classifier(
            tuple(heads),
            self._by_class(heads),
            members.choice("fuse", ("pool", "softmax"), "pool"),
            compose,
            several,
            threshold,
            thresholds,
            self._bar(),
            members.integer("top", 5, low=1, high=MOST_LABELS),
            members.flag("explain"),
        )
        members.end()
        return found

    def things(self, where: str | None = None) -> list[Thing]:
        """Read `inputs`, which stand at `where` if they were put together."""
        members = self._members
        reading = Reading()
        found = []
        for place, raw in enumerate(members.items("inputs", most=MOST_INPUTS)):
            at = f"{where or members.place('inputs')}/{place}"
            group = None
            if isinstance(raw, Mapping) and raw.get("nuisance") is not None:
                group = read_label(raw["nuisance"], f"{at}/nuisance")
                raw = {name: value for name, value in raw.items() if name != "nuisance"}
            found.append(Thing(at, reading.expression(raw, at), group))
        return found

    # ── what is made of it ───────────────────────────────────────────────────────────────────

    def _by_class(self, heads: list[Head]) -> dict[str, dict[tuple[int, Any], float]]:
        raw = self._members.raw("class_weights")
        if raw is None:
            return {}
        at = self._members.place("class_weights")
        members = Members(raw, at, "class_weights")
        found = {}
        for head in heads:
            if head.name not in members:
                continue
            place = members.place(head.name)
            found[head.name] = _by_label(members.raw(head.name), place, low=0.0)
        members.end()
        return found

    def _compose(self) -> Compose | None:
        raw = self._members.raw("compose")
        if raw is None:
            return None
        at = self._members.place("compose")
        members = Members({} if raw == "pairs" else raw, at, "compose")
        by = members.choice("by", ("probabilities", "features"), "probabilities")
        temperature = members.number("temperature", 0.05, low=0, open_low=True)
        given = members.raw("pairs")
        place = members.place("pairs")
        pairs: tuple[tuple[Label | None, Label, Label], ...] | None = None
        if isinstance(given, Mapping):
            named = [(read_label(name, place), two) for name, two in given.items()]
            pairs = tuple((name, *_two(two, place)) for name, two in named)
        elif given is not None:
            listed = items(given, place, most=MOST_LABEL_PAIRS)
            pairs = tuple((None, *_two(two, f"{place}/{at}")) for at, two in enumerate(listed))
        if pairs is not None and len(pairs) > MOST_LABEL_PAIRS:
            raise LimitExceeded(
                f"at most {MOST_LABEL_PAIRS} pairs", pointer=place, limit=MOST_LABEL_PAIRS
            )
        members.end()
        return Compose(at, pairs, by, temperature)

    def _thresholds(self) -> tuple[float, dict[tuple[int, Any], float]]:
        raw = self._members.raw("thresholds")
        at = self._members.place("thresholds")
        if raw is None:
            return 0.5, {}
        if isinstance(raw, Mapping):
            return 0.5, _by_label(raw, at, low=0.0)
        return number(raw, at, low=0), {}

    def _bar(self) -> Bar:
        raw = self._members.raw("reject")
        if raw is None:
            return Bar()
        members = Members(raw, self._members.place("reject"), "reject")
        bar = Bar(
            members.number("min_score", None),
            members.number("min_probability", None, low=0, high=1),
            members.number("min_margin", None, low=0, high=1),
        )
        members.end()
        return bar


def _by_label(raw: object, at: str, *, low: float) -> dict[tuple[int, Any], float]:
    """Read numbers by label, whose names are strings in JSON: "3" stands for 3 too."""
    if not isinstance(raw, Mapping):
        raise refused("expected an object of numbers by label", at)
    if len(raw) > MOST_LABELS:
        raise LimitExceeded(f"at most {MOST_LABELS} labels", pointer=at, limit=MOST_LABELS)
    found: dict[tuple[int, Any], float] = {}
    for name, value in raw.items():
        worth = number(value, Members(raw, at, "labels").place(name), low=low)
        found[key_of(name)] = worth
        for other in _meant_by(name):
            found[key_of(other)] = worth
    return found


def _meant_by(name: str) -> list[Label]:
    """List the labels that are no strings and that JSON would write like this."""
    if name in ("true", "false"):
        return [name == "true"]
    try:
        return [float(name)]
    except ValueError:
        return []


def _two(raw: object, at: str) -> tuple[Label, Label]:
    a, b = items(raw, at, least=2, most=2)
    return read_label(a, at), read_label(b, at)
