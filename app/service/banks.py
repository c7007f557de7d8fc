"""Query banks as use cases: made, tried, kept, described, forgotten.

A bank is read and checked, its queries and the labelled ones are encoded, then it is made and tried
on one state of the collection, and kept: one durable write. Nothing of a bank depends on single
points, so it stays right when points come and go; only Sinkhorn's scales were of the points that
there were, and are as good as these stand for those to come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from app.attributes.filter import parse_filter
from app.backends.base import Backend, KeptInfo, View
from app.errors import InvalidQuery
from app.query.bank import KIND, Bank, bank_from
from app.query.limits import CANDIDATES, LEAST_DEV, MOST_BANK, MOST_DEV
from app.query.reading import Members, choice, items, number, refused
from app.query.trying import STRENGTHS, Asking, Wanted, made
from app.ranking.hubness import METHODS
from app.service.checks import check_name
from app.service.labelled import QueryLists
from app.service.lanes import Lane
from app.service.planned import PlannedQuery
from app.service.shelf import Shelf
from app.service.writing import known_field
from app.types import Definition, Kept, VectorField, VectorKind

Told = dict[str, Any]
"""A bank as answers show it."""


@dataclass(frozen=True, slots=True)
class Banks:
    """The use cases of query banks.

    quick   lane of reads, and of making one, which may take seconds: nobody's write waits for that
    lane    lane of writes
    """

    backend: Backend
    lists: QueryLists
    quick: Lane
    lane: Lane
    max_k: int
    max_filter_nodes: int

    async def put(self, name: str, bank: str, raw: Mapping[str, Any]) -> tuple[Told, bool]:
        """Make a bank and keep it in the place of one of its name; tells whether it is new."""

        def prepare() -> tuple[str, Wanted, list[PlannedQuery]]:
            check_name(bank, "query bank")
            definition = self.backend.definition(check_name(name, "collection"))
            wanted, planned = self._read(raw, definition)
            return definition.mark, wanted, planned

        mark, wanted, planned = await self.quick.run(prepare)
        await self.lists.encode_all(planned)

        def make(view: View) -> Bank:
            return made(wanted, view)

        found = await self.quick.run(lambda: self.backend.view(name, make, mark))

        def work() -> tuple[Told, bool]:
            info, new = self.shelf.put(name, bank, found.body(), mark)
            return _told(info, found), new

        return await self.lane.run(work)

    async def describe(self, name: str, bank: str) -> Told:
        """Describe a bank. Raises ArtefactNotFound."""
        return await self.quick.run(lambda: _shown(self.shelf.find(name, bank)))

    async def describe_all(self, name: str) -> list[Told]:
        """Describe all banks of a collection, by name."""
        return await self.quick.run(lambda: list(map(_shown, self.shelf.every(name))))

    async def forget(self, name: str, bank: str) -> None:
        """Remove a bank. Raises ArtefactNotFound."""
        await self.lane.run(partial(self.shelf.remove, name, bank))

    @property
    def shelf(self) -> Shelf:
        """Where they are kept."""
        return Shelf(self.backend, KIND, "query bank")

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def _read(
        self, raw: Mapping[str, Any], definition: Definition
    ) -> tuple[Wanted, list[PlannedQuery]]:
        members = Members(raw, "", "a query bank")
        field = _field(members, definition)
        if ("queries" in members) == ("sample" in members):
            raise refused("expected either queries or a sample of points", "")
        methods = _methods(members)
        wanted = Wanted(
            field,
            methods=methods,
            strengths=_strengths(members),
            k=members.integer("k", 10, low=1, high=1000),
            tau=members.number("tau", 0.05, low=1e-4, high=1e4),
        )
        if "center" in methods and field.metric.value == "l2":
            raise refused("centring is of inner products: an l2 field has none", "/method")
        candidates = members.integer("candidates", CANDIDATES, low=1, high=self.max_k)
        read = partial(self.lists.read, definition=definition, using=field.name)
        planned: list[PlannedQuery] = []
        if "queries" in members:
            planned = read(members.raw("queries"), "/queries", most=MOST_BANK, k=1)
            wanted = replace(wanted, asked=_all_asking(planned))
        else:
            wanted = self._sampled(wanted, members)
        for name in ("queries", "sample"):
            members.raw(name)  # known, though left out
        dev = members.raw("dev")
        members.end()
        if dev is not None:
            labelled = self.lists.labelled(
                dev, "/dev", most=MOST_DEV, definition=definition, using=field.name, k=candidates
            )
            if len(labelled) < LEAST_DEV:
                raise refused(f"a bank is tried on at least {LEAST_DEV} labelled queries", "/dev")
            wanted = replace(wanted, dev=labelled)
            planned += [one.asking for one in labelled if isinstance(one.asking, PlannedQuery)]
        return wanted, planned

    def _sampled(self, wanted: Wanted, members: Members) -> Wanted:
        """Read a sample of points that stands for queries."""
        sample = Members(members.raw("sample"), "/sample", "a sample")
        raw = sample.raw("filter")
        filter = None
        if raw is not None:
            filter = parse_filter(raw, max_nodes=self.max_filter_nodes, pointer="/sample/filter")
        size = sample.integer("points", 500, low=1, high=MOST_BANK)
        seed = sample.integer("seed", 0, low=0, high=2**32 - 1)
        sample.end()
        return replace(wanted, sample=size, filter=filter, seed=seed)


def _all_asking(planned: list[PlannedQuery]) -> list[Asking]:
    return list(planned)


def _field(members: Members, definition: Definition) -> VectorField:
    using = members.text("using", None, most=64)
    if using is not None:
        found = known_field(definition.vectors, using, "/using")
    else:
        dense = [one for one in definition.vectors.values() if one.kind is VectorKind.DENSE]
        if len(dense) != 1:
            raise InvalidQuery(
                f"say in `using` which vector: {', '.join(sorted(definition.vectors))}", pointer=""
            )
        (found,) = dense
    if found.kind is VectorKind.SPARSE:
        raise refused("sparse vectors have no hubs that a bank corrects", "/using")
    return found


def _methods(members: Members) -> tuple[str, ...]:
    """Read a method, or several to be tried; all of them without one."""
    raw = members.raw("method")
    if raw is None:
        return METHODS if "dev" in members else METHODS[:1]
    if isinstance(raw, str):
        return (choice(raw, METHODS, "/method"),)
    each = items(raw, "/method", most=len(METHODS))
    return tuple(dict.fromkeys(choice(one, METHODS, f"/method/{i}") for i, one in enumerate(each)))


def _strengths(members: Members) -> tuple[float, ...]:
    raw = members.raw("strength")
    if raw is None:
        return STRENGTHS
    if not isinstance(raw, list):
        return (number(raw, "/strength", low=0, high=100, open_low=True),)
    return tuple(
        number(one, f"/strength/{i}", low=0, high=100, open_low=True)
        for i, one in enumerate(items(raw, "/strength", most=16))
    )


def _shown(kept: Kept) -> Told:
    return _told(kept.info, bank_from(kept.body))


def _told(info: KeptInfo, bank: Bank) -> Told:
    header = bank.header()
    return {
        "name": info.key,
        **{key: value for key, value in header.items() if key != "measured"},
        "bytes": info.bytes,
        "created_at": info.created_at,
        "revision": info.revision,
        "measured": bank.measured or None,
    }
