"""Calibrations as use cases: fitted, measured, kept, described, forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.backends.base import Backend, KeptInfo, View
from app.evaluation.classes import calibration_error
from app.query.fusing import CALIBRATION, stored_calibration
from app.query.limits import CANDIDATES, MOST_DEV
from app.query.reading import Members, number, refused
from app.query.trying import Labelled, found_by
from app.ranking.calibration import METHODS, crossed, fit
from app.service.checks import check_name
from app.service.labelled import QueryLists
from app.service.lanes import Lane
from app.service.planned import PlannedQuery
from app.service.shelf import Shelf
from app.types import F64, Kept

Told = dict[str, Any]

MOST_PAIRS = 100_000
"""Pairs of score and match that a calibration is fitted to."""

_FOLDS = 5
_LEAST = 2 * _FOLDS  # of either kind: every fold then has some to fit to


@dataclass(frozen=True, slots=True)
class Calibrations:
    """The use cases of calibrations; lanes as in `app.service.banks`."""

    backend: Backend
    lists: QueryLists
    quick: Lane
    lane: Lane
    max_k: int

    async def put(self, name: str, calibration: str, raw: Mapping[str, Any]) -> tuple[Told, bool]:
        """Fit a calibration and keep it in the place of one of its name; tells if it is new."""

        def prepare() -> tuple[str, tuple[str, ...], list[Labelled], tuple[Any, Any] | None]:
            check_name(calibration, "calibration")
            definition = self.backend.definition(check_name(name, "collection"))
            members = Members(raw, "", "a calibration")
            method = members.choice("method", METHODS, None)
            methods = METHODS if method is None else (method,)
            using = members.text("using", None, most=64)
            candidates = members.integer("candidates", CANDIDATES, low=1, high=self.max_k)
            if ("dev" in members) == ("scores" in members):
                raise refused("expected either dev or scores and matches", "")
            if "scores" in members:
                pairs = _pairs(members)
                members.raw("dev")
                members.end()
                return definition.mark, methods, [], pairs
            if using is None:
                if len(definition.vectors) > 1:
                    names = ", ".join(sorted(definition.vectors))
                    raise refused(f"say in `using` whose scores are calibrated: {names}", "")
                (using,) = definition.vectors
            labelled = self.lists.labelled(
                members.raw("dev"),
                "/dev",
                most=MOST_DEV,
                definition=definition,
                using=using,
                k=candidates,
            )
            for known in ("scores", "matches"):
                members.raw(known)
            members.end()
            return definition.mark, methods, labelled, None

        mark, methods, labelled, pairs = await self.quick.run(prepare)
        await self.lists.encode_all(
            [one.asking for one in labelled if isinstance(one.asking, PlannedQuery)]
        )

        def run(view: View) -> tuple[F64, NDArray[np.bool_]]:
            found = found_by(labelled, view)
            there = found.rows >= 0
            return found.scores[there], found.right[there]

        def fit() -> Told:
            scores, matches = self.backend.view(name, run, mark) if pairs is None else pairs
            at = "/dev" if pairs is None else "/matches"
            return _fitted(methods, scores, matches, at)

        told = await self.quick.run(fit)

        def work() -> tuple[Told, bool]:
            info, new = self.shelf.put(name, calibration, orjson.dumps(told), mark)
            return _told(info, told), new

        return await self.lane.run(work)

    async def describe(self, name: str, calibration: str) -> Told:
        """Describe a calibration. Raises ArtefactNotFound."""
        return await self.quick.run(lambda: _shown(self.shelf.find(name, calibration)))

    async def describe_all(self, name: str) -> list[Told]:
        """Describe all calibrations of a collection, by name."""
        return await self.quick.run(lambda: list(map(_shown, self.shelf.every(name))))

    async def forget(self, name: str, calibration: str) -> None:
        """Remove a calibration. Raises ArtefactNotFound."""
        await self.lane.run(partial(self.shelf.remove, name, calibration))

    @property
    def shelf(self) -> Shelf:
        """Where they are kept."""
        return Shelf(self.backend, CALIBRATION, "calibration")


def _pairs(members: Members) -> tuple[F64, NDArray[np.bool_]]:
    """Read scores, and which of them are of matches."""
    scores: Sequence[Any] = members.items("scores", most=MOST_PAIRS)
    matches: Sequence[Any] = members.items("matches", most=MOST_PAIRS)
    if len(scores) != len(matches):
        raise refused("expected as many matches as scores", "/matches")
    for place, one in enumerate(matches):
        if not isinstance(one, bool):
            raise refused("expected true or false", f"/matches/{place}")
    numbers = [
        number(one, f"/scores/{place}", low=-1e30, high=1e30) for place, one in enumerate(scores)
    ]
    return np.array(numbers, dtype=np.float64), np.array(matches, dtype=np.bool_)


def _fitted(
    methods: Sequence[str], scores: F64, matches: NDArray[np.bool_], at: str
) -> dict[str, Any]:
    """Fit every method, keep the one whose probabilities of pairs it did not see are nearest."""
    true, false = int(matches.sum()), int((~matches).sum())
    if true < _LEAST or false < _LEAST:
        raise refused(
            f"expected at least {_LEAST} scores of matches and as many of others, received {true} "
            f"and {false}",
            at,
        )
    apart = {one: crossed(one, scores, matches, _FOLDS) for one in methods}
    best = min(methods, key=lambda one: float(((apart[one] - matches) ** 2).mean()))
    return {
        "method": best,
        "pairs": scores.size,
        "matches": true,
        "error_before": round(calibration_error(scores, matches), 6),
        "error_after": round(calibration_error(apart[best], matches), 6),
        "curve": fit(best, scores, matches).json(),
    }


def _shown(kept: Kept) -> Told:
    return _told(kept.info, stored_calibration(kept.body)[1])


def _told(info: KeptInfo, told: Mapping[str, Any]) -> Told:
    shown = {
        key: told.get(key) for key in ("method", "pairs", "matches", "error_before", "error_after")
    }
    return {
        "name": info.key,
        **shown,
        "created_at": info.created_at,
        "revision": info.revision,
    }
