"""Snapshots through both clients and through the command line, against a real service."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from likewise import (
    Client,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    Retries,
    TransportError,
)
from typer.testing import CliRunner

from app.__main__ import cli

from .conftest import Reply, Stub

POINTS = [{"id": n, "vector": [n, 0.5], "attributes": {"n": n}, "text": f"t{n}"} for n in range(50)]


@pytest.fixture
def films(service: str, connect: Any) -> Any:
    client = connect(service)
    films = client.create_collection("films", dimension=2, metric="l2")
    films.upsert(POINTS)
    yield films
    for info in client.collections():
        client.collection(info.name).drop()
    for snapshot in client.snapshots():
        client.drop_snapshot(snapshot.name)


def test_a_snapshot_travels_through_a_file(
    service: str, connect: Any, films: Any, tmp_path: Path
) -> None:
    client = connect(service)
    taken = films.snapshot("s")
    assert [taken] == client.snapshots()
    assert client.describe_snapshot("s") == taken
    seen: list[tuple[int, int]] = []
    path = client.download_snapshot(
        "s", tmp_path / "s.snapshot", progress=lambda *a: seen.append(a)
    )
    assert hashlib.sha256(path.read_bytes()).hexdigest() == taken.sha256
    assert seen[-1] == (taken.size, taken.size)
    with pytest.raises(FileExistsError):
        client.download_snapshot("s", path)
    assert [file.name for file in tmp_path.iterdir()] == ["s.snapshot"]
    seen.clear()
    kept = client.upload_snapshot(path, "t", progress=lambda *a: seen.append(a))
    assert (kept.sha256, kept.points) == (taken.sha256, 50)
    assert seen[-1] == (taken.size, taken.size)
    copy = client.restore("t", "copy")
    assert copy.name == "copy"
    assert [record.id for record in copy.scroll()] == list(range(50))
    assert list(copy.scroll(with_vectors=True)) == list(films.scroll(with_vectors=True))


def test_conflicts_and_faults_arrive_as_errors(
    service: str, connect: Any, films: Any, tmp_path: Path
) -> None:
    client = connect(service)
    films.snapshot("s")
    with pytest.raises(ConflictError):
        films.snapshot("s")
    with pytest.raises(ConflictError):
        client.restore("s")
    films.delete(filter={})
    assert client.restore("s", replace=True).count() == 50
    with pytest.raises(NotFoundError):
        client.download_snapshot("nothing", tmp_path / "nothing")
    wrong = tmp_path / "wrong.snapshot"
    wrong.write_bytes(b"x" * 5_000_000)
    with pytest.raises(InvalidRequestError, match="no snapshot"):
        client.upload_snapshot(wrong)
    with pytest.raises(ConflictError):
        client.upload_snapshot(wrong, "s")
    assert [file.name for file in tmp_path.iterdir()] == ["wrong.snapshot"]


def test_a_download_that_was_changed_on_its_way_is_not_kept(
    connect: Any, stub: Stub, tmp_path: Path
) -> None:
    stub.plays(Reply(body=b"changed", headers={"etag": '"' + "0" * 64 + '"'}))
    with pytest.raises(TransportError, match="SHA-256"):
        connect(stub.url).download_snapshot("s", tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_broke_starts_again(connect: Any, stub: Stub, tmp_path: Path) -> None:
    etag = f'"{hashlib.sha256(b"whole").hexdigest()}"'
    stub.plays(Reply(hang_up=True), Reply(body=b"whole", headers={"etag": etag}))
    client = connect(stub.url, retries=Retries(attempts=1, first_wait_s=0.001))
    assert client.download_snapshot("s", tmp_path / "s").read_bytes() == b"whole"


# ── the command line ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A function (url, *arguments) → what `likewise snapshot …` did in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIKEWISE_API_KEY", raising=False)
    return lambda url, *given: CliRunner().invoke(cli, ["snapshot", *given, "--url", url])


def test_the_command_line_takes_moves_and_restores(
    service: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    with Client(service) as client:
        client.create_collection("films", dimension=2, metric="l2").upsert(POINTS)
        try:
            done = run(service, "create", "films", "--name", "monday")
            assert (done.exit_code, done.stdout[:19]) == (0, "monday: 50 points, "), done.stderr
            sha256 = client.describe_snapshot("monday").sha256
            assert sha256 in run(service, "list").stdout
            done = run(service, "download", "monday")
            assert done.stdout == f"monday.snapshot: {sha256}\n", done.stderr
            assert [file.name for file in tmp_path.iterdir()] == ["monday.snapshot"]
            assert run(service, "delete", "monday").stdout == "monday: deleted\n"
            assert client.snapshots() == []
            done = run(service, "upload", "monday.snapshot")
            assert done.stdout.startswith("monday: 50 points, "), done.stderr
            refused = run(service, "restore", "monday")
            assert refused.exit_code == 1
            assert refused.stderr.startswith("likewise: a collection named 'films' exists")
            assert refused.stderr.count("\n") == 1
            done = run(service, "restore", "monday", "--collection", "copy")
            assert done.stdout == "copy: 50 points\n", done.stderr
            done = run(service, "restore", "monday", "--replace")
            assert done.stdout == "films: 50 points\n", done.stderr
            assert client.collection("copy").count() == 50
        finally:
            for info in client.collections():
                client.collection(info.name).drop()
            for snapshot in client.snapshots():
                client.drop_snapshot(snapshot.name)


def test_the_command_line_says_in_one_line_what_is_wrong(
    service: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "x.snapshot").write_bytes(b"x" * 3_000_000)
    for url, arguments, words in (
        (service, ["create", "nothing"], "there is no collection named 'nothing' [404]"),
        (service, ["download", "nothing"], "there is no snapshot named 'nothing' [404]"),
        (service, ["delete", ".."], "starts with a letter or a digit"),
        (service, ["upload", "x.snapshot"], "no snapshot"),
        (service, ["upload", "y.snapshot"], "y.snapshot cannot be used: No such file"),
        ("http://127.0.0.1:9", ["list"], "cannot be asked"),
    ):
        done = run(url, *arguments)
        assert done.exit_code == 1
        (line,) = (line for line in done.stderr.splitlines() if line.startswith("likewise: "))
        assert words in line
        assert done.exception is None or isinstance(done.exception, SystemExit)
    assert [file.name for file in tmp_path.iterdir()] == ["x.snapshot"]
