"""`likewise keys …`: what is printed where, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.access.grants import Grant, Scope
from app.access.keys import digest_of, read_keys
from app.config import WrongSetting
from app.errors import LikewiseError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIKEWISE_KEYS_FILE", str(tmp_path / "keys.json"))
    return tmp_path / "keys.json"


def test_a_new_key_alone_is_on_standard_output(path: Path) -> None:
    arguments = ["--name", "ci", "--scope", "read", "--scope", "metrics", "--collections", "docs-*"]
    done = CliRunner().invoke(cli, ["keys", "new", *arguments])
    assert done.exit_code == 0
    key = done.stdout.strip()
    assert "only time" in done.stderr
    (kept,) = read_keys(path)
    assert kept.digest == digest_of(key.encode())
    assert kept.grant == Grant("ci", frozenset({Scope.READ, Scope.METRICS}), ("docs-*",))

    listed = CliRunner().invoke(cli, ["keys", "list"]).stdout
    assert all(word in listed for word in ("ci", "metrics read", "docs-*"))
    assert key not in listed
    assert kept.digest.hex() not in listed

    assert CliRunner().invoke(cli, ["keys", "remove", "ci"]).exit_code == 0
    assert read_keys(path) == []


def test_a_file_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIKEWISE_KEYS_FILE", raising=False)
    path = tmp_path / "other.json"
    arguments = ["--name", "a", "--scope", "admin"]
    assert CliRunner().invoke(cli, ["keys", "new", *arguments, "--file", str(path)]).exit_code == 0
    assert [key.grant.name for key in read_keys(path)] == ["a"]
    assert isinstance(CliRunner().invoke(cli, ["keys", "list"]).exception, WrongSetting)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--name", "a b", "--scope", "read"],
        ["--name", "a", "--scope", "root"],
        ["--name", "a", "--scope", "read", "--collections", "[a]"],
        ["--name", "a", "--scope", "read", "--collections", ""],
    ],
)
def test_what_makes_no_sense_makes_no_key(path: Path, arguments: list[str]) -> None:
    done = CliRunner().invoke(cli, ["keys", "new", *arguments])
    assert isinstance(done.exception, LikewiseError)
    assert not path.exists()
