"""What scopes include and which names patterns match."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.grants import (
    EVERYBODY,
    NOBODY,
    Grant,
    Scope,
    checked_name,
    checked_patterns,
    scopes_from_names,
)
from app.errors import InvalidField

HELD = {
    Scope.READ: "read",
    Scope.WRITE: "read write",
    Scope.ADMIN: "read write admin metrics",
    Scope.METRICS: "metrics",
}

names = st.text("abz09_.-", min_size=1, max_size=8)
patterns = st.text("abz09_.-*?", min_size=1, max_size=8)


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_holds_what_it_includes_and_nothing_else(scope: Scope) -> None:
    grant = Grant("g", frozenset({scope}))
    held = {each.value for each in Scope if grant.allows(each, "any")}
    assert held == set(HELD[scope].split())


def test_scopes_add_up() -> None:
    grant = Grant("g", frozenset({Scope.READ, Scope.METRICS}))
    assert [grant.holds(scope) for scope in Scope] == [True, False, False, True]


@given(st.lists(patterns, max_size=3), names)
def test_patterns_mean_what_they_mean_in_a_shell(globs: list[str], name: str) -> None:
    grant = Grant("g", frozenset({Scope.READ}), checked_patterns(globs))
    assert grant.covers(name) == any(fnmatchcase(name, glob) for glob in globs)
    assert not grant.covers_all()


@pytest.mark.parametrize("name", ["docs-a\n", "docs-a/b", "docs-ü", "docs- ", "docs-\0", "docs-%"])
def test_what_can_be_no_name_matches_no_pattern(name: str) -> None:
    assert not Grant("g", frozenset({Scope.READ}), ("docs-*", "*")).covers(name)


def test_a_dot_and_case_are_what_they_are() -> None:
    grant = Grant("g", frozenset({Scope.READ}), ("a.b",))
    assert [grant.covers(name) for name in ("a.b", "aXb", "A.b", "a.bc", "xa.b")] == [
        True, False, False, False, False,
    ]  # fmt: skip


def test_many_stars_cost_no_more_than_one() -> None:
    assert not Grant("g", frozenset(), ("*" * 63 + "x",)).covers("a" * 64)


def test_everybody_may_everything_and_nobody_nothing() -> None:
    for scope in Scope:
        assert EVERYBODY.allows(scope, "any")
        assert not NOBODY.allows(scope, "any")
    assert EVERYBODY.covers_all()
    assert not NOBODY.covers_all()
    assert not NOBODY.covers("")


@pytest.mark.parametrize("given_", [[], ["all"], ["read", "Write"], [1], [None], ["read write"]])
def test_unknown_scopes_are_refused(given_: list[object]) -> None:
    with pytest.raises(InvalidField, match="read, write, admin, metrics"):
        scopes_from_names(given_)


@pytest.mark.parametrize("pattern", ["", "a b", "[ab]", "a/b", "ü", "a" * 65, None, 3, "a\n"])
def test_what_is_no_pattern_is_refused(pattern: object) -> None:
    with pytest.raises(InvalidField):
        checked_patterns(["ok", pattern])


@pytest.mark.parametrize("name", ["", "-a", "a b", "a\n", "a" * 65, None, "ü", "a=b"])
def test_a_name_that_could_confuse_a_log_is_refused(name: object) -> None:
    with pytest.raises(InvalidField):
        checked_name(name)
