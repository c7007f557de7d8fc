"""What `classify` and `verify` share: fields, leaves, encoding, and what is kept between requests.

read      a request, on a lane
resolve   the field of each head, and what things and label texts are
encode    everything that one encoder is to read, at once
run       on one view
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app.backends.base import Backend, View
from app.encoders.base import EncoderInfo
from app.errors import InvalidQuery, KeptOutdated, LikewiseError
from app.query.memory.threshold import Space
from app.query.plan import Lookup
from app.query.reading import refused
from app.service.checks import check_name, place
from app.service.planned import Encode, Planning, Unread, encode_all
from app.service.shelf import Shelf
from app.service.writing import known_field
from app.types import Definition, VectorField, VectorKind

Json = dict[str, Any]

Result = TypeVar("Result")

Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Does work on a lane."""


@dataclass(slots=True)
class Resolved:
    """Leaves of a request; `leaves` is complete once everything of `unread` was filled in."""

    fields: dict[str, VectorField | None] = field(default_factory=dict)
    leaves: dict[tuple[str, str], Any] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Means:
    """What the use cases of memories work with, all of a service.

    search, write   lanes
    usable          raises where an encoder cannot be used now
    """

    backend: Backend
    planning: Planning
    encode: Encode
    describe: Callable[[str], EncoderInfo]
    usable: Callable[[str], object]
    search: Run
    write: Run

    def definition(self, name: str) -> Definition:
        """Find a collection; on a lane."""
        return self.backend.definition(check_name(name, "collection"))

    def resolve(
        self, lookups: Sequence[Lookup], definition: Definition, resolved: Resolved
    ) -> None:
        """Find out what leaves mean; on a lane."""
        for lookup in lookups:
            self.planning.resolve(lookup, definition, resolved)
        for encoder in {unread.encoder for unread in resolved.unread}:
            self.usable(encoder)

    async def encoded(self, resolved: Resolved) -> None:
        """Have encoders read what is left."""
        await encode_all([resolved], self.encode, self.describe)

    async def viewed(self, name: str, mark: str, run: Callable[[View], Result]) -> Result:
        """Run on one state of the collection that was read before."""
        result: Result = await self.search(lambda: self.backend.view(name, run, mark))
        return result

    async def named(self, shelf: Shelf, name: str) -> list[Json]:
        """Name all that a shelf has, and tell when each was made."""
        infos = await self.search(lambda: shelf.infos(name))
        return [{"name": one.key, "created_at": one.created_at} for one in infos]

    # ── fields ───────────────────────────────────────────────────────────────────────────────

    def field(
        self, definition: Definition, using: str | None, at: str, *, rows: bool
    ) -> VectorField:
        """Find the field that is compared in.

        rows   whether one vector a point is needed
        """
        fields = definition.vectors
        if using is not None:
            found = known_field(fields, using, place(at, "using"))
        else:
            dense = [one for one in fields.values() if one.kind is VectorKind.DENSE]
            several = dense or list(fields.values())
            if len(several) > 1:
                names = ", ".join(sorted(one.name for one in several))
                raise refused(f"say in `using` which vector to compare: {names}", at)
            (found,) = several
        if rows and found.kind is VectorKind.SPARSE:
            raise InvalidQuery(
                f"vector {found.name!r} is sparse: only neighbours (method knn) are found by it",
                pointer=at,
            )
        return found

    def space(self, field: VectorField) -> Space:
        """Say what vectors of a field compare as, today."""
        space = None if field.encoder is None else self.describe(field.encoder).space
        return Space(field.name, field.dimension, field.metric.value, field.encoder, space)

    def check_space(self, kept: Space, definition: Definition, what: str) -> VectorField:
        """Refuse what was fitted for other vectors than the field has now.

        Raises KeptOutdated.
        """
        found = definition.vectors.get(kept.using)
        if found is None or self.space(found) != kept:
            raise KeptOutdated(
                f"{what} was fitted for vectors of {_named(kept)}; the field holds others now: "
                "fit it anew",
                using=kept.using,
            )
        return found


def _named(space: Space) -> str:
    made = "callers" if space.encoder is None else f"encoder {space.encoder!r} ({space.space})"
    return f"{space.dimension} numbers, compared by {space.metric}, from {made}"


def under(error: LikewiseError, at: str) -> LikewiseError:
    """Point to a place of the request, where the error does not."""
    if error.pointer is None:
        error.pointer = at
    return error


def given(members: Mapping[str, object]) -> dict[str, object]:
    """Drop members that are null: they count as left out."""
    return {name: value for name, value in members.items() if value is not None}
