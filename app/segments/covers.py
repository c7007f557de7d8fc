"""Graphs over the rows of a segment that one condition keeps.

Theory of operation
-------------------
A filtered walk of the whole graph passes through rows that it may not return, the more of them the
narrower the filter, and most of all where the filter and the vectors are related: then the
neighbourhood of the query holds no match at all. A *cover* is a graph over just the rows of one
value of one attribute ("main_categories contains math"). A query with that condition is then an
unfiltered walk of a smaller graph; further conditions are bits on top.

Covers hold links, not vectors: about 8m + 4 bytes a row (132 at m = 16, beside 1,536 for a 384-d
vector). They are derived from a segment alone, and stand in a folder of their own beside it:

    <segment>.covers.<n>/   segment.json (checksums and the list of covers), c<i>.*.npy

The highest <n> that verifies counts; without any, queries plan without covers. Only values that
keep enough rows to beat a scan get one, the most frequent first, within a budget of rows.

Sources: separate graphs per predicate as in SIEVE (arXiv 2507.11907) and per-label connectivity as
in Filtered-DiskANN (WWW 2023); which fields get them is decided by the queries seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.attributes.filter import And, AnyOf, Filter
from app.segments.folder import read_folder
from app.vectors.graph import Graph

FORMAT = 1

Wish = tuple[int, str]
"""A vector field's number, and the attribute whose values its queries filter by."""


@dataclass(frozen=True, slots=True, eq=False)
class Covers:
    """The covers of one segment.

    graphs    (vector field, canonical condition) → graph over the rows that it keeps
    settled   the wishes that were carried out, also those that no value was frequent enough for
    """

    folder: Path
    graphs: Mapping[tuple[int, str], Graph]
    settled: frozenset[Wish]

    @classmethod
    def open(cls, folder: Path) -> Covers:
        """Verify and map covers. Raises CorruptFile or IncompatibleFormat."""
        description = read_folder(folder, FORMAT)
        graphs = {
            (cover["field"], cover["condition"]): Graph.open(
                folder, f"c{number}", entry=cover["entry"], levels=cover["levels"]
            )
            for number, cover in enumerate(description["covers"])
        }
        settled = frozenset((number, name) for number, name in description["settled"])
        return cls(folder, graphs, settled)


def conditions_of(filter: Filter) -> list[AnyOf]:
    """List the conditions that every match meets and that name one single value."""
    parts = filter.children if isinstance(filter, And) else (filter,)
    return [part for part in parts if isinstance(part, AnyOf) and _is_single(part)]


def _is_single(condition: AnyOf) -> bool:
    values = condition.values
    listed = len(values.strings) + len(values.numbers) + len(values.bools)
    return listed == 1 and not values.null
