from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.backends.base import Backend
from app.backends.local import LocalBackend


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Backend]:
    """The embedded engine, which does not build graphs: a few thousand points are scanned."""
    backend = LocalBackend(tmp_path, sync=False, head_points=1_000_000, build_threads=1)
    yield backend
    backend.close()
