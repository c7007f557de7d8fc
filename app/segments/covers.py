"""Graphs over the rows of a segment that one condition keeps.

Theory of operation
-------------------
A filtered walk of the whole graph passes through rows that it may not return, the more of them the
narrower the filter, and most of all where the filter and the vectors are related: then the
neighbourhood of the query holds no match at all. A *cover* is a graph over just the rows of one
value of one attribute ("main_categories contains math"), or of a *window* of its values ("year from
2008 to 2014"). A query with that condition, or with a range inside the window, is then a walk of a
smaller graph, with few rows or none that it may not return; further conditions are bits on top.

Covers hold links, not vectors: 52 bytes a row where 16 bits can number the rows, else 100 (m = 16),
beside 1,536 for a 384-d vector. They are derived from a segment alone, and stand in
a folder of their own beside it:

    <segment>.covers.<n>/   segment.json (checksums and the list of covers), c<i>.*.npy

The highest <n> that verifies counts; without any, queries plan without covers. Only conditions that
keep enough rows to beat a scan get one, within a budget of bytes.

Sources: separate graphs per predicate as in SIEVE (arXiv 2507.11907) and per-label connectivity as
in Filtered-DiskANN (WWW 2023); windows of an ordered attribute as in window filters (arXiv
2402.00943). Which attributes get them is decided by the queries seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from app.attributes.filter import And, AnyOf, Filter, Range, digest
from app.segments.folder import read_folder, well_described
from app.vectors.graph import Graph

FORMAT = 2


class Wish(NamedTuple):
    """What covers are asked for.

    vector      number of the vector field
    attribute   whose values the queries filter by
    over        "values" for single values, "numbers" or "instants" for ranges of these
    """

    vector: int
    attribute: str
    over: str

    @classmethod
    def of(cls, vector: int, condition: AnyOf | Range) -> Wish:
        """Ask for covers of a condition like this one."""
        over = condition.over if isinstance(condition, Range) else "values"
        return cls(vector, condition.field, over)


@dataclass(frozen=True, slots=True, eq=False)
class Covers:
    """The covers of one segment.

    values    (vector field, digest of a condition that names one value) → graph over its rows
    windows   (vector field, attribute, what is compared) → ranges, and graphs over the rows inside
    settled   the wishes that were carried out, also those that nothing was frequent enough for
    """

    folder: Path
    values: Mapping[tuple[int, bytes], Graph]
    windows: Mapping[Wish, Sequence[tuple[Range, Graph]]]
    settled: frozenset[Wish]

    @classmethod
    def open(cls, folder: Path, *, slots: int) -> Covers:
        """Verify and map covers of a segment of so many slots.

        Raises CorruptFile or IncompatibleFormat.
        """
        with well_described(folder):
            return cls._open(folder, slots)

    @classmethod
    def _open(cls, folder: Path, slots: int) -> Covers:
        description = read_folder(folder, FORMAT)
        values = {}
        windows: dict[Wish, list[tuple[Range, Graph]]] = {}
        for number, cover in enumerate(description["covers"]):
            graph = Graph.open(
                folder, f"c{number}", entry=cover["entry"], levels=cover["levels"], rows=slots
            )
            vector = cover["field"]
            if "window" in cover:
                window = Range(**cover["window"])
                windows.setdefault(Wish.of(vector, window), []).append((window, graph))
            else:
                values[vector, sha256(cover["condition"].encode()).digest()] = graph
        settled = frozenset(Wish(*wish) for wish in description["settled"])
        return cls(folder, values, windows, settled)

    def graphs(self, vector: int, filter: Filter) -> list[Graph]:
        """List the graphs that hold every match of a filter."""
        found = []
        for condition in conditions_of(filter):
            if isinstance(condition, AnyOf):
                graph = self.values.get((vector, digest(condition)))
                if graph is not None:
                    found.append(graph)
            elif self.windows:
                windows = self.windows.get(Wish.of(vector, condition), ())
                found += [graph for window, graph in windows if _holds(window, condition)]
        return found


def conditions_of(filter: Filter) -> list[AnyOf | Range]:
    """List the conditions that every match meets and that name one single value or a range."""
    parts = filter.children if isinstance(filter, And) else (filter,)
    return [
        part
        for part in parts
        if isinstance(part, Range) or (isinstance(part, AnyOf) and _is_single(part))
    ]


def describe(condition: AnyOf | Range, canonical: str) -> dict[str, Any]:
    """Write down what a cover holds, for `Covers.open`."""
    if isinstance(condition, AnyOf):
        return {"condition": canonical}
    bounds = {"low": condition.low, "high": condition.high}
    return {"window": {"field": condition.field, "over": condition.over, **bounds}}


def _holds(window: Range, inner: Range) -> bool:
    """Tell whether a closed range holds another; a bound that is None is infinite."""
    low = window.low is None or (inner.low is not None and inner.low >= window.low)
    return low and (window.high is None or (inner.high is not None and inner.high <= window.high))


def _is_single(condition: AnyOf) -> bool:
    values = condition.values
    listed = len(values.strings) + len(values.numbers) + len(values.bools)
    return listed == 1 and not values.null
