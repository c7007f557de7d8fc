"""What the parts of a plan work with while it runs, and the account they keep."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from app.attributes.filter import Filter
from app.backends.base import View
from app.query.due import check_due
from app.query.expression import Compiled
from app.types import VectorField

Leaves = Mapping[tuple[str, str], Any]
"""What leaves mean: (pointer of the leaf, name of the field or "") → a probe, or a point's id."""


@dataclass(slots=True)
class Running:
    """One run of a plan on one view.

    fields    the field that each lookup searches, by its pointer; None is the lexical index
    leaves    what the leaves mean
    explain   whether the account is wanted in full
    account   one entry a stage, in the order in which they ended
    compiled  what expressions came to, by the pointer of their lookup
    matches, exact, plans   of the recalls so far
    ranked    candidates that were left when the page was cut
    """

    view: View
    fields: Mapping[str, VectorField | None]
    leaves: Leaves
    filter: Filter | None = None
    explain: bool = False
    account: list[dict[str, Any]] = field(default_factory=list)
    compiled: dict[str, Compiled] = field(default_factory=dict)
    matches: int = 0
    exact: bool = True
    plans: set[str] = field(default_factory=set)
    ranked: int = 0

    @contextmanager
    def stage(self, name: str, at: str, *, taken: int) -> Iterator[dict[str, Any]]:
        """Account for a stage: gives the entry, to which it adds "out" and its own facts.

        taken   candidates that it starts with

        Raises DeadlineExceeded where nobody waits for it any more.
        """
        check_due()
        entry: dict[str, Any] = {"stage": name, "at": at, "in": taken}
        begun_s = time.perf_counter()
        yield entry
        entry["ms"] = round((time.perf_counter() - begun_s) * 1e3, 3)
        self.account.append(entry)
