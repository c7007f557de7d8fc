"""The running application on every backend there is, empty or with a collection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.backends.base import Backend
from app.backends.local import LocalBackend
from app.config import Settings
from tests.reference_backend import ReferenceBackend

from .harness import InProcess, running, settings


def open_backend(kind: str, chosen: Settings) -> Backend:
    """A fresh backend of a kind."""
    if kind == "reference":
        return ReferenceBackend()
    return LocalBackend(chosen.data_dir, sync=False, head_points=64, build_threads=1)


@pytest.fixture(scope="session", params=["reference", "local"])
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InProcess]:
    """One application for all tests on a kind of backend: starting it takes longer than they do."""
    chosen = settings(tmp_path_factory.mktemp(request.param))
    with running(chosen, open_backend(request.param, chosen)) as app:
        app.wait_for_encoders()
        yield app


@pytest.fixture
def api(started: InProcess) -> Iterator[InProcess]:
    """An application without collections, its encoder ready; one test for each backend."""
    yield started
    started.drop_all()


@pytest.fixture(scope="session")
def started_plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """One application on the reference backend."""
    with running(settings(tmp_path_factory.mktemp("plain")), ReferenceBackend()) as app:
        app.wait_for_encoders()
        yield app


@pytest.fixture
def plain(started_plain: InProcess) -> Iterator[InProcess]:
    """An application on the reference backend, for what no backend has a say in."""
    yield started_plain
    started_plain.drop_all()


@pytest.fixture
def vectors(api: InProcess) -> InProcess:
    """`api` with a collection "c" of three-dimensional vectors (cosine) and no points."""
    assert api.put("/v1/collections/c", {"dimension": 3}).status_code == 201
    return api


@pytest.fixture
def texts(api: InProcess) -> InProcess:
    """`api` with a collection "t": a vector "body" made by the tiny encoder, one "own" of two
    numbers (l2)."""
    definition = {"vectors": {"body": {}, "own": {"dimension": 2, "metric": "l2"}}}
    assert api.put("/v1/collections/t", definition).status_code == 201
    return api
