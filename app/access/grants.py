"""What somebody may do: scopes, and the collections that they hold for.

    read  <  write  <  admin        each holds what stands before it
    metrics                         for a scraper, which needs no data; admin holds it too

A pattern is a collection's name in which `*` stands for any run of characters that names are made
of and `?` for one of them. Nothing else has a meaning, and a name that could be no collection's
matches no pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from app.errors import InvalidField


class Scope(Enum):
    """A kind of request."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    METRICS = "metrics"


_HELD = {
    Scope.READ: {Scope.READ},
    Scope.WRITE: {Scope.READ, Scope.WRITE},
    Scope.ADMIN: set(Scope),
    Scope.METRICS: {Scope.METRICS},
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:-]{0,63}")
_PATTERN = re.compile(r"[A-Za-z0-9_.*?-]{1,64}")
_MEANING = {"*": "[A-Za-z0-9_.-]*", "?": "[A-Za-z0-9_.-]"}


@dataclass(frozen=True, slots=True)
class Grant:
    """What the holder of a key or token may do.

    name      who it is, for the log; never the key
    scopes    those it was given; it also holds what they include
    patterns  the collections it is for; None is all of them, and an empty tuple none
    """

    name: str
    scopes: frozenset[Scope]
    patterns: tuple[str, ...] | None = None
    _held: frozenset[Scope] = field(init=False, repr=False, compare=False)
    _names: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        held = frozenset[Scope]().union(*(_HELD[scope] for scope in self.scopes))
        object.__setattr__(self, "_held", held)
        names = None if self.patterns is None else _compiled(self.patterns)
        object.__setattr__(self, "_names", names)

    def holds(self, scope: Scope) -> bool:
        """Whether it allows requests of that kind, to some collection at least."""
        return scope in self._held

    def covers(self, collection: str) -> bool:
        """Whether it is for the collection of that name."""
        return self._names is None or self._names.fullmatch(collection) is not None

    def covers_all(self) -> bool:
        """Whether it is for every collection, those yet to come included."""
        return self._names is None

    def allows(self, scope: Scope, collection: str) -> bool:
        """Whether it allows requests of that kind to that collection."""
        return self.holds(scope) and self.covers(collection)


def scopes_from_names(names: Iterable[object]) -> frozenset[Scope]:
    """Read scopes that a person wrote. Raises InvalidField for a name that is none, or no name."""
    known = {scope.value: scope for scope in Scope}
    given = list(names)
    if not given or not all(isinstance(name, str) and name in known for name in given):
        raise InvalidField(f"expected one or more of the scopes {', '.join(known)}")
    return frozenset(known[str(name)] for name in given)


def checked_name(name: object) -> str:
    """Return the name of a grant. Raises InvalidField if it is none."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidField(
            "a key's name has 1 to 64 of A-Z a-z 0-9 _ . @ : - and starts with a letter or digit"
        )
    return name


def checked_patterns(patterns: Iterable[object]) -> tuple[str, ...]:
    """Return patterns. Raises InvalidField if one of them is none."""
    checked: list[str] = []
    for pattern in patterns:
        if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
            raise InvalidField(
                "a pattern of collections has 1 to 64 of A-Z a-z 0-9 _ . - and the wildcards * ?"
            )
        checked.append(pattern)
    return tuple(checked)


def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    if not patterns:
        return re.compile(r"(?!)")  # no collection at all
    choices = (
        "".join(_MEANING.get(char, re.escape(char)) for char in re.sub(r"\*+", "*", pattern))
        for pattern in patterns
    )
    return re.compile("|".join(choices))


EVERYBODY = Grant("everybody", frozenset(Scope))
"""Who asks a service without keys and tokens."""

NOBODY = Grant("nobody", frozenset(), ())
"""Who asks without a key what needs none."""
