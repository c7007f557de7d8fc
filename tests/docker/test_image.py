"""The Dockerfile, held to the code it carries. `make lint` runs hadolint over it as well."""

from __future__ import annotations

import http.server
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pytest
import typer.main

from app.__main__ import cli
from app.api.routes.status import router
from app.config import Settings, read_settings
from tests.certificates import KEY_PASSWORD, make_certificates

from .reading import DOCKERFILE, IGNORE, ROOT, BuildContext, Stage, read_dockerfile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS = {f"LIKEWISE_{name.upper()}" for name in Settings.model_fields}


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    return {stage.name: stage for stage in read_dockerfile(DOCKERFILE.read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def build(stages: dict[str, Stage]) -> Stage:
    return stages["build"]


@pytest.fixture(scope="module")
def service(stages: dict[str, Stage]) -> Stage:
    """The stage that is the image: the last one."""
    assert list(stages)[-1] == "service"
    return stages["service"]


@pytest.fixture(scope="module")
def context() -> BuildContext:
    return BuildContext(IGNORE.read_text(encoding="utf-8"))


def _copied_from_the_repository(stages: dict[str, Stage]) -> list[str]:
    copies = [each for stage in stages.values() for each in stage.all("COPY")]
    return [path for each in copies if "from" not in each.flags for path in each.arguments[:-1]]


def test_whatever_is_copied_exists_and_is_sent_to_the_builder(
    stages: dict[str, Stage], context: BuildContext
) -> None:
    sources = _copied_from_the_repository(stages)
    assert {"app", "models", "pyproject.toml"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert context.files(source), f".dockerignore keeps all of {source} back"


def test_nothing_is_sent_that_is_not_copied(
    stages: dict[str, Stage], context: BuildContext
) -> None:
    copied = {PurePosixPath(path).parts[0] for path in _copied_from_the_repository(stages)}
    assert {path.name for path in ROOT.iterdir() if context.has(path.name)} <= copied


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("models/all-MiniLM-L6-v2/encoder.toml", True),
        ("models/all-MiniLM-L6-v2/model.safetensors", False),
        ("models/all-MiniLM-L6-v2/model.int8.onnx", False),
        ("models/all-MiniLM-L6-v2/built.json", False),
        ("models/tiny/model.onnx", True),
        ("models/tiny-cross/model.onnx", True),
        ("app/storage/schema.sql", True),
        ("app/kernels/__pycache__/graph.search_graph-128.py312.nbi", False),
        ("client/pyproject.toml", False),
        ("data/LOCK", False),
        (".git/config", False),
    ],
)
def test_a_model_is_sent_as_it_is_in_the_repository_and_caches_are_not(
    context: BuildContext, path: str, sent: bool
) -> None:
    assert context.has(path) is sent


def test_every_file_of_the_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    globs = project["tool"]["setuptools"]["package-data"]["app"]
    declared = {path for glob in globs for path in (ROOT / "app").glob(glob)}
    others = {
        path
        for path in (ROOT / "app").rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert declared == others


def test_hnswlib_is_compiled_for_any_processor(build: Stage) -> None:
    installs = [each for each in build.all("RUN") if "pip install" in each.rest]
    before = [each for each in build.all("ENV") if each.line < installs[0].line]
    assert any("HNSWLIB_NO_NATIVE=1" in each.arguments for each in before)
    assert "--no-binary hnswlib" in installs[0].rest


def test_onnx_runtime_reports_nothing_home(stages: dict[str, Stage]) -> None:
    # From 1.29 on it does unless this is set before it is imported.
    assert {s.environment.get("ORT_DISABLE_TELEMETRY") for s in stages.values()} == {"1"}


def test_the_image_does_not_run_as_root(service: Stage) -> None:
    user, _, group = service.last("USER").rest.partition(":")
    created = " ".join(each.rest for each in service.all("RUN"))
    assert f"useradd --uid {user} " in created
    assert f"groupadd --gid {group} " in created
    # A number, so that an orchestrator can tell that it is not root.
    assert int(user) > 0 < int(group)


def test_every_setting_named_in_docker_exists() -> None:
    for path in (file for file in (ROOT / "docker").rglob("*") if file.is_file()):
        named = set(re.findall(r"LIKEWISE_[A-Z_]+", path.read_text(encoding="utf-8")))
        assert named <= SETTINGS, path.name


def test_the_service_finds_its_folders_in_the_volumes_and_listens_on_the_exposed_port(
    service: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in service.environment.items():
        if name in SETTINGS:
            monkeypatch.setenv(name, value)
    settings = read_settings()
    cache = Path(service.environment["NUMBA_CACHE_DIR"])
    volumes = {Path(each) for each in service.last("VOLUME").arguments}
    assert volumes == {settings.data_dir, settings.models_dir, cache}
    assert settings.host == "0.0.0.0"
    assert service.last("EXPOSE").rest == str(settings.port)


def test_a_new_volume_belongs_to_the_user_of_the_image(service: Stage) -> None:
    # Docker fills a new named volume from the image, owners included.
    (made,) = (each.rest for each in service.all("RUN") if "install --directory" in each.rest)
    owned = made.split("install --directory --owner=likewise --group=likewise ")[1].split()
    assert owned == service.last("VOLUME").arguments


def test_volumes_are_declared_after_the_last_step_that_writes_to_them(service: Stage) -> None:
    assert service.last("VOLUME").line > service.all("RUN")[-1].line


def test_the_image_starts_the_service_through_its_entrypoint(service: Stage) -> None:
    (entrypoint,) = service.last("ENTRYPOINT").arguments
    (copied,) = (each for each in service.all("COPY") if each.arguments[0].endswith(".sh"))
    assert copied.arguments == ["docker/entrypoint.sh", f"/usr/local/bin/{entrypoint}"]
    assert copied.flags["chmod"] == "755"
    (command,) = service.last("CMD").arguments
    assert command in typer.main.get_group(cli).commands


class _Answer(http.server.BaseHTTPRequestHandler):
    status: int
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _answering(context: ssl.SSLContext | None = None) -> Iterator[tuple[type[_Answer], int]]:
    class Answer(_Answer):
        status = 200
        asked: list[str] = []  # noqa: RUF012  # one for each test

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Answer, server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def answering() -> Iterator[tuple[type[_Answer], int]]:
    with _answering() as found:
        yield found


def _check(service: Stage, **environment: str) -> bool:
    """Whether the image's health check is content."""
    check = service.last("HEALTHCHECK")
    command = check.rest[check.rest.index("CMD ") + 4 :]
    _, *arguments = read_dockerfile(f"FROM x AS x\nCMD {command}")[0].last("CMD").arguments
    proxy = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **proxy, **environment},
        capture_output=True,
    )
    return done.returncode == 0


def test_the_health_check_speaks_tls_where_the_service_does(service: Stage, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server, made.server_key, KEY_PASSWORD)
    with _answering(context) as (handler, port):
        assert _check(service, LIKEWISE_PORT=str(port), LIKEWISE_TLS_CERT=str(made.server))
        assert handler.asked == ["/healthz"]


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_the_service_itself_even_behind_a_proxy(
    service: Stage, answering: tuple[type[_Answer], int], status: int, healthy: bool
) -> None:
    handler, port = answering
    handler.status = status
    assert _check(service, LIKEWISE_PORT=str(port)) is healthy
    assert set(handler.asked) <= {getattr(route, "path", "") for route in router.routes}
    assert len(handler.asked) == 1
