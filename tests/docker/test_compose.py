"""The Compose file: valid, and in agreement with the image and the service."""

from __future__ import annotations

import re
from typing import Any

import pytest
from compose_spec import PyCompose

from app.api.app import open_guard
from app.api.server import GRACE_S
from app.config import Settings, read_settings

from .reading import (
    COMPOSE,
    DOCKERFILE,
    IGNORE,
    ROOT,
    BuildContext,
    Stage,
    interpolated,
    read_compose,
    read_dockerfile,
)

ENCODERS_GRACE_S = 5.0
"""What `EncoderRegistry.close` takes at most."""


@pytest.fixture(scope="module")
def text() -> str:
    return interpolated(COMPOSE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    services: dict[str, dict[str, Any]] = read_compose()["services"]
    assert {name for name, one in services.items() if "profiles" not in one} == {"likewise"}
    return services["likewise"]


@pytest.fixture(scope="module")
def image() -> Stage:
    return read_dockerfile(DOCKERFILE.read_text(encoding="utf-8"))[-1]


def _mounts(service: dict[str, Any]) -> dict[str, str]:
    """Folder in the container → volume."""
    return {target: name for name, target, *_ in (each.split(":") for each in service["volumes"])}


def test_it_is_a_valid_compose_file(text: str) -> None:
    PyCompose.from_yaml(text).validate()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("read_only:", "readonly:"),
        ("memory: ", "ram: "),
        ("45s", "soon"),
        ("init: true", "init: 2"),
    ],
)
def test_the_validator_sees_mistakes(text: str, right: str, wrong: str) -> None:
    assert right in text
    with pytest.raises(ValueError, match=r"line \d+"):
        PyCompose.from_yaml(text.replace(right, wrong))


def test_it_starts_without_any_variable_set(text: str) -> None:
    assert "$" not in text


def test_its_variables_are_not_taken_for_settings() -> None:
    variables = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE.read_text(encoding="utf-8")))
    assert variables
    assert not [name for name in variables if name.startswith("LIKEWISE_")]


def test_it_builds_the_dockerfile_of_this_repository_with_arguments_it_has(
    service: dict[str, Any],
) -> None:
    folder = (COMPOSE.parent / service["build"]["context"]).resolve()
    assert folder == ROOT
    assert folder / service["build"]["dockerfile"] == DOCKERFILE
    for argument in service["build"]["args"]:
        assert f"\nARG {argument}=" in DOCKERFILE.read_text(encoding="utf-8")


def test_the_port_of_the_image_is_published_on_this_machine_only(
    service: dict[str, Any], image: Stage
) -> None:
    (published,) = service["ports"]
    address, _, target = published.split(":")
    assert (address, target) == ("127.0.0.1", image.last("EXPOSE").rest)


def test_without_a_key_it_starts_and_with_one_it_asks_for_it(
    service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, value)
    unguarded = read_settings()
    assert unguarded.allow_anonymous
    assert open_guard(unguarded) is None
    assert '"${API_KEY:-}"' in COMPOSE.read_text(encoding="utf-8")
    monkeypatch.setenv("LIKEWISE_API_KEY", "x" * 32)
    assert open_guard(read_settings()) is not None


def test_each_volume_of_the_image_has_a_name(service: dict[str, Any], image: Stage) -> None:
    mounts = _mounts(service)
    assert sorted(mounts) == sorted(image.last("VOLUME").arguments)
    others = {
        volume
        for one in read_compose()["services"].values()
        for volume in _mounts(one).values()
        if not volume.startswith("./")
    }
    assert set(mounts.values()) <= others == set(read_compose()["volumes"])


def test_nothing_but_volumes_and_tmp_can_be_written(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service  # the image's, which is not root


def test_stopping_leaves_the_service_the_time_it_takes(service: dict[str, Any]) -> None:
    assert service["init"] is True
    assert float(service["stop_grace_period"].removesuffix("s")) > GRACE_S + ENCODERS_GRACE_S


def test_its_encoder_comes_with_the_image(service: dict[str, Any]) -> None:
    name = service["environment"]["LIKEWISE_DEFAULT_ENCODER"]
    assert name == Settings.model_fields["default_encoder"].default
    context = BuildContext(IGNORE.read_text(encoding="utf-8"))
    manifest = f"models/{name}/encoder.toml"
    assert (ROOT / manifest).is_file()
    assert context.has(manifest)
