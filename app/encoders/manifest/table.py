"""Read TOML tables strictly: every key is asked for by name and type, and none may be left over."""

from __future__ import annotations

import datetime
import difflib
import re
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from app.errors import StoredDataError

T = TypeVar("T")


class Table:
    """A TOML table that is emptied key by key; whatever is left at the end is unknown."""

    def __init__(self, path: Path, place: str, entries: dict[str, Any]) -> None:
        self._path, self._place, self._entries = path, place, dict(entries)
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def holds(self, key: str, kind: type) -> bool:
        """Whether a key is there and of one type, for keys that may be of several."""
        return type(self._entries.get(key)) is kind

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """Take a key of one type; fail if it is missing and there is no default.

        A string that must be there must not be empty either.
        """
        self._known.append(key)
        if key not in self._entries:
            if default is not None:
                return default
            self.fail(key, _article(kind), "nothing")
        value = self._entries.pop(key)
        # bool is an int and datetime a date for isinstance, but neither is meant.
        if type(value) is not kind:
            self.fail(key, _article(kind), _article(type(value)))
        if value == "" and default is None:
            self.fail(key, _article(kind), "an empty one")
        return value

    def positive(self, key: str) -> int:
        """Take an integer of at least 1."""
        value = self.take(key, int)
        if value < 1:
            self.fail(key, "a number of at least 1", str(value))
        return value

    def choose(self, key: str, choices: tuple[Any, ...]) -> Any:
        """Take a string that is one of the choices."""
        value = self.take(key, str)
        if value not in choices:
            self.fail(key, "one of " + ", ".join(map(repr, choices)), repr(value))
        return value

    def sha256(self, key: str) -> str:
        """Take a lower-case hexadecimal sha256."""
        value = self.take(key, str)
        if not re.fullmatch("[0-9a-f]{64}", value):
            self.fail(key, "64 lower-case hexadecimal digits", repr(value))
        return value

    def numbers(self, key: str, count: int, kind: type[T]) -> list[T]:
        """Take a list of so many numbers of one type."""
        values = self.take(key, list)
        if len(values) != count or any(type(value) is not kind for value in values):
            self.fail(key, f"a list of {count} of {kind.__name__}", "another value")
        return values

    def table(self, key: str) -> Table:
        """Take a table."""
        return Table(self._path, self._at(key), self.take(key, dict))

    def tables(self, key: str) -> list[Table]:
        """Take an array of tables; none if it is missing."""
        entries = self.take(key, list, [])
        if not all(isinstance(entry, dict) for entry in entries):
            self.fail(key, f"[[{key}]] tables", "a list of something else")
        return [
            Table(self._path, f"{self._at(key)}[{place}]", entry)
            for place, entry in enumerate(entries)
        ]

    def end(self) -> None:
        """Fail if a key is left, naming the known one that is closest."""
        for key in self._entries:
            closest = difflib.get_close_matches(key, self._known, n=1)
            hint = closest[0] if closest else ", ".join(sorted(self._known))
            self.fail(key, f"no such key (known: {hint})", "it")

    def fail(self, key: str, expected: str, found: str) -> NoReturn:
        """Raise StoredDataError naming the file, the key, what was expected and what was found."""
        raise StoredDataError(
            f"{self._path}: {self._at(key)}: expected {expected}, found {found}",
            path=str(self._path),
        )

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key


def _article(kind: type) -> str:
    words = {
        str: "a string",
        int: "an integer",
        float: "a float",
        bool: "true or false",
        dict: "a table",
        list: "a list",
        datetime.date: "a date",
    }
    return words.get(kind, f"a {kind.__name__}")
