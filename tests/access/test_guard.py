"""The guard: known credentials pass, and files that change, vanish or break."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

import pytest

from app.access.grants import Grant, Scope
from app.access.guard import LOOK_S, MOST_CREDENTIAL_BYTES, Guard
from app.access.keys import add_key, read_keys, remove_key
from app.errors import CorruptFile, StoredDataError, Unauthenticated

READ = Grant("reader", frozenset({Scope.READ}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def knows(guard: Guard, key: str) -> bool:
    try:
        guard.grant(key.encode())
    except Unauthenticated:
        return False
    return True


def test_a_known_key_gives_its_grant_and_no_other_does(path: Path) -> None:
    key = add_key(path, READ)
    fixed = Grant("fixed", frozenset({Scope.ADMIN}))
    guard = Guard(keys_file=path, fixed_keys=[(fixed, b"from-the-environment")])
    assert guard.grant(key.encode()) == READ
    assert guard.grant(b"from-the-environment") is fixed
    digest = read_keys(path)[0].digest
    for wrong in (key[:-1], key + "x", key.upper(), "", "lw_", digest.hex()):
        assert not knows(guard, wrong), wrong
    with pytest.raises(Unauthenticated):
        guard.grant(digest)
    with pytest.raises(Unauthenticated, match="at most"):
        guard.grant(b"x" * (MOST_CREDENTIAL_BYTES + 1))


def test_keys_come_and_go_with_the_file(path: Path) -> None:
    first = add_key(path, READ)
    guard = Guard(keys_file=path)
    second = add_key(path, Grant("second", READ.scopes))
    assert not knows(guard, second)
    guard.refresh()
    assert knows(guard, first)
    assert knows(guard, second)
    remove_key(path, "reader")
    guard.refresh()
    assert not knows(guard, first)
    remove_key(path, "second")
    guard.refresh()
    assert not knows(guard, second), "no keys are no open door"


@pytest.mark.parametrize("damage", ["vanished", "truncated", "emptied", "a folder", "open to all"])
def test_a_lost_file_leaves_the_last_good_keys_and_is_logged_once(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = add_key(path, READ)
    guard = Guard(keys_file=path)
    good = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(good[: len(good) // 2])
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "a folder":
        path.mkdir()
    elif damage == "open to all":
        path.write_text(json.dumps({"keys": [{"name": "x"}]}))
    with caplog.at_level(logging.ERROR):
        guard.refresh()
        guard.refresh()
    assert knows(guard, key)
    assert not knows(guard, "anything else")
    assert len(caplog.records) == 1
    assert "stays in force" in caplog.text
    if damage == "a folder":
        path.rmdir()
    path.write_bytes(good.replace(b'"reader"', b'"renamed"'))
    guard.refresh()
    assert guard.grant(key.encode()).name == "renamed"


def test_a_file_of_the_same_size_and_time_is_seen_by_its_inode(path: Path) -> None:
    key = add_key(path, READ)
    guard = Guard(keys_file=path)
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes().replace(b"reader", b"writer"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    guard.refresh()
    assert guard.grant(key.encode()).name == "writer"


def test_without_a_good_file_there_is_no_guard(path: Path) -> None:
    with pytest.raises(StoredDataError, match="no key file"):
        Guard(keys_file=path)
    path.write_text("{")
    with pytest.raises(CorruptFile):
        Guard(keys_file=path)


def test_it_looks_by_itself_and_stops_when_closed(path: Path) -> None:
    add_key(path, READ)
    guard = Guard(keys_file=path)
    guard.start()
    try:
        added = add_key(path, Grant("added", READ.scopes))
        deadline = time.monotonic() + 10 * LOOK_S
        while not knows(guard, added):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        guard.close()
    assert guard._watcher is not None
    assert not guard._watcher.is_alive()
