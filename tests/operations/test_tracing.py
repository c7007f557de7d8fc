"""Traces: nothing at all without an endpoint, one clear line without the packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.config import read_settings
from tests.launched import environment

_WITHOUT_SDK = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_an_endpoint_nothing_is_imported_and_nothing_is_wrapped(tmp_path: Path) -> None:
    program = (
        "import sys; from app.api.app import create_app; from app.config import read_settings; "
        "app = create_app(read_settings()); stack = app.build_middleware_stack(); "
        "assert type(stack).__name__ == 'Shortcut', stack; "
        # Versions of FastAPI import the interface by themselves; what sends is the SDK.
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]"
    )
    done = run(tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr


def test_without_the_packages_an_endpoint_ends_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_WITHOUT_SDK)
    more = environment(tmp_path)["PYTHONPATH"]
    done = run(
        tmp_path,
        *("-m", "app", "serve"),
        LIKEWISE_OTLP_ENDPOINT="http://127.0.0.1:9",
        PYTHONPATH=f"{tmp_path}:{more}",
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "likewise: LIKEWISE_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: "
        "pip install 'likewise-server[tracing]'"
    ]


@pytest.mark.parametrize("name", ["LIKEWISE_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_the_endpoint_has_two_names(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://collector:4318")
    assert read_settings().otlp_endpoint == "http://collector:4318"
