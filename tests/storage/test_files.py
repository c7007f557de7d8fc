"""The lock of a data directory."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.errors import DirectoryInUse
from app.storage.files import lock_folder


def test_a_lock_that_is_let_go_in_a_moment_is_waited_for(tmp_path: Path) -> None:
    held = lock_folder(tmp_path)
    with pytest.raises(DirectoryInUse):
        lock_folder(tmp_path)
    letting_go = threading.Timer(0.1, held.close)
    letting_go.start()
    lock_folder(tmp_path).close()
    letting_go.join()
