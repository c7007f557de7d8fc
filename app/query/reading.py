"""Strict reading of plain JSON objects: every member is known, typed and bounded, or blamed.

A query's parts are read by hand, as filters are: a mistake is named by its place and by what was
expected there, where a validator of unions would tell about every alternative that failed.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from app.attributes.values import json_type, pointer_to
from app.errors import InvalidQuery, LimitExceeded

_REQUIRED: Any = object()


def refused(detail: str, at: str) -> InvalidQuery:
    """Make the error that blames the place `at`."""
    return InvalidQuery(detail, pointer=at)


class Members:
    """The members of one JSON object, taken one by one; `end` refuses those nobody asked for."""

    def __init__(self, raw: object, at: str, what: str) -> None:
        """Begin to read.

        at     JSON pointer of the object
        what   in words, for messages: "a rescore stage"

        Raises InvalidQuery if `raw` is no object.
        """
        if not isinstance(raw, Mapping):
            raise refused(f"{what}: expected an object, received {json_type(raw)}", at)
        self._raw: Mapping[Any, Any] = raw
        self._taken: set[str] = set()
        self._what = what
        self._short: str | None = None
        self.at = at

    @classmethod
    def short(cls, raw: object, name: str, at: str, what: str) -> Members:
        """Begin to read an object, or a string that is short for one with the member `name`.

        A string has no members to point to: whatever is wrong with it is at `at`.
        """
        if not isinstance(raw, str):
            return cls(raw, at, what)
        members = cls({name: raw}, at, what)
        members._short = name
        return members

    def __contains__(self, name: str) -> bool:
        return self._raw.get(name) is not None

    def place(self, name: str) -> str:
        """Give the pointer of a member."""
        return self.at if name == self._short else pointer_to(self.at, name)

    def end(self) -> None:
        """Refuse whatever was not taken."""
        for name in self._raw:
            if name not in self._taken:
                close = difflib.get_close_matches(str(name)[:40], self._taken, n=1)
                hint = f"did you mean {close[0]}?" if close else f"known: {self._known()}"
                raise refused(
                    f"{self._what} has no such member; {hint}", pointer_to(self.at, str(name))
                )

    def _missing(self, name: str) -> NoReturn:
        """Refuse an object without `name`, or blame what seems to be meant for it."""
        others = [str(one)[:40] for one in self._raw if one not in self._taken]
        for close in difflib.get_close_matches(name, others, n=1):
            raise refused(
                f"{self._what} has no such member; did you mean {name}?", pointer_to(self.at, close)
            )
        raise refused(f"{self._what} needs {name}", self.at)

    def _known(self) -> str:
        return ", ".join(sorted(self._taken))

    def raw(self, name: str, default: Any = None) -> Any:
        """Take a member as it is; null counts as left out."""
        self._taken.add(name)
        value = self._raw.get(name)
        if value is not None:
            return value
        if default is _REQUIRED:
            self._missing(name)
        return default

    def required(self, name: str) -> Any:
        """Take a member that must be there, as it is."""
        return self.raw(name, _REQUIRED)

    def number(
        self,
        name: str,
        default: float | None = _REQUIRED,
        *,
        low: float = -math.inf,
        high: float = math.inf,
        open_low: bool = False,
    ) -> Any:
        """Take a finite number within bounds, as a float (`default` itself if it is left out)."""
        value = self.raw(name, default)
        if name not in self:
            return value
        return number(value, self.place(name), low=low, high=high, open_low=open_low)

    def integer(self, name: str, default: int | None = _REQUIRED, *, low: int, high: int) -> Any:
        """Take an integer; too large is LimitExceeded."""
        value = self.raw(name, default)
        if name not in self:
            return value
        if type(value) is not int or value < low:
            raise refused(f"expected an integer of at least {low}", self.place(name))
        if value > high:
            raise LimitExceeded(f"{name} is at most {high}", pointer=self.place(name), limit=high)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """Take true or false."""
        value = self.raw(name, default)
        if not isinstance(value, bool):
            raise refused(f"expected true or false, received {json_type(value)}", self.place(name))
        return value

    def text(self, name: str, default: str | None = _REQUIRED, *, most: int = 512) -> Any:
        """Take a string of 1 … `most` characters."""
        value = self.raw(name, default)
        if name not in self:
            return value
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise refused(f"expected a string of 1-{most} characters", self.place(name))
        return value

    def choice(self, name: str, known: Collection[str], default: str | None = _REQUIRED) -> Any:
        """Take one of several words."""
        value = self.raw(name, default)
        if name not in self:
            return value
        return choice(value, known, self.place(name))

    def items(self, name: str, *, least: int = 1, most: int, default: Any = _REQUIRED) -> Any:
        """Take a list of `least` … `most` things."""
        value = self.raw(name, default)
        if name not in self:
            return value
        return items(value, self.place(name), least=least, most=most)


def number(
    value: object,
    at: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
) -> float:
    """Read a finite number within bounds. Raises InvalidQuery."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused(f"expected a number, received {json_type(value)}", at)
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    outside = found < low or found > high or (open_low and found == low)
    if outside or not math.isfinite(found):
        raise refused(f"expected a number {_within(low, high, open_low)}", at)
    return found


def _within(low: float, high: float, open_low: bool) -> str:
    if low == -math.inf and high == math.inf:
        return "of float64"
    if high == math.inf:
        return f"above {low:g}" if open_low else f"of at least {low:g}"
    if low == -math.inf:
        return f"of at most {high:g}"
    return f"{'above' if open_low else 'from'} {low:g} to {high:g}"


def choice(value: object, known: Collection[str], at: str) -> str:
    """Read one of several words. Raises InvalidQuery."""
    if isinstance(value, str) and value in known:
        return value
    close = difflib.get_close_matches(str(value)[:40], known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise refused(f"expected one of {', '.join(sorted(known))}{hint}", at)


def items(value: object, at: str, *, least: int = 1, most: int) -> list[Any]:
    """Read a list of `least` … `most` things. Raises InvalidQuery or LimitExceeded."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise refused(f"expected a list, received {json_type(value)}", at)
    if len(value) < least:
        raise refused(f"expected at least {least} in the list", at)
    if len(value) > most:
        raise LimitExceeded(f"at most {most} are allowed here", pointer=at, limit=most)
    return list(value)


def one_of(raw: object, known: Mapping[str, Any], at: str, what: str) -> NoReturn:
    """Refuse an object that has none, or several, of the members that say what it is."""
    if not isinstance(raw, Mapping):
        hint = ', as {"text": …} or {"id": …}' if isinstance(raw, str) else ""
        raise refused(f"{what}: expected an object{hint}, received {json_type(raw)}", at)
    names = [name for name in known if raw.get(name) is not None]
    if len(names) > 1:
        raise refused(f"{what}: expected exactly one of {' and '.join(names)}", at)
    for name in raw.keys() - known.keys():
        for close in difflib.get_close_matches(str(name)[:40], known, n=1):
            raise refused(
                f"{what} has no such member; did you mean {close}?", pointer_to(at, str(name))
            )
    raise refused(f"{what}: expected exactly one of {', '.join(known)}", at)
