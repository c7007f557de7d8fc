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

from app.attributes.filter import And, Filter, parse_filter
from app.errors import LimitExceeded
from app.query.expression import Reading
from app.query.limits import (
    MOST_CACHED,
    MOST_HEADS,
    MOST_INPUTS,
    MOST_LABEL_PAIRS,
    MOST_LABEL_TEXTS,
    MOST_LABELS,
)
from app.query.memory.class_means import ClassMeans
from app.query.memory.classify import Classifier, Compose
from app.query.memory.head import Head
from app.query.memory.inputs import LabelText, Thing
from app.query.memory.label_texts import Cached, LabelTexts, Texts
from app.query.memory.labels import Label, key_of, read_field, read_label
from app.query.memory.voting import Voting
from app.query.reading import Members, items, number, refused
from app.ranking.memory.decisions import Bar
from app.ranking.memory.votes import WEIGHTS

METHODS = ("knn", "prototypes", "zero_shot", "cache")

HEAD_MEMBERS = (
    *("method", "using", "filter", "label", "k", "weights", "beta", "ef", "exact", "reciprocal"),
    *("augment", "temperature", "nuisance", "labels", "templates", "aggregate", "group_above"),
    *("alpha", "shots", "sample", "labelled"),
)
"""Members of one head; those of the request's own head stand beside the others."""

_SHARED = ("using", "filter", "label")
"""Members beside `heads` that hold for every head."""


