"""Services on disks in trouble: real ones, spoken to over HTTP."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.service import Launcher

SOURCE = Path(__file__).with_name("faults.c")


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled library of `faults.c`."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", library, SOURCE, "-ldl"]
    subprocess.run([str(part) for part in command], check=True)
    return library


@pytest.fixture(scope="module")
def troubled(
    faults: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Launcher, Path]]:
    """A launcher whose services obey a file of faults, and that file."""
    folder = tmp_path_factory.mktemp("troubled")
    said = folder / "faults"
    launcher = Launcher(
        folder,
        LD_PRELOAD=str(faults),
        FAULTS_UNDER=str(folder / "data"),
        FAULTS=str(said),
        FAULTS_LOG=str(folder / "syncs"),
    )
    yield launcher, said
    launcher.close()


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """A launcher whose data directory is a file system of 24 MB."""
    folder = tmp_path_factory.mktemp("small")
    data = folder / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(data)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small file system here")
    launcher = Launcher(folder)
    try:
        yield launcher
    finally:
        launcher.close()
        subprocess.run(["umount", "-l", str(data)], check=True)
