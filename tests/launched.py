"""The service in a process of its own, started as an operator starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Launched:
    """A service that listens: its address, its process, and where its log goes."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Variables of a service with the small test encoder and its data under `folder`.

    None of the settings around the tests is passed on.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LIKEWISE_", "OTEL_"))
    }
    return kept | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'client'}",
        "LIKEWISE_PORT": "0",
        "LIKEWISE_DATA_DIR": str(folder / "data"),
        "LIKEWISE_MODELS_DIR": str(ROOT / "models"),
        "LIKEWISE_DEFAULT_ENCODER": "tiny",
        "LIKEWISE_LOG_FORMAT": "json",
        **more,
    }


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `likewise` to its end; `more` are further variables."""
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@contextmanager
def launched(folder: Path, *arguments: str, **more: str) -> Iterator[Launched]:
    """Serve for as long as the block lasts, then stop by SIGTERM; its log is `folder/log`."""
    path = folder / "log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", *arguments],
            env=environment(folder, **more),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Launched(_address(path, process), process, path)
        except BaseException:
            print(path.read_text(errors="replace")[-4000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()
                process.wait()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"listens on (https?://[\d.]+:\d+)", log.read_text()):
            return found[1].replace("0.0.0.0", "127.0.0.1")
        time.sleep(0.02)
    raise AssertionError(f"the service did not start (exit code {process.poll()})")
