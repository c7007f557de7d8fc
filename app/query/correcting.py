"""`correct`: what candidates owe to being near to everything is taken off their scores.

A correction belongs to a lookup, since it is of the scores of one field: it stands beside what is
searched for, in a source of `prefetch`, or in a level of `rescore`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.errors import InvalidQuery, LimitExceeded
from app.query.bank import KIND, Bank, bank_from
from app.query.limits import MOST_BANK_PRODUCTS
from app.query.pool import Pool
from app.query.reading import Members, refused
from app.query.running import Running
from app.ranking.hubness import similarities
from app.types import F64, I64, NAME, VectorField, VectorKind


@dataclass(frozen=True, slots=True)
class Correction:
    """Scores of a field corrected by a stored bank of queries.

    wants      candidates that are recalled for it: hubs push others out of short lists
    strength   another one than the bank's
    force      use the bank although it did not win, or nobody measured whether it does
    """

    at: str
    name: str
    wants: int
    strength: float | None = None
    force: bool = False

    def scores(
        self,
        rows: I64,
        scores: F64,
        field: VectorField | None,
        running: Running,
        facts: dict[str, Any],
    ) -> F64:
        """Correct the scores of rows, float64[rows]; NaN stays.

        facts   of the account, to which its own are added

        Raises InvalidQuery where the bank is not there, is of another field or did not win, and
        LimitExceeded, all before any work is done.
        """
        bank = self._bank(field, running)
        assert field is not None
        products = rows.size * bank.vectors.size
        if products > MOST_BANK_PRODUCTS:
            raise LimitExceeded(
                f"{rows.size} candidates and {len(bank.vectors)} queries of the bank come to "
                f"{products} products of numbers; at most {MOST_BANK_PRODUCTS} are allowed",
                pointer=self.at,
                limit=MOST_BANK_PRODUCTS,
            )
        strength = bank.strength if self.strength is None else self.strength
        facts["correct"] = {
            "bank": self.name,
            "method": bank.method,
            "strength": strength,
            "queries": len(bank.vectors),
            "products": products,
        }
        if rows.size == 0:
            return scores
        vectors, has = running.view.vectors(field.name, rows)
        penalty = bank.penalty()(similarities(field.metric, vectors, bank.vectors))
        corrected: F64 = np.where(has, scores - strength * penalty, scores)
        return corrected

    def run(
        self,
        pool: Pool,
        field: VectorField | None,
        running: Running,
        name: str,
        facts: dict[str, Any],
    ) -> Pool:
        """Put the candidates in the order of their corrected scores, called `name`."""
        return pool.scored(self.scores(pool.rows, pool.scores, field, running, facts), name)

    def _bank(self, field: VectorField | None, running: Running) -> Bank:
        if field is None or field.kind is VectorKind.SPARSE:
            raise refused("only scores of dense vectors and of tokens are corrected", self.at)
        kept = running.view.kept(KIND, self.name)
        if kept is None:
            raise refused(f"the collection has no query bank named {self.name!r}", self.at)
        bank = bank_from(kept.body)
        if bank.using != field.name or bank.vectors.shape[1] != field.dimension:
            raise refused(
                f"the query bank {self.name!r} is of vector {bank.using!r}, not of {field.name!r}",
                self.at,
            )
        if bank.wins is not True and not self.force:
            told = "did not win" if bank.wins is False else "was never measured"
            raise InvalidQuery(
                f"the query bank {self.name!r} {told} on labelled queries: put it with `dev` that "
                "shows a gain, or say force: true",
                pointer=self.at,
            )
        return bank


def read_correction(raw: object, at: str, *, candidates: int, max_k: int) -> Correction:
    """Read `correct`: the name of a bank, or {bank, candidates, strength, force}."""
    members = Members.short(raw, "bank", at, "correct")
    name = members.text("bank", most=64)
    if not NAME.fullmatch(name):
        raise refused("expected the name of a query bank", members.place("bank"))
    wants = members.integer("candidates", candidates, low=1, high=max_k)
    strength = members.number("strength", None, low=0, high=100)
    force = members.flag("force")
    members.end()
    if strength is not None and not force:
        raise refused("another strength was not measured: say force: true", f"{at}/strength")
    return Correction(at, name, wants, strength, force)
