"""Verify pairs, and choose the thresholds for it. See `app.query.memory.verifying`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from app.attributes.filter import Filter, parse_filter
from app.backends.base import View
from app.errors import ArtefactNotFound, InvalidName, InvalidQuery
from app.query.limits import LEAST_RATE
from app.query.memory.threshold import Side, Threshold, chosen, threshold_from
from app.query.memory.verifying import (
    Asked,
    Claims,
    Drawn,
    check_sides,
    distance_of,
    halved,
    lookups_of,
    read_claims,
    read_drawn,
    read_pairs,
    scores_of,
)
from app.query.reading import Members, number
from app.service.checks import check_name
from app.service.remembering import Means, Resolved, under
from app.service.shelf import Shelf
from app.types import Definition, VectorField

Json = dict[str, Any]

KIND = "threshold"


class KeptThreshold(NamedTuple):
    """A threshold under its name, and when it was chosen."""

    name: str
    threshold: Threshold
    created_at: str

    def shown(self) -> Json:
        """Give what answers show."""
        return {"name": self.name, **self.threshold.shown(), "created_at": self.created_at}


class Verifying:
    """The use cases of `verify` and `thresholds`."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._shelf = Shelf(means.backend, KIND, "threshold")

    async def verify(self, name: str, raw: Mapping[str, object]) -> Json:
        """Say of each pair whether it is the same, different, or not to be said."""
        means = self._means

        def prepare() -> tuple[Definition, VectorField, list[Asked], Claims | None, Any, Resolved]:
            definition = means.definition(name)
            members = Members(raw, "", "verify")
            filter = self._filter(members)
            pairs = read_pairs(members)
            claims = read_claims(members, filter, pairs)
            using = members.text("using", None)
            rule = self._rule(name, members, definition)
            members.end()
            if isinstance(rule, KeptThreshold):
                field = means.check_space(rule.threshold.space, definition, "the threshold")
                if using not in (None, field.name):
                    raise InvalidQuery(
                        f"the threshold is for vector {field.name!r}", pointer="/using"
                    )
            else:
                field = means.field(definition, using, "", rows=True)
            resolved = Resolved()
            means.resolve(list(lookups_of(pairs, field.name)), definition, resolved)
            return definition, field, pairs, claims, rule, resolved

        definition, field, pairs, claims, rule, resolved = await means.search(prepare)
        await means.encoded(resolved)

        def run(view: View) -> Json:
            scores, facts = scores_of(view, pairs, field, resolved.leaves, claims)
            told = [
                _answer(field, score, rule, fact)
                for score, fact in zip(scores.tolist(), facts, strict=True)
            ]
            shown = rule.shown() if isinstance(rule, KeptThreshold) else None
            return {"pairs": told, "threshold": shown}

        return await means.viewed(name, definition.mark, run)

    def _filter(self, members: Members) -> Filter | None:
        raw = members.raw("filter")
        if raw is None:
            return None
        most = self._means.planning.max_filter_nodes
        return parse_filter(raw, max_nodes=most, pointer=members.place("filter"))

    def _rule(
        self, name: str, members: Members, definition: Definition
    ) -> KeptThreshold | tuple[float, float] | None:
        """Read `threshold`: the name of a kept one, a number, or {accept, reject}."""
        raw, at = members.raw("threshold"), members.place("threshold")
        if raw is None:
            return None
        if isinstance(raw, str):
            try:
                return self.kept(name, raw)
            except (ArtefactNotFound, InvalidName) as error:
                raise under(error, at) from None
        if isinstance(raw, Mapping):
            both = Members(raw, at, "a threshold")
            accept = both.number("accept")
            reject = both.number("reject", accept, high=accept)
            both.end()
            return accept, reject
        accept = number(raw, at)
        return accept, accept

    # ── thresholds ───────────────────────────────────────────────────────────────────────────

    def kept(self, name: str, key: str) -> KeptThreshold:
        """Find a threshold; on a lane. Raises ArtefactNotFound."""
        found = self._shelf.find(name, key)
        return KeptThreshold(key, threshold_from(found.body), found.info.created_at)

    async def choose(self, name: str, key: str, raw: Mapping[str, object]) -> Json:
        """Choose a threshold on labelled pairs, given or drawn from points, and keep it."""
        means = self._means
        check_name(key, "threshold")

        def prepare() -> tuple[Any, ...]:
            definition = means.definition(name)
            members = Members(raw, "", "a threshold")
            far = members.number("target_far", 0.01, low=LEAST_RATE, high=0.5)
            frr = members.number("target_frr", None, low=0, high=0.5)
            filter = self._filter(members)
            field = means.field(definition, members.text("using", None), "", rows=True)
            pairs: list[Asked] = []
            drawn: Drawn | None = None
            if "pairs" in members:
                pairs = read_pairs(members, labelled=True)
                seed = members.integer("seed", 0, low=0, high=2**32 - 1)
                halves = members.flag("held_out")
            else:
                drawn = read_drawn(members, filter)
                seed, halves = drawn.seed, drawn.halves
            members.end()
            resolved = Resolved()
            means.resolve(list(lookups_of(pairs, field.name)), definition, resolved)
            return definition, field, far, frr, pairs, drawn, seed, halves, resolved

        found = await means.search(prepare)
        definition, field, far, frr, pairs, drawn, seed, halves, resolved = found
        await means.encoded(resolved)

        def run(view: View) -> list[Side]:
            if drawn is not None:
                found: list[Side] = drawn.scores(view, field)
                return found
            scores, _ = scores_of(view, pairs, field, resolved.leaves, None)
            told = [bool(pair.same) for pair in pairs]
            return halved(scores, told, int(seed), bool(halves))

        sides = await means.viewed(name, definition.mark, run)

        def choose() -> Threshold:
            check_sides(sides, far, "/label" if drawn is not None else "/pairs")
            return chosen(means.space(field), sides, far, frr)

        threshold = await means.search(choose)
        body = threshold.written()

        def keep() -> Json:
            info, _ = self._shelf.put(name, key, body, definition.mark)
            return KeptThreshold(key, threshold, info.created_at).shown()

        shown: Json = await means.write(keep)
        return shown

    async def describe(self, name: str, key: str) -> Json:
        """Show one threshold."""
        shown: Json = await self._means.search(lambda: self.kept(name, key).shown())
        return shown

    async def describe_all(self, name: str) -> list[Json]:
        """Name all thresholds."""
        return await self._means.named(self._shelf, name)

    async def forget(self, name: str, key: str) -> None:
        """Remove a threshold. Raises ArtefactNotFound."""
        await self._means.write(lambda: self._shelf.remove(name, key))


def _answer(field: VectorField, score: float, rule: Any, fact: Json) -> Json:
    """Say what a score means. Nobody enrolled is nobody to be the same as."""
    if score != score:
        return {"score": None, "distance": None, "decision": "unsure", **fact}
    told: Json = {"score": score, "distance": distance_of(field, score), "decision": None, **fact}
    if isinstance(rule, KeptThreshold):
        chosen = rule.threshold
        told["decision"] = chosen.decision(score)
        told["confidence"] = float(chosen.confidence.of(np.array(score)))
        told["far"], told["frr"] = chosen.far_at(score), chosen.frr_at(score)
    elif rule is not None:
        accept, reject = rule
        told["decision"] = "same" if score >= accept else "unsure"
        if score < reject:
            told["decision"] = "different"
    return told
