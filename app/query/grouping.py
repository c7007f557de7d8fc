"""The best groups of points that share an attribute's value, with the best points of each.

Theory of operation
-------------------
A ranking that is read from its top meets the groups in the order of their best points: the first
so many different values are the best groups, whatever follows. So candidates are grouped, and if
there are too few groups the recall is repeated deeper, until there are enough, or nothing is left,
or the pool may not grow. A group that is met with too few of its points is filled up by a recall
of its own, filtered by its value. Where candidates went through further stages, or were fused of
several sources, there are only those: then groups and points are the best among them.

A point with several values is in each of its groups; one without a value, or with null or places
only, is in none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.attributes.filter import both
from app.query.labels import holding, key_of, labels_in
from app.query.ordering import OrderedSource
from app.query.plan import Lookup, Plan, Source
from app.query.pool import Group, Pool
from app.query.running import Running

_DEEPER = 4  # times as many candidates in each further recall

_Key = tuple[int, Any]
"""A value that forms a group, by `key_of`: True and 1 are two."""


@dataclass(frozen=True, slots=True)
class GroupBy:
    """The last step of a plan: `groups` groups, past the plan's offset, of at most `size` points.

    most   candidates that may be recalled for it
    """

    at: str
    field: str
    groups: int
    size: int
    most: int

    def run(self, plan: Plan, running: Running) -> Pool:
        """Give the points of the groups, each once, and the groups (`Pool.groups`)."""
        wanted = plan.offset + self.groups
        source, pool = plan.source, plan.ranked(running)
        held: dict[int, list[_Key]] = {}
        rounds = 1
        while True:
            grouped = self._grouped(pool, held, running)
            is_whole = _is_whole(plan, source, pool)
            deeper = self._deeper(source)
            if len(grouped) >= wanted or is_whole or deeper is None:
                break
            before, source = len(pool), deeper
            pool = replace(plan, source=source).ranked(running)
            rounds += 1
            if len(pool) <= before:
                break
        chosen = list(grouped.items())[plan.offset : wanted]
        with running.stage("group", self.at, taken=len(pool)) as entry:
            # A list of several sources is what it is: one source alone can be asked for more.
            single = isinstance(source, Lookup | OrderedSource)
            fillable = single and not is_whole and not plan.stages
            filled = 0
            groups: list[Group] = []
            for key, rows in chosen:
                if len(rows) < self.size and fillable:
                    more = self._filled(replace(plan, source=source), key, running)
                    rows, pool = more.rows.tolist(), pool.joined(more)
                    filled += 1
                groups.append(Group(key[1], rows[: self.size]))
            pool = _of_groups(pool, groups)
            entry |= {
                "field": self.field,
                "groups": len(groups),
                "rounds": rounds,
                "filled": filled,
                "cut": len(grouped) < wanted and not is_whole,
                "out": len(pool),
            }
        return pool

    def _deeper(self, source: Source) -> Source | None:
        """Make a source recall more; None if it cannot, or may not."""
        if not isinstance(source, Lookup | OrderedSource) or source.k >= self.most:
            return None
        return replace(source, k=min(_DEEPER * source.k, self.most))

    def _grouped(
        self, pool: Pool, held: dict[int, list[_Key]], running: Running
    ) -> dict[_Key, list[int]]:
        """Group rows by value, best first.

        held   values of rows that were read before
        """
        new = [row for row in pool.rows.tolist() if row not in held]
        if new:
            unread = pool.rows[[row not in held for row in pool.rows.tolist()]]
            for row, attributes in zip(new, running.view.attributes(unread), strict=True):
                held[row] = keys_of(attributes, self.field)
        grouped: dict[_Key, list[int]] = {}
        for row in pool.rows.tolist():
            for key in held[row]:
                grouped.setdefault(key, []).append(row)
        return grouped

    def _filled(self, plan: Plan, key: _Key, running: Running) -> Pool:
        """Recall the best points of one group."""
        source = plan.source
        assert isinstance(source, Lookup | OrderedSource)
        condition = holding(self.field, key[1])
        own = replace(source, filter=both(source.filter, condition), k=self.size)
        # Neither its matches nor its entry in the account are those of the query.
        inner = replace(running, account=[], explain=False, plans=set())
        pool = replace(plan, source=own).ranked(inner)
        running.exact = running.exact and inner.exact
        return pool


def _is_whole(plan: Plan, source: Source, pool: Pool) -> bool:
    """Tell whether a pool holds everything that there is."""
    return isinstance(source, Lookup | OrderedSource) and not plan.stages and len(pool) < source.k


def keys_of(attributes: Mapping[str, Any], field: str) -> list[_Key]:
    """List the values by which a point is in groups, each once."""
    return list(map(key_of, labels_in(attributes, field)))


def _of_groups(pool: Pool, groups: list[Group]) -> Pool:
    """Keep the points of groups, in the order in which they are first shown."""
    places = {row: place for place, row in enumerate(pool.rows.tolist())}
    shown = dict.fromkeys(row for group in groups for row in group.rows)
    return replace(pool.taken([places[row] for row in shown]), groups=tuple(groups))
