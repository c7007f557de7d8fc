"""Every backend, opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.backends.base import Backend
from app.backends.local import LocalBackend
from tests.builders import Clock, definition, point
from tests.reference_backend import ReferenceBackend


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["reference", "local"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Backend]:
    opened: Backend
    if request.param == "reference":
        opened = ReferenceBackend(clock)
    else:
        opened = LocalBackend(tmp_path, sync=False, head_points=10, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def filled(backend: Backend) -> Backend:
    """Collection "c" under the inner product: points 0 … 9 at (n, 1, 0, 0), and a string id."""
    backend.create("c", definition())
    backend.upsert(
        "c", [point(n, [n, 1, 0, 0], f"text {n}", n=n, even=n % 2 == 0) for n in range(10)]
    )
    backend.upsert("c", [point("ten", [10, 1, 0, 0], n=10, even=True, tags=["a", "b"])])
    return backend
