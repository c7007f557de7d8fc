"""`likewise models …`: what it prints, what it changes, and how it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.__main__ import cli
from app.errors import EncoderNotFound, EncoderUnavailable
from tests.encoders.hub import COMMIT, Hub
from tests.encoders.layouts import layout, weights
from tests.encoders.models import TINY


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(layout() | {"model.safetensors": weights()})
    yield hub
    hub.close()


@pytest.fixture
def models(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models directory with the tiny encoder, and the hub of the environment."""
    shutil.copytree(TINY, tmp_path / "tiny")
    for name in ("LIKEWISE_HUB_ENDPOINT", "LIKEWISE_HUB_TOKEN", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIKEWISE_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["models", *arguments])


def printed(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_model_is_pulled_verified_listed_and_removed(models: Path) -> None:
    pulled = printed("pull", "some/model")
    assert pulled == {
        "name": "model",
        "folder": str(models / "model"),
        "dimension": 16,
        "fresh": True,
        "notes": [],
    }
    assert COMMIT in (models / "model" / "encoder.toml").read_text()
    assert (models / "model" / "model.int8.onnx").is_file(), "built and loaded once"
    assert printed("pull", f"some/model@{COMMIT}")["fresh"] is False
    assert [info["name"] for info in printed("list")] == ["model", "tiny"]
    assert "model" in run("list").stdout
    assert printed("verify") == [{"name": "model", "faults": []}, {"name": "tiny", "faults": []}]
    assert run("verify", "model").stdout == "model: whole\n"
    assert run("remove", "model", "--yes").exit_code == 0
    assert [path.name for path in models.iterdir()] == ["tiny"]


def test_damage_is_named_and_ends_with_status_1(models: Path) -> None:
    run("pull", "some/model", "--variant", "fp32", "--no-load")
    assert run("verify", "model").stdout == "model: its graph is not built\n"
    assert run("build", "model").stdout == "model: ready, 16 numbers a vector\n"
    assert run("verify", "model").exit_code == 0
    tokenizer = models / "model" / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes() + b" ")
    done = run("verify", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)[0]["faults"] == ["tokenizer.json has another sha256"]
    tokenizer.unlink()
    assert run("verify", "model").stdout == "model: tokenizer.json is missing\n"
    assert "nothing to compare with" in run("verify", "nobody").stdout


def test_a_token_of_the_environment_is_used(
    models: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.gated = "hf_secret"
    assert isinstance(run("pull", "some/model").exception, EncoderUnavailable)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert run("pull", "some/model", "--no-load").exit_code == 0
    assert "hf_secret" not in run("list").output
    assert "hf_secret" not in CliRunner().invoke(cli, ["settings"]).output


def test_what_is_not_there_is_said_and_nothing_is_deleted(models: Path) -> None:
    assert isinstance(run("pull", "some/other").exception, EncoderNotFound)
    assert isinstance(run("build", "nobody").exception, EncoderNotFound)
    for name in ("nobody", "..", "", "../tiny"):
        assert run("remove", name, "--yes").exit_code == 1
    assert CliRunner().invoke(cli, ["models", "remove", "tiny"], input="n\n").exit_code == 1
    assert (models / "tiny" / "model.onnx").is_file()
