"""An answer whose hits differ: candidates chosen one after the other by relevance and novelty.

The stage orders the best `wants` candidates by choosing (`app.ranking.diversity`); whatever is not
chosen, and what comes after them, follows as it was. So pages fit together: what comes first does
not depend on how many are asked for. Scores stay what they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.attributes.values import name_problem
from app.errors import InvalidQuery, LimitExceeded
from app.query.grouping import keys_of
from app.query.limits import CANDIDATES, MOST_DIVERSE
from app.query.plan import Lookup
from app.query.pool import Pool
from app.query.reading import Members, refused
from app.query.running import Running
from app.ranking.diversity import Cap, Chosen, Rows, capped, cosine_rows, dpp, gaussian_rows, mmr
from app.ranking.normalise import MINMAX
from app.types import Metric, VectorField, VectorKind

METHODS = ("mmr", "dpp")


@dataclass(frozen=True, slots=True)
class Diversity:
    """Choose among the best `wants` candidates so that they differ.

    method     "mmr", "dpp", or None: only the cap, over all that is recalled
    share      of novelty, 0 … 1: 1 − λ of MMR, the strength of a DPP
    using      whose vectors are compared; None takes the field that was searched
    raw        whether scores are taken as they are, and not brought to 0 … 1 before
    page       how many are needed in their order; None is all
    by, most   at most so many candidates for each value of an attribute
    threshold  candidates below it are left out first
    """

    at: str
    wants: int
    method: str | None = None
    share: float = 0.5
    using: str | None = None
    raw: bool = False
    page: int | None = None
    by: str | None = None
    most: int = 1
    threshold: float | None = None

    def lookups(self) -> Iterator[Lookup]:
        """Give none: nothing is searched for."""
        yield from ()

    def run(self, pool: Pool, running: Running) -> Pool:
        """Choose. Raises InvalidQuery where there are no vectors to compare."""
        field = None if self.method is None else self._field(running)
        with running.stage("diversity", self.at, taken=len(pool)) as entry:
            if self.threshold is not None:
                pool = pool.taken(np.flatnonzero(pool.scores >= self.threshold))
            cap = self._cap(pool, running)
            head = pool.first(self.wants)
            if field is None:
                entry["method"] = "cap"
                assert cap is not None
                chosen = capped(len(pool), len(pool), cap)
            else:
                entry |= {"method": self.method, "using": field.name}
                chosen = self._chosen(head, field, running, cap)
            entry["chosen"] = len(chosen.places)
            pool = self._ordered(pool, len(head), chosen, cap)
            entry["out"] = len(pool)
        return pool

    def _chosen(self, head: Pool, field: VectorField, running: Running, cap: Cap | None) -> Chosen:
        vectors, has = running.view.vectors(field.name, head.rows)
        similar: Rows
        if field.kind is VectorKind.DENSE and field.metric is Metric.L2:
            similar = gaussian_rows(vectors, has)
        else:
            similar = cosine_rows(vectors, has)
        count = len(head) if self.page is None else min(self.page, len(head))
        relevance = head.scores if self.raw else MINMAX(head.scores)
        if self.method == "mmr":
            return mmr(relevance, similar, count, 1 - self.share, cap)
        return dpp(relevance, similar, count, self.share, cap)

    def _ordered(self, pool: Pool, head: int, chosen: Chosen, cap: Cap | None) -> Pool:
        """Put what was chosen first, and let the others follow, as far as the cap allows."""
        taken = set(chosen.places)
        rest = [place for place in range(len(pool)) if place not in taken]
        if cap is not None:
            rest = [place for place in rest if cap.takes(place)]
        worth = np.full(len(pool), np.nan)
        worth[chosen.places] = chosen.worth
        if self.method is not None:
            pool = pool.parted(worth, "diversity")
        return pool.taken([*chosen.places, *rest])

    def _cap(self, pool: Pool, running: Running) -> Cap | None:
        if self.by is None:
            return None
        attributes = running.view.attributes(pool.rows)
        return Cap([keys_of(one, self.by) for one in attributes], self.most)

    def _field(self, running: Running) -> VectorField:
        """Find the field whose vectors are compared."""
        fields = running.view.definition.vectors
        if self.using is not None:
            found = fields.get(self.using)
            if found is None:
                names = ", ".join(sorted(fields))
                raise refused(f"no such vector; known: {names}", f"{self.at}/using")
            usable = [found]
        else:
            searched = {one.name: one for one in running.fields.values() if one is not None}
            usable = [one for one in searched.values() if one.kind is not VectorKind.SPARSE]
            if not usable:
                usable = [one for one in fields.values() if one.kind is VectorKind.DENSE]
        if len(usable) == 1 and usable[0].kind is not VectorKind.SPARSE:
            return usable[0]
        raise InvalidQuery(
            "name in `using` the vector, of numbers or of tokens, by which candidates differ",
            pointer=f"{self.at}/using" if self.using is not None else self.at,
        )


def read_diversity(
    raw: Any, at: str, *, page: int, max_k: int, threshold: float | None, whole: bool
) -> Diversity:
    """Read the member `diversity`: a method's name, or an object.

    page       how many hits are needed in their order
    max_k      most candidates
    threshold  least score of the query
    whole      whether more than the page is needed in its order: groups

    Raises InvalidQuery or LimitExceeded.
    """
    members = Members.short(raw, "method", at, "diversity")
    by = members.raw("by")
    if by is not None:
        problem = name_problem(by)
        if problem is not None:
            raise refused(problem, members.place("by"))
    elif "most" in members:
        raise refused("`most` is for each value of an attribute: say which, in `by`", at)
    most = members.integer("most", 1, low=1, high=max_k)
    method = members.choice("method", METHODS, "mmr" if by is None else None)
    candidates = members.integer("candidates", min(CANDIDATES, max_k), low=1, high=max_k)
    if method is None:
        for name in ("lambda", "strength", "using", "normalise"):
            if name in members:
                raise refused("say by which method: mmr or dpp", members.place(name))
            members.raw(name)
        members.end()
        return Diversity(at, candidates, by=by, most=most, threshold=threshold)
    own, other = ("lambda", "strength") if method == "mmr" else ("strength", "lambda")
    if other in members:
        raise refused(f"{method} takes {own}", members.place(other))
    share = members.number(own, 0.5, low=0, high=1)
    members.raw(other)
    if candidates > MOST_DIVERSE:
        raise LimitExceeded(
            f"at most {MOST_DIVERSE} candidates are compared with each other",
            pointer=members.place("candidates"),
            limit=MOST_DIVERSE,
        )
    found = Diversity(
        at,
        candidates,
        method,
        1 - share if method == "mmr" else share,
        members.text("using", None),
        members.choice("normalise", ("minmax", "none"), "minmax") == "none",
        None if whole else page,
        by,
        most,
        threshold,
    )
    members.end()
    return found
