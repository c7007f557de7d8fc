"""What is promised of a disk that is full, takes no writes, or fails to sync.

A real service over HTTP; the full disk is a small file system, the others are errors that system
calls return (`faults.c`).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.crash.service import Client, Launcher

DIMENSION = 64


@contextmanager
def serving(launcher: Launcher, *, head_points: int = 2000) -> Iterator[Client]:
    """A service, killed at the end as if it had crashed."""
    service = launcher.start(
        LIKEWISE_RESERVE_BYTES=str(2 << 20), LIKEWISE_HEAD_POINTS=str(head_points)
    )
    client = None
    try:
        service.wait_for_start()
        client = service.client()
        yield client
    finally:
        if client is not None:
            client.close()
        service.kill()


def points(first: int, count: int) -> dict[str, Any]:
    numbers = range(first, first + count)
    return {
        "points": [
            {"id": n, "vector": [float(n % 7), *[1.0] * (DIMENSION - 1)], "attributes": {"n": n}}
            for n in numbers
        ]
    }


def create(client: Client, name: str) -> tuple[int, Any]:
    return client.call("PUT", f"/v1/collections/{name}", {"dimension": DIMENSION, "metric": "l2"})


def upsert(client: Client, name: str, first: int, count: int = 10) -> tuple[int, Any]:
    return client.call("PUT", f"/v1/collections/{name}/points", points(first, count))


def delete(client: Client, name: str, ids: list[int]) -> tuple[int, Any]:
    return client.call("POST", f"/v1/collections/{name}/points/delete", {"ids": ids})


def calibrate(client: Client, name: str) -> tuple[int, Any]:
    """Keep something small beside the points."""
    wanted = {"scores": [0.1, 0.9] * 10, "matches": [False, True] * 10}
    return client.call("PUT", f"/v1/collections/{name}/calibrations/c", wanted)


def count(client: Client, name: str) -> int:
    answer = client.ask("POST", f"/v1/collections/{name}/points/count", {})
    number: int = answer["count"]
    return number


def query(client: Client, name: str) -> int:
    body = {"vector": [0.0, *[1.0] * (DIMENSION - 1)], "k": 5}
    return len(client.ask("POST", f"/v1/collections/{name}/query", body)["points"])


def engine(client: Client) -> dict[str, Any]:
    told: dict[str, Any] = client.ask("GET", "/readyz")["components"]["engine"]
    return told


def filled(client: Client, name: str, stored: int = 0) -> int:
    """Add points until the disk is full to the brim; returns how many there are then."""
    for size in (500, 20, 1):
        while (answered := upsert(client, name, stored, size))[0] == 200:
            stored += size
            assert stored < 100_000
        status, answer = answered
        assert (status, answer["type"]) == (507, "urn:likewise:problem:storage-full")
    return stored


def test_a_full_disk_refuses_writes_serves_reads_and_can_be_emptied(small_disk: Launcher) -> None:
    # Without builds, whose files come and go: so that a full disk stays full.
    with serving(small_disk, head_points=1_000_000) as client:
        for name in ("kept", "large"):
            assert create(client, name)[0] == 201
        assert upsert(client, "kept", 0, 500)[0] == 200
        stored = filled(client, "large")
        for _ in range(2):  # nothing of the last write was kept, and reads go on
            assert count(client, "large") == stored
            assert query(client, "large") == query(client, "kept") == 5
        told = engine(client)
        assert (told["status"], told["writable"]) == ("degraded", False)
        assert "full" in told["detail"]
        # Removals have room kept for them; what would add something does not get it.
        assert delete(client, "large", list(range(50))) == (200, {"deleted": 50})
        assert count(client, "large") == stored - 50
        assert upsert(client, "kept", 500, 100)[0] == 507
        assert create(client, "more")[0] == 507
        assert calibrate(client, "kept")[0] == 507
        assert client.ask("GET", "/v1/collections/kept/calibrations") == {"calibrations": []}
        # With the room of a large collection everything works again, without another start.
        assert client.call("DELETE", "/v1/collections/large")[0] == 204
        assert create(client, "more")[0] == 201
        assert upsert(client, "kept", 500)[0] == 200
        assert calibrate(client, "kept")[0] == 201
        told = engine(client)
        assert (told["status"], told["writable"]) == ("ok", True)
        stored = filled(client, "more")

    with serving(small_disk) as client:  # a crash, and a start on the full disk, with builds
        assert (count(client, "kept"), count(client, "more")) == (510, stored)
        assert client.ask("GET", "/v1/collections/kept/calibrations/c")["pairs"] == 20
        assert query(client, "more") == 5
        stored = filled(client, "more", stored)
        assert (count(client, "more"), query(client, "more")) == (stored, 5)
        assert client.call("DELETE", "/v1/collections/more")[0] == 204
        assert upsert(client, "kept", 510)[0] == 200
        assert count(client, "kept") == 520


def test_a_disk_that_takes_no_writes_is_read(troubled: tuple[Launcher, Path]) -> None:
    launcher, faults = troubled
    with serving(launcher) as client:
        assert create(client, "read-only")[0] == 201
        assert upsert(client, "read-only", 0)[0] == 200
        faults.write_text(f"write {errno.EROFS}")
        try:
            refused = [
                upsert(client, "read-only", 10),
                delete(client, "read-only", [1]),
                create(client, "another"),
                client.call("DELETE", "/v1/collections/read-only"),
                client.call("PATCH", "/v1/collections/read-only", {"index": {"m": 8}}),
                calibrate(client, "read-only"),
            ]
            told = [(status, answer["type"].rpartition(":")[2]) for status, answer in refused]
            assert told == [(503, "storage-read-only")] * 6
            assert count(client, "read-only") == 10
            assert query(client, "read-only") == 5
            assert engine(client)["writable"] is False
        finally:
            faults.write_text("")
        assert upsert(client, "read-only", 10)[0] == 200
        assert engine(client)["writable"] is True
    with serving(launcher) as client:
        assert count(client, "read-only") == 20
        assert client.call("DELETE", "/v1/collections/read-only")[0] == 204


def test_what_could_not_be_synced_does_not_come_back(troubled: tuple[Launcher, Path]) -> None:
    launcher, faults = troubled
    with serving(launcher) as client:
        assert create(client, "synced")[0] == 201
        assert upsert(client, "synced", 0)[0] == 200
        faults.write_text(f"sync {errno.EIO}")
        try:
            for _ in range(2):
                status, answer = upsert(client, "synced", 10)
                assert (status, answer["type"]) == (500, "urn:likewise:problem:stored-data")
            assert count(client, "synced") == 10
        finally:
            faults.write_text("")
        assert upsert(client, "synced", 20)[0] == 200
        assert count(client, "synced") == 20
    with serving(launcher) as client:
        assert count(client, "synced") == 20
        body = {"ids": [0, 10, 20]}
        found = client.ask("POST", "/v1/collections/synced/points/get", body)
        assert found["missing"] == [10]


def test_a_folder_is_on_the_disk_before_its_name_is(troubled: tuple[Launcher, Path]) -> None:
    """The order that a power cut needs, which no killed process can show."""
    launcher, _ = troubled
    log = launcher.folder / "syncs"
    with serving(launcher) as client:
        assert create(client, "ordered")[0] == 201
        log.write_text("")
        assert upsert(client, "ordered", 0, 2500)[0] == 200
        path = "/v1/collections/ordered"
        while client.ask("GET", path)["building"]:
            pass
    lines = [line.split(" ") for line in log.read_text().splitlines()]
    named = [(at, line[1], line[2]) for at, line in enumerate(lines) if line[0] == "rename"]
    assert named
    for at, before, after in named:
        synced = {line[1] for line in lines[:at] if line[0] == "sync"}
        files = {str(file) for file in Path(after).rglob("*")} | {after}
        assert {name.replace(after, before, 1) for name in files} <= synced
        later = [line[1] for line in lines[at:] if line[0] == "sync"]
        parent = str(Path(after).parent)
        assert parent in later
        # Only then does the store say that the segment counts.
        assert any(name.endswith("store.sqlite-wal") for name in later[later.index(parent) :])
