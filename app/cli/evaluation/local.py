"""A service for one evaluation: a process of its own, over an empty directory."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.cli.asking import refused
from app.config import read_settings

_PATIENCE_S = 120.0
_LISTENS = re.compile(r"listens on (http://127\.0\.0\.1:\d+)")


@contextmanager
def local_service() -> Iterator[str]:
    """Serve on a free port of this machine for as long as the block lasts: the address.

    Its settings are those of the environment, but for where its data lie and that it wants no keys.
    Raises typer.Exit with the end of its log if it does not start.
    """
    models = read_settings().models_dir.resolve()
    env = shutil.which("env")
    if env is None:
        raise refused("--local needs the program env")
    with tempfile.TemporaryDirectory(prefix="likewise-eval-") as folder:
        log = Path(folder) / "log"
        # Only the settings read the environment, so `env` changes it for the child.
        command = [
            env,
            "-u",
            "LIKEWISE_API_KEY",
            "-u",
            "LIKEWISE_KEYS_FILE",
            f"LIKEWISE_DATA_DIR={folder}/data",
            f"LIKEWISE_MODELS_DIR={models}",
            "LIKEWISE_LOG_FORMAT=text",
            "LIKEWISE_LOG_LEVEL=info",
            sys.executable,
            "-m",
            "app",
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
        ]
        with log.open("wb") as sink:
            process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)  # noqa: S603  # our own command
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        if found := _LISTENS.search(log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.05)
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise refused(f"the service did not start: {' '.join(last)}")
