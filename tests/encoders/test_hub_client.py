"""The hub's protocol: what is asked of it, what is believed, and what interruptions cost."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.encoders.base import no_progress
from app.encoders.files import alone
from app.encoders.hub import client
from app.encoders.hub.answers import HubError, HubFile, HubMissing, Repository
from app.encoders.hub.client import PARTIAL, Patience
from tests.encoders.hub import COMMIT, LARGE, Hub, blob_id

HASTE = Patience(attempts=3, wait_s=0.01, silence_s=0.5)
SMALL, WEIGHTS = b'{"a": 1}', os.urandom(40 * LARGE)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub({"config.json": SMALL, "onnx/model.onnx": WEIGHTS})
    yield hub
    hub.close()


def described(hub: Hub, token: str = "") -> Repository:
    with client.Hub(hub.endpoint, token=token, patience=HASTE) as one:
        return one.describe("some/model", "main")


def download(hub: Hub, path: str, folder: Path, token: str = "") -> str:
    file = next(file for file in described(hub, token).files if file.path == path)
    hub.asked.clear()
    with client.Hub(hub.endpoint, token=token, patience=HASTE) as one:
        return one.download("some/model", COMMIT, file, folder, no_progress)


def store_ranges(hub: Hub) -> list[str | None]:
    return [one.headers.get("range") for one in hub.asked if one.port == hub.ports[1]]


def test_a_revision_becomes_a_commit_and_its_files(hub: Hub) -> None:
    found = described(hub)
    assert (found.commit, found.license, found.released) == (COMMIT, "apache-2.0", "2023-05-06")
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    assert found.files == (
        HubFile("config.json", len(SMALL), blob=blob_id(SMALL)),
        HubFile("onnx/model.onnx", len(WEIGHTS), sha256=digest),
    )


def test_paths_that_leave_the_folder_are_not_seen(hub: Hub) -> None:
    hub.files |= {"../evil": b"x", "/etc/evil": b"x", "a/../../evil": b"x", "a\\evil": b"x"}
    assert len(described(hub).files) == 2


def test_a_description_that_does_not_end_is_none(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LONGEST_ANSWER_BYTES", 64)
    with pytest.raises(HubError, match="not that of a hub"):
        described(hub)


def test_the_token_goes_to_the_hub_and_not_to_its_store(hub: Hub, tmp_path: Path) -> None:
    hub.gated = "hf_secret"
    assert download(hub, "onnx/model.onnx", tmp_path, token="hf_secret")
    sent = [(one.port, one.headers.get("authorization")) for one in hub.asked]
    assert sent == [(hub.ports[0], "Bearer hf_secret"), (hub.ports[1], None)]


def test_what_is_gated_and_what_is_missing_are_told_apart(hub: Hub) -> None:
    with client.Hub(hub.endpoint, patience=HASTE) as one:
        with pytest.raises(HubMissing, match="there is no such revision"):
            one.describe("some/model", "no-such")
        with pytest.raises(HubMissing, match="no such repository"):
            one.describe("some/other", "main")
        hub.gated = "hf_secret"
        with pytest.raises(HubError, match=r"gated, private or does not exist; a token .HF_TOKEN"):
            one.describe("some/model", "main")


def test_a_connection_that_is_cut_again_and_again_goes_on_where_it_stood(
    hub: Hub, tmp_path: Path
) -> None:
    hub.cuts = 6  # more than the attempts: each brings something
    assert download(hub, "onnx/model.onnx", tmp_path) == hashlib.sha256(WEIGHTS).hexdigest()
    assert (tmp_path / "onnx" / "model.onnx").read_bytes() == WEIGHTS
    begins = [int((asked or "bytes=0-")[6:-1]) for asked in store_ranges(hub)]
    assert len(begins) == 7
    assert begins == sorted(set(begins)), "no byte is asked for twice"
    assert not (tmp_path / PARTIAL).exists()


def test_another_process_goes_on_too(hub: Hub, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(what: str, done_bytes: int, total_bytes: int) -> None:
        if done_bytes >= 1:
            raise Stopped

    file = described(hub).files[1]
    with client.Hub(hub.endpoint, patience=HASTE) as one, pytest.raises(Stopped):
        one.download("some/model", COMMIT, file, tmp_path, stop)
    (partial,) = (tmp_path / PARTIAL).iterdir()
    have = partial.stat().st_size
    assert 0 < have < len(WEIGHTS)
    download(hub, "onnx/model.onnx", tmp_path)
    assert store_ranges(hub) == [f"bytes={have}-"]


def test_a_store_without_ranges_is_asked_from_the_start(hub: Hub, tmp_path: Path) -> None:
    hub.cuts, hub.ranges = 2, False
    download(hub, "onnx/model.onnx", tmp_path)
    assert (tmp_path / "onnx" / "model.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize("left", [b"x" * 9_999, WEIGHTS + b"longer", bytes(len(WEIGHTS))])
def test_a_part_of_something_else_is_found_out_and_fetched_anew(
    hub: Hub, tmp_path: Path, left: bytes
) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    partial = tmp_path / PARTIAL / f"onnx--model.onnx.{digest[:16]}"
    partial.parent.mkdir()
    partial.write_bytes(left)
    download(hub, "onnx/model.onnx", tmp_path)
    assert (tmp_path / "onnx" / "model.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize("path", ["config.json", "onnx/model.onnx"])
def test_other_bytes_than_promised_never_get_the_name(hub: Hub, tmp_path: Path, path: str) -> None:
    file = next(file for file in described(hub).files if file.path == path)
    hub.files[path] = bytes(len(hub.files[path]))
    with (
        client.Hub(hub.endpoint, patience=HASTE) as one,
        pytest.raises(HubError, match="arrived with other bytes than the hub promised"),
    ):
        one.download("some/model", COMMIT, file, tmp_path, no_progress)
    assert [*tmp_path.rglob("*")] == []


def test_a_hub_that_is_busy_is_asked_again_and_one_that_stays_so_is_given_up(hub: Hub) -> None:
    hub.refuses = 2
    assert described(hub).commit == COMMIT
    hub.refuses, hub.asked = 99, []
    with pytest.raises(HubError, match="status 503"):
        described(hub)
    assert len(hub.asked) == HASTE.attempts


@pytest.mark.parametrize(
    ("manner", "reason"), [("stall", "no answer within 0.1 s"), ("trickle", "are too slow")]
)
def test_neither_silence_nor_a_trickle_is_waited_for_forever(
    hub: Hub, tmp_path: Path, manner: str, reason: str
) -> None:
    file = described(hub).files[1]
    hub.manner = manner
    brief = Patience(attempts=2, wait_s=0.01, silence_s=0.1)
    with client.Hub(hub.endpoint, patience=brief) as one, pytest.raises(HubError, match=reason):
        one.download("some/model", COMMIT, file, tmp_path, no_progress)


def test_what_is_no_hub_is_said_to_be_none(hub: Hub) -> None:
    hub.description = lambda: {"files": []}  # type: ignore[method-assign]  # a server of another kind
    with pytest.raises(HubError, match="the answer is not that of a hub"):
        described(hub)


def test_many_at_once_fetch_a_file_once(hub: Hub, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda _: download(hub, "onnx/model.onnx", tmp_path), range(4)))
    assert digests == {hashlib.sha256(WEIGHTS).hexdigest()}
    assert (tmp_path / "onnx" / "model.onnx").read_bytes() == WEIGHTS
    assert not (tmp_path / PARTIAL).exists()


def test_a_disk_without_room_is_noticed_first(hub: Hub, tmp_path: Path) -> None:
    file = HubFile("onnx/model.onnx", 1 << 60, "0" * 64)
    with (
        client.Hub(hub.endpoint, patience=HASTE) as one,
        pytest.raises(HubError, match=r"bytes free, 1152921504606846976 and a little are needed"),
    ):
        one.download("some/model", COMMIT, file, tmp_path, no_progress)
    assert hub.asked == []


def test_a_redirect_away_from_the_web_is_refused(hub: Hub) -> None:
    url = client.httpx.URL("https://hub.example/a")
    for location in ("http://store.example/a", "file:///etc/passwd"):
        with pytest.raises(HubError, match="refused to go on"):
            client._next(url, location, "a")
    assert client._next(url, "/b", "a").host == "hub.example"


def test_whoever_waited_for_a_file_that_was_moved_away_holds_a_new_one(tmp_path: Path) -> None:
    path, entered = tmp_path / PARTIAL / "file", threading.Event()

    def wait_and_hold() -> bool:
        with alone(path, entered.set):
            return path.exists()

    with ThreadPoolExecutor(1) as pool:
        with alone(path, lambda: None):
            path.write_bytes(b"done")
            second = pool.submit(wait_and_hold)
            assert entered.wait(10), "it waits"
            path.replace(tmp_path / "file")
        assert second.result(10)
    assert (tmp_path / "file").read_bytes() == b"done"
    assert not path.exists()
