"""What a command was told, as the tasks need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.cli.asking import refused
from app.cli.evaluation.asker import Asker, Found
from app.errors import InvalidQuery
from app.evaluation.configurations import applied
from app.evaluation.ranked import MEASURES, Measure, measure_from
from app.evaluation.results import Curve, Run, run_of, with_wholes
from app.types import F64, I64


@dataclass(frozen=True, slots=True)
class Configuration:
    """A way to ask, or to encode: members of a query, or {"model": …}."""

    name: str
    members: Mapping[str, Any]


@dataclass(slots=True)
class Job:
    """An evaluation to be run.

    collection   an existing one; None makes one for the time being
    definition   members of that one's definition, beside what the task says
    measures     wanted; None leaves it to the task
    notes        what the report is to tell besides; tasks add to it
    """

    asker: Asker
    data: Path
    configurations: Sequence[Configuration]
    collection: str | None = None
    encoder: str | None = None
    definition: Mapping[str, Any] = field(default_factory=dict)
    measures: Sequence[str] | None = None
    k: int = 10
    split: str = "test"
    filters: Sequence[str] = ()
    most: int | None = None
    input: str = "text"
    keep: bool = False
    samples: int = 2000
    seed: int = 0
    notes: list[str] = field(default_factory=list)

    def place(self, own: Mapping[str, Any]) -> AbstractContextManager[str]:
        """Give the collection to ask: the one that was named, or one made for the time being."""
        if self.collection is not None:
            return nullcontext(self.collection)
        definition: dict[str, Any] = {**own, **self.definition}
        if self.encoder is not None:
            definition.setdefault("encoder", self.encoder)
        return self.asker.temporary(definition, keep=self.keep)

    def wanted(
        self, default: Sequence[str], known: Sequence[str] = tuple(MEASURES)
    ) -> list[Measure]:
        """Read which measures are wanted. Raises typer.Exit for one that the task has not."""
        found = []
        for name in self.measures or default:
            try:
                found.append(measure_from(name, known))
            except ValueError as error:
                raise refused(f"--measure {name}: {error}") from None
        return list(dict.fromkeys(found))

    def query(
        self,
        collection: str,
        configuration: Configuration,
        question: Mapping[str, Any],
        k: int,
        **more: Any,
    ) -> Found:
        """Ask a question in one way."""
        try:
            members = applied(configuration.members, question)
        except InvalidQuery as error:
            raise refused(f"{configuration.name}{error.pointer}: {error.detail}") from None
        return self.asker.query(collection, {"with_text": False, **members, **more, "k": k})

    def run(
        self,
        configuration: Configuration,
        queries: Sequence[str],
        columns: Mapping[str, Sequence[float]],
        *,
        wholes: Mapping[str, Callable[[I64], float]] | None = None,
        curves: Sequence[Curve] = (),
        shares: Sequence[float] | None = None,
        facts: Mapping[str, float] | None = None,
        leading: bool = True,
    ) -> Run:
        """Make a run of values by query, and of measures of the whole.

        leading   whether those of the whole are what the task is about, and come first
        """
        values: F64 = np.zeros((len(queries), len(columns)))
        for number, column in enumerate(columns.values()):
            values[:, number] = column
        run = run_of(
            configuration.name,
            configuration.members,
            queries,
            list(columns),
            values,
            shares=shares,
            facts=facts,
            curves=curves,
            samples=self.samples,
            seed=self.seed,
        )
        return with_wholes(run, wholes or {}, len(queries), seed=self.seed, leading=leading)
