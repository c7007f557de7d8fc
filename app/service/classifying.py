"""Classify things by what a collection remembers. See `app.query.memory`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from app.attributes.filter import Filter, both, parse_filter
from app.backends.base import View
from app.errors import ArtefactNotFound, InvalidName, InvalidQuery, KeptOutdated, LikewiseError
from app.query.labels import read_field, read_label
from app.query.memory.class_means import ClassMeans, Kept
from app.query.memory.classify import Classifier
from app.query.memory.fitting import WHAT, Fit, Fitted, Fitting
from app.query.memory.head import Head
from app.query.memory.inputs import Thing
from app.query.memory.kept import KeptClassifier, classifier_from
from app.query.memory.label_texts import Cached
from app.query.memory.learning import Example, learned
from app.query.memory.read import ClassifierReader
from app.query.memory.voting import Voting
from app.query.plan import Lookup
from app.query.reading import Members, refused
from app.service.checks import check_name
from app.service.remembering import Means, Resolved, given, under
from app.service.shelf import Shelf
from app.service.verifying import Verifying
from app.types import Definition, VectorField

Json = dict[str, Any]

KIND = "classifier"

BESIDE = ("inputs", "classifier", "top", "explain", "reject")
"""Members that may stand beside the name of a kept classifier: the rest is its own."""


class Classifying:
    """The use cases of `classify` and `classifiers`."""

    def __init__(self, means: Means, verifying: Verifying, *, max_k: int) -> None:
        self._means = means
        self._shelf = Shelf(means.backend, KIND, "classifier")
        self._verifying = verifying
        self._max_k = max_k
        self._learning = threading.Lock()

    async def classify(self, name: str, raw: Mapping[str, object]) -> Json:
        """Say of each input what it is, or that it is not to be said."""
        means = self._means
        raw = given(raw)

        def prepare() -> tuple[
            Definition, Classifier, list[Thing], dict[str, VectorField], Resolved
        ]:
            definition = means.definition(name)
            classifier, things = self._asked(name, raw, definition)
            fields = self._fields(classifier, definition)
            resolved = Resolved()
            self._resolve(classifier, things, fields, definition, resolved)
            return definition, classifier, things, fields, resolved

        definition, classifier, things, fields, resolved = await means.search(prepare)
        await means.encoded(resolved)

        def run(view: View) -> Json:
            judged = classifier.judge(view, things, fields, resolved.leaves)
            answer: Json = {"results": classifier.answers(judged)}
            if classifier.explain:
                answer["explain"] = {"heads": [one.facts for one in judged]}
            return answer

        return await means.viewed(name, definition.mark, run)

    async def compare(
        self,
        name: str,
        mark: str,
        ways: Sequence[Mapping[str, object]],
        inputs: Sequence[object],
        memory: Filter | None,
        stored: bool,
    ) -> list[list[Json]]:
        """Judge the same things in several ways, on one state of the collection.

        ways     members of `classify`
        memory   narrows what every head remembers
        stored   whether the things are stored points: then kept class means, which know them, are
                 refused

        Errors that concern one way point to `/{way}/…`, and to `/{way}/inputs/{thing}/…`.
        """
        means = self._means

        def prepare() -> list[tuple[Classifier, list[Thing], dict[str, VectorField], Resolved]]:
            definition = means.definition(name)
            found = []
            for number, way in enumerate(ways):
                with _within(number):
                    asked = {**given(way), "inputs": inputs}
                    classifier, things = self._asked(name, asked, definition)
                    if stored:
                        classifier = _narrowed(classifier, memory)
                    fields = self._fields(classifier, definition)
                    resolved = Resolved()
                    self._resolve(classifier, things, fields, definition, resolved)
                found.append((classifier, things, fields, resolved))
            return found

        asked = await means.search(prepare)
        for number, one in enumerate(asked):
            with _within(number):
                await means.encoded(one[3])

        def run(view: View) -> list[list[Json]]:
            answers = []
            for number, (classifier, things, fields, resolved) in enumerate(asked):
                with _within(number):
                    judged = classifier.judge(view, things, fields, resolved.leaves)
                    answers.append(classifier.answers(judged))
            return answers

        return await means.viewed(name, mark, run)

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def _reader(self, raw: Mapping[str, object]) -> ClassifierReader:
        most = self._means.planning.max_filter_nodes
        return ClassifierReader(raw, "", max_k=self._max_k, max_nodes=most)

    def _asked(
        self, name: str, raw: Mapping[str, object], definition: Definition
    ) -> tuple[Classifier, list[Thing]]:
        raw = self._with_threshold(name, raw, definition)
        key = raw.get("classifier")
        if key is None:
            reader = self._reader(raw)
            things = reader.things()
            return reader.classifier(), things
        for member in raw:
            if member not in BESIDE:
                raise refused(
                    "the classifier says how to judge; beside its name may stand "
                    f"{', '.join(BESIDE)}",
                    f"/{member}",
                )
        if not isinstance(key, str):
            raise refused("expected the name of a classifier", "/classifier")
        try:
            kept, _ = self._kept(name, key)
        except (ArtefactNotFound, InvalidName) as error:
            raise under(error, "/classifier") from None
        for space in kept.spaces.values():
            self._means.check_space(space, definition, "the classifier")
        asked = {member: value for member, value in raw.items() if member != "classifier"}
        reader = self._reader({**kept.definition, **asked})
        things = reader.things()
        return kept.fitted.into(reader.classifier()), things

    def _with_threshold(
        self, name: str, raw: Mapping[str, object], definition: Definition
    ) -> Mapping[str, object]:
        """Put a kept threshold's score in the place of its name in `reject`."""
        reject = raw.get("reject")
        if not isinstance(reject, Mapping) or reject.get("threshold") is None:
            return raw
        members = Members(reject, "/reject", "reject")
        try:
            kept = self._verifying.kept(name, members.text("threshold"))
        except (ArtefactNotFound, InvalidName) as error:
            raise under(error, "/reject/threshold") from None
        self._means.check_space(kept.threshold.space, definition, "the threshold")
        if reject.get("min_score") is not None:
            raise refused("expected either threshold or min_score", "/reject")
        rest = {member: value for member, value in reject.items() if member != "threshold"}
        return {**raw, "reject": {**rest, "min_score": kept.threshold.accept}}

    def _fields(self, classifier: Classifier, definition: Definition) -> dict[str, VectorField]:
        return {
            head.at: self._means.field(definition, head.using, head.at, rows=not head.by_vote)
            for head in classifier.heads
        }

    def _resolve(
        self,
        classifier: Classifier,
        things: Sequence[Thing],
        fields: Mapping[str, VectorField],
        definition: Definition,
        resolved: Resolved,
    ) -> None:
        lookups = [
            replace(lookup, using=fields[head.at].name) for head, lookup in classifier.lookups()
        ]
        for using in {one.name for one in fields.values()}:
            lookups += [Lookup(one.at, one.expression, using, None, 1) for one in things]
        self._means.resolve(lookups, definition, resolved)

    # ── kept classifiers ─────────────────────────────────────────────────────────────────────

    def _kept(self, name: str, key: str) -> tuple[KeptClassifier, str]:
        found = self._shelf.find(name, key)
        return classifier_from(found.body), found.info.created_at

    async def make(self, name: str, key: str, raw: Mapping[str, object]) -> Json:
        """Keep a classifier under a name, fitted if that is asked for."""
        means = self._means
        check_name(key, "classifier")
        raw = given(raw)

        def prepare() -> tuple[
            Definition, Json, Classifier, Fit | None, dict[str, VectorField], Resolved
        ]:
            definition = means.definition(name)
            asked = dict(raw)
            fit_raw = asked.pop("fit", None)
            for member in ("inputs", "classifier"):
                if member in asked:
                    raise refused("a classifier is kept without what it judges", f"/{member}")
            own = dict(self._with_threshold(name, asked, definition))
            classifier = self._reader(own).classifier()
            fields = self._fields(classifier, definition)
            fit = None if fit_raw is None else self._fit(fit_raw, classifier, own)
            resolved = Resolved()
            self._resolve(classifier, [], fields, definition, resolved)
            return definition, own, classifier, fit, fields, resolved

        definition, own, classifier, fit, fields, resolved = await means.search(prepare)
        await means.encoded(resolved)

        def run(view: View) -> tuple[Fitted, Json]:
            if fit is None:
                return Fitted(), {}
            return Fitting(view, classifier, fit, fields, resolved.leaves).run()

        begun_s = time.perf_counter()
        fitted, report = await means.viewed(name, definition.mark, run)
        if fit is not None:
            report["took_ms"] = round((time.perf_counter() - begun_s) * 1e3, 3)
        spaces = {head.name: means.space(fields[head.at]) for head in classifier.heads}
        kept = KeptClassifier(own, spaces, fitted, report)

        def keep() -> Json:
            info, _ = self._shelf.put(name, key, kept.written(), definition.mark)
            return {"name": key, **kept.shown(), "created_at": info.created_at}

        shown: Json = await means.write(keep)
        return shown

    def _fit(self, raw: object, classifier: Classifier, own: Mapping[str, object]) -> Fit:
        members = Members(raw, "/fit", "fit")
        label = members.raw("label") or own.get("label")
        if label is None:
            label = next((getattr(head, "label", None) for head in classifier.heads), None)
        if label is None:
            raise refused("say in `label` which attribute tells what a point is", "/fit")
        filter = members.raw("filter")
        most = self._means.planning.max_filter_nodes
        what = members.items("what", least=0, most=len(WHAT), default=list(WHAT))
        for one in what:
            if one not in WHAT:
                raise refused(f"expected some of {', '.join(WHAT)}", "/fit/what")
        fit = Fit(
            "/fit",
            read_field(label, "/fit/label"),
            None if filter is None else parse_filter(filter, max_nodes=most, pointer="/fit/filter"),
            members.integer("sample", 500, low=1, high=4096),
            members.integer("seed", 0, low=0, high=2**32 - 1),
            frozenset(what),
            members.flag("keep_means"),
        )
        members.end()
        return fit

    async def learn(self, name: str, key: str, raw: Mapping[str, object]) -> Json:
        """Move the kept class means of a classifier towards new examples, in their order."""
        means = self._means
        raw = given(raw)

        def prepare() -> tuple[
            Definition, list[Example], float | None, list[VectorField], Resolved
        ]:
            definition = means.definition(name)
            kept, _ = self._kept(name, key)
            members = Members(raw, "", "learn")
            momentum = members.number("momentum", None, low=0, high=1, open_low=True)
            examples = self._examples(members)
            members.end()
            fields = []
            for head, space in kept.spaces.items():
                field = means.check_space(space, definition, "the classifier")
                if head in kept.fitted.means:
                    fields.append(field)
            if not fields:
                raise InvalidQuery(
                    "the classifier keeps no class means: make it with fit.keep_means", pointer=""
                )
            resolved = Resolved()
            lookups = [
                Lookup(one.thing.at, one.thing.expression, field.name, None, 1)
                for one in examples
                for field in fields
            ]
            means.resolve(lookups, definition, resolved)
            return definition, examples, momentum, fields, resolved

        definition, examples, momentum, fields, resolved = await means.search(prepare)
        await means.encoded(resolved)

        def vectors(view: View) -> dict[str, Any]:
            return {field.name: learned(view, field, examples, resolved.leaves) for field in fields}

        made = await means.viewed(name, definition.mark, vectors)

        def keep() -> Json:
            with self._learning:  # of two at a time neither loses what the other learned
                kept, _ = self._kept(name, key)
                moved: dict[str, Kept] = {}
                for head, own in kept.fitted.means.items():
                    rows = made.get(kept.spaces[head].using)
                    if rows is None or rows.shape[1] != own.means.shape[1]:
                        raise KeptOutdated("the classifier was made anew meanwhile")
                    moved[head] = own.after([one.label for one in examples], rows, momentum)
                kept = replace(kept, fitted=replace(kept.fitted, means=moved))
                info, _ = self._shelf.put(name, key, kept.written(), definition.mark)
                return {"name": key, **kept.shown(), "created_at": info.created_at}

        shown: Json = await means.write(keep)
        return shown

    def _examples(self, members: Members) -> list[Example]:
        raw = members.items("examples", most=256)
        inputs, labels = [], []
        for number, one in enumerate(raw):
            at = f"/examples/{number}"
            own = Members(one, at, "an example")
            labels.append(read_label(own.required("label"), own.place("label")))
            inputs.append({name: value for name, value in one.items() if name != "label"})
        things = self._reader({"inputs": inputs}).things("/examples")
        return [Example(thing, label) for thing, label in zip(things, labels, strict=True)]

    async def describe(self, name: str, key: str) -> Json:
        """Show one classifier."""

        def work() -> Json:
            kept, created_at = self._kept(name, key)
            return {"name": key, **kept.shown(), "created_at": created_at}

        shown: Json = await self._means.search(work)
        return shown

    async def describe_all(self, name: str) -> list[Json]:
        """Name all classifiers."""
        return await self._means.named(self._shelf, name)

    async def forget(self, name: str, key: str) -> None:
        """Remove a classifier. Raises ArtefactNotFound."""
        await self._means.write(lambda: self._shelf.remove(name, key))


@contextmanager
def _within(way: int) -> Iterator[None]:
    """Say which of several ways an error is about."""
    try:
        yield
    except LikewiseError as error:
        error.pointer = f"/{way}{error.pointer or ''}"
        raise


def _narrowed(classifier: Classifier, memory: Filter | None) -> Classifier:
    """Let every head remember only what passes a filter, and today's points."""
    heads: list[Head] = []
    for head in classifier.heads:
        if getattr(head, "kept", None) is not None:
            raise refused(
                "its class means are kept, with points that are asked for here: give queries "
                "instead of a sample, or a classifier without keep_means",
                "/classifier",
            )
        if memory is not None and isinstance(head, Voting | ClassMeans | Cached):
            head = replace(head, filter=both(head.filter, memory))
        heads.append(head)
    return replace(classifier, heads=tuple(heads))
