"""From JSON to heads: `method` and what stands beside it, or a list of such."""

from __future__ import annotations

from collections.abc import Mapping

from app.attributes.filter import And, Filter, parse_filter
from app.errors import LimitExceeded
from app.query.labels import Label, key_of, read_field, read_label
from app.query.limits import MOST_CACHED, MOST_HEADS, MOST_LABEL_TEXTS, MOST_LABELS
from app.query.memory.class_means import ClassMeans
from app.query.memory.head import Head
from app.query.memory.inputs import LabelText
from app.query.memory.label_texts import Cached, LabelTexts, Texts
from app.query.memory.voting import Voting
from app.query.reading import Members, items, refused
from app.ranking.memory.votes import WEIGHTS

METHODS = ("knn", "prototypes", "zero_shot", "cache")

_SHARED = ("using", "filter", "label")
"""Members beside `heads` that hold for every head."""

Shared = Mapping[str, tuple[object, str]]
"""Those that are given, with their places."""


class HeadReader:
    """Reads the heads of one classifier; raises as `ClassifierReader` does."""

    def __init__(self, members: Members, *, max_k: int, max_nodes: int) -> None:
        """Begin to read."""
        self._members = members
        self._max_k = max_k
        self._max_nodes = max_nodes
        self._texts = 0

    def heads(self) -> list[Head]:
        """Read them."""
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

    def _head(self, members: Members, name: str, shared: Shared) -> Head:
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

    def _filter(self, members: Members, shared: Shared) -> Filter | None:
        found = [self._parsed(members.raw("filter"), members.place("filter"))]
        if "filter" in shared:
            found.append(self._parsed(*shared["filter"]))
        given = [one for one in found if one is not None]
        return And(tuple(given)) if len(given) > 1 else given[0] if given else None

    def _label(self, members: Members, shared: Shared) -> str:
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
        shared: Shared,
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
        shared: Shared,
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

    def _parsed(self, raw: object, at: str) -> Filter | None:
        return None if raw is None else parse_filter(raw, max_nodes=self._max_nodes, pointer=at)