class ClassifierReader:
    """Reads one classifier. Raises InvalidQuery, InvalidFilter, LimitExceeded, with their place."""

    def __init__(self, raw: Mapping[str, object], at: str, *, max_k: int, max_nodes: int) -> None:
        """Begin to read.

        raw   members of a request, or of a stored classifier
        """
        self._members = Members(raw, at, "classify")
        self._max_k = max_k
        self._max_nodes = max_nodes
        self._texts = 0

    def classifier(self) -> Classifier:
        """Read it. Members that are not its own have been taken before."""
        members = self._members
        heads = self._heads()
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

    def parsed(self, raw: object, at: str) -> Filter | None:
        """Read a filter."""
        return None if raw is None else parse_filter(raw, max_nodes=self._max_nodes, pointer=at)

    # ── heads ────────────────────────────────────────────────────────────────────────────────

    def _heads(self) -> list[Head]:
        members = self._members
        if "heads" not in members:
            members.raw("heads")
            return [self._head(members, "", {})]
        shared = {name: (members.raw(name), members.place(name)) for name in _SHARED}
        found: list[Head] = []
        for place, raw in enumerate(members.items("heads", most=MOST_HEADS)):
            own = Members(raw, f"{members.place('heads')}/{place}", "a head")
            found.append(self._head(own, f"head {place + 1}", shared))
            own.end()
        names = [head.name for head in found]
        if len(set(names)) < len(names):
            raise refused("heads have different names", members.place("heads"))
        return found

    def _head(self, members: Members, name: str, shared: Mapping[str, tuple[object, str]]) -> Head:
        method = members.choice("method", METHODS, "knn")
        weight = 1.0
        if name:
            name = members.text("name", name, most=64)
            weight = members.number("weight", 1.0, low=0)
        else:
            name = method
        using = members.raw("using") or shared.get("using", (None,))[0]
        if using is not None and not isinstance(using, str):
            raise refused("expected the name of a vector", members.place("using"))
        filter = self._filter(members, shared)
        if method == "knn":
            return self._voting(members, name, weight, using, filter, shared)
        if method == "prototypes":
            return self._means(members, name, weight, using, filter, shared)
        members.raw("label")  # of no use here, but to whoever fits the classifier
        texts = self._label_texts(members)
        above = members.number("group_above", 0.8, low=-1, high=1)
        if method == "zero_shot":
            temperature = members.number("temperature", 0.05, low=0, open_low=True)
            return LabelTexts(members.at, name, using, weight, texts, temperature, above)
        label = None
        if members.flag("labelled"):
            label = self._label(members, shared)
        return Cached(
            members.at,
            name,
            using,
            weight,
            filter,
            texts,
            label,
            members.number("alpha", 0.3, low=0),
            members.number("beta", 1.0, low=0),
            members.integer("shots", None, low=1, high=1000),
            members.integer("sample", 4096, low=1, high=MOST_CACHED),
            members.number("temperature", 0.01, low=0, open_low=True),
            above,
        )

    def _filter(self, members: Members, shared: Mapping[str, tuple[object, str]]) -> Filter | None:
        found = [self.parsed(members.raw("filter"), members.place("filter"))]
        if "filter" in shared:
            found.append(self.parsed(*shared["filter"]))
        given = [one for one in found if one is not None]
        return And(tuple(given)) if len(given) > 1 else given[0] if given else None

    def _label(self, members: Members, shared: Mapping[str, tuple[object, str]]) -> str:
        raw = members.raw("label")
        if raw is None:
            raw = shared.get("label", (None,))[0]
        if raw is None:
            raise refused("say in `label` which attribute tells what a point is", members.at)
        return read_field(raw, members.place("label"))

    def _voting(
        self,
        members: Members,
        name: str,
        weight: float,
        using: str | None,
        filter: Filter | None,
        shared: Mapping[str, tuple[object, str]],
    ) -> Voting:
        return Voting(
            members.at,
            name,
            using,
            weight,
            filter,
            self._label(members, shared),
            members.integer("k", 10, low=1, high=self._max_k),
            members.choice("weights", WEIGHTS, "similarity"),
            members.number("beta", 20.0, low=0, open_low=True, high=1e6),
            members.integer("ef", None, low=1, high=self._max_k),
            members.flag("exact"),
            members.flag("reciprocal"),
            members.integer("augment", 0, low=0, high=1000),
        )

    def _means(
        self,
        members: Members,
        name: str,
        weight: float,
        using: str | None,
        filter: Filter | None,
        shared: Mapping[str, tuple[object, str]],
    ) -> ClassMeans:
        nuisance = members.raw("nuisance")
        if nuisance is not None:
            nuisance = read_field(nuisance, members.place("nuisance"))
        return ClassMeans(
            members.at,
            name,
            using,
            weight,
            filter,
            self._label(members, shared),
            members.number("temperature", 0.05, low=0, open_low=True),
            nuisance,
        )

    # ── label texts ──────────────────────────────────────────────────────────────────────────

    def _label_texts(self, members: Members) -> tuple[Texts, ...]:
        at = members.place("labels")
        raw = members.required("labels")
        templates = self._templates(members)
        grouped = members.choice("aggregate", ("mean", "group"), "mean") == "group"
        if isinstance(raw, list):
            named = [(one, one, f"{at}/{place}") for place, one in enumerate(raw)]
        elif isinstance(raw, Mapping):
            named = [
                (label, one, Members(raw, at, "labels").place(label)) for label, one in raw.items()
            ]
        else:
            raise refused("expected labels: a list of names, or an object of texts by label", at)
        if not 1 <= len(named) <= MOST_LABELS:
            raise LimitExceeded(
                f"expected 1 to {MOST_LABELS} labels", pointer=at, limit=MOST_LABELS
            )
        found = [
            self._texts_of(read_label(label, place), one, place, templates, grouped)
            for label, one, place in named
        ]
        if len({key_of(one.label) for one in found}) < len(found):
            raise refused("a label stands there twice", at)
        return tuple(found)

    def _templates(self, members: Members) -> list[str]:
        at = members.place("templates")
        raw = members.items("templates", most=100, default=None)
        if raw is None:
            return ["{label}"]
        for place, one in enumerate(raw):
            if not isinstance(one, str) or "{label}" not in one:
                raise refused("expected a text with {label} in it", f"{at}/{place}")
        return list(raw)

    def _texts_of(
        self, label: Label, raw: object, at: str, templates: list[str], grouped: bool
    ) -> Texts:
        """Read what a label is called: a text, several, or {"attributes": […]}."""
        if isinstance(raw, Mapping):
            members = Members(raw, at, "a label")
            raw, grouped, place = members.required("attributes"), True, members.place("attributes")
            members.end()
        else:
            place = at
        if isinstance(raw, list):
            texts = items(raw, place, most=MOST_LABEL_TEXTS)
            places = [f"{place}/{number}" for number in range(len(texts))]
        else:
            texts, places = [raw], [place]
        found = []
        for text, one in zip(texts, places, strict=True):
            if not isinstance(text, str):
                raise refused("expected a text", one)
            for which, template in enumerate(templates):
                key = f"{one}#{which}" if len(templates) > 1 else one
                filled = template.replace("{label}", text)
                found.append(LabelText(key, "text", filled, where=one))
        self._texts += len(found)
        if self._texts > MOST_LABEL_TEXTS:
            raise LimitExceeded(
                f"labels have at most {MOST_LABEL_TEXTS} texts together, times templates",
                pointer=at,
                limit=MOST_LABEL_TEXTS,
            )
        return Texts(label, tuple(found), grouped)

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
