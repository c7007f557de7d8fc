"""The key file: what is in it, how it changes, and what is refused."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import re
from pathlib import Path
from typing import Any

import pytest

from app.access import keys as module
from app.access.grants import Grant, Scope
from app.access.keys import add_key, new_key, read_keys, remove_key
from app.errors import Conflict, CorruptFile, NotFound, StoredDataError

READ = frozenset({Scope.READ})
ENTRY = {"name": "a", "sha256": "0" * 64, "scopes": ["read"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_keys_look_like_keys_and_differ() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"lw_[A-Za-z0-9_-]{43}", key) for key in made)


def test_a_file_holds_the_digest_and_never_the_key(path: Path) -> None:
    key = add_key(path, Grant("ci", frozenset({Scope.WRITE}), ("docs-*",)))
    assert key not in path.read_text()
    (kept,) = read_keys(path)
    assert kept.digest == hashlib.sha256(key.encode()).digest()
    assert kept.grant == Grant("ci", frozenset({Scope.WRITE}), ("docs-*",))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", kept.created_at)


def test_only_its_owner_can_read_a_file(path: Path) -> None:
    add_key(path, Grant("a", READ))
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    add_key(path, Grant("b", READ))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"], (
        "nothing is left beside it"
    )


def test_keys_are_appended_and_removed_by_name(path: Path) -> None:
    for name in ("a", "b", "c"):
        add_key(path, Grant(name, READ))
    remove_key(path, "b")
    assert [key.grant.name for key in read_keys(path)] == ["a", "c"]
    with pytest.raises(NotFound, match="'b'"):
        remove_key(path, "b")
    with pytest.raises(Conflict, match="'a'"):
        add_key(path, Grant("a", READ))
    for name in ("a", "c"):
        remove_key(path, name)
    assert read_keys(path) == []


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(path)
    add_key(link, Grant("a", READ))
    assert link.is_symlink()
    assert len(read_keys(path)) == 1


def _add_some(path: Path, who: int) -> None:
    for n in range(5):
        add_key(path, Grant(f"k{who}-{n}", READ))


def test_commands_at_the_same_time_lose_no_key(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_some, args=(path, who)) for who in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(read_keys(path)) == 15


def test_a_change_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_key(path, Grant("a", READ))
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StoredDataError, match="No space left"):
        add_key(path, Grant("b", READ))
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"]


def test_a_missing_file_is_named_with_what_makes_one(path: Path) -> None:
    with pytest.raises(StoredDataError, match="likewise keys new --file"):
        read_keys(path)
    with pytest.raises(StoredDataError):
        remove_key(path, "a")
    with pytest.raises(StoredDataError, match="cannot be written"):
        add_key(path / "nowhere" / "keys.json", Grant("a", READ))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"keys": {}}', b'{"keys": [], "more": 1}',
        b"[" * 100_000,
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_key_file_is_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=r"keys\.json is damaged"):
        read_keys(path)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"}, {"name": None}, {"sha256": "0" * 63}, {"sha256": "G" * 64},
        {"sha256": None}, {"scopes": []}, {"scopes": "read"}, {"scopes": ["root"]},
        {"collections": "docs-*"}, {"collections": [1]}, {"collections": None},
        {"collection": ["docs-*"]}, {"created_at": 5},
    ],
    ids=repr,
)  # fmt: skip
def test_one_bad_entry_makes_the_whole_file_unusable(path: Path, change: dict[str, Any]) -> None:
    path.write_text(
        json.dumps({"keys": [ENTRY, {**ENTRY, "name": "b", "sha256": "1" * 64, **change}]})
    )
    with pytest.raises(CorruptFile, match="key 1: "):
        read_keys(path)


@pytest.mark.parametrize("change", [{"name": "b"}, {"sha256": "1" * 64}])
def test_two_keys_of_one_name_or_digest_are_refused(path: Path, change: dict[str, Any]) -> None:
    path.write_text(json.dumps({"keys": [ENTRY, {**ENTRY, **change}]}))
    with pytest.raises(CorruptFile, match="two keys have the same"):
        read_keys(path)


def test_no_collections_are_all_of_them_and_an_empty_list_is_none(path: Path) -> None:
    some = {**ENTRY, "name": "b", "sha256": "1" * 64, "collections": []}
    path.write_text(json.dumps({"keys": [ENTRY, some]}))
    everywhere, nowhere = (key.grant for key in read_keys(path))
    assert everywhere.covers("any")
    assert not nowhere.covers("any")
