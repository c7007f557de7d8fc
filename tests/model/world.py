"""The service under test, with nothing happening in the background.

Requests go through the whole application in process. Builds happen when the test says so, one stage
at a time: a process of its own would make each of them a second long, and the order of events a
matter of luck. So a build can be ordered, written in the background of any number of requests, and
swapped in, given up, or cut off by a restart at each of those stages.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from app.api.app import create_app
from app.backends.local import LocalBackend
from app.encoders.registry import EncoderRegistry
from app.engine import builds, database
from app.engine.build_process import Order, build, build_covers
from app.engine.builds import Build
from app.engine.collection import Collection
from app.errors import LikewiseError
from app.planner.costs import Costs
from tests.api.harness import MODELS, InProcess, settings

HEAD_POINTS = 24
SCANNED = Costs()
WALKED = Costs(scan_fixed_ns=1e9, code_scan_fixed_ns=1e9)
"""Scans so dear that the graph of every segment, and of every cover, is walked."""


class NoBuilder:
    """In the place of the thread that builds: the test does."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def wake(self) -> None: ...

    def cancel(self, collection: Collection) -> None: ...

    def close(self) -> None: ...


class Lasting(EncoderRegistry):
    """Encoders that outlive the applications that use them: loading one takes longer than a run."""

    def close(self) -> None: ...

    def end(self) -> None:
        """Let go of the models."""
        super().close()


def tiny() -> Lasting:
    """The tiny encoder, loaded."""
    encoders = Lasting(
        MODELS, threads=1, queue=4096, batch_tokens=1024,
        hub_endpoint="http://127.0.0.1:9", local_source=None,
    )  # fmt: skip
    encoders.load("tiny")
    return encoders


@dataclass(slots=True)
class Underway:
    """A build: of what, what was ordered, and whether its files are written."""

    collection: Collection
    build: Build
    written: bool = False


class World:
    """One data directory with the application over it; `close` removes both."""

    document: Mapping[str, Any] | None = None

    def __init__(self, encoders: EncoderRegistry, costs: Costs) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="likewise-model-"))
        self._lives = 0
        self._encoders = encoders
        self._costs = costs
        self.underway: dict[str, Underway] = {}
        self._open(self._root / "0")

    @property
    def folder(self) -> Path:
        """The data directory."""
        return self._root / str(self._lives)

    def _open(self, folder: Path) -> None:
        with mock.patch.object(database, "Builder", NoBuilder):
            self.backend = LocalBackend(
                folder, sync=False, head_points=HEAD_POINTS, cover_share=100, costs=self._costs
            )
        self.app = InProcess(settings(self._root, data_dir=folder), self.backend, self._encoders)
        if World.document is None:
            World.document = create_app(settings(self._root)).openapi()
        self.app.app.openapi_schema = dict(World.document)
        self.app.start()

    def close(self) -> None:
        """Stop, and remove everything."""
        self.app.stop()
        shutil.rmtree(self._root)

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a request; its answer must be as the OpenAPI document says."""
        return self.app.send(method, path, **({} if body is None else {"json": body}))

    # ── restarts ─────────────────────────────────────────────────────────────────────────────

    def restart(self) -> None:
        """Stop as asked to, and start again."""
        self.underway.clear()
        self.app.stop()
        self._open(self.folder)

    def crash(self) -> None:
        """Start again from the files as a process that is gone at once would leave them."""
        self.underway.clear()
        before = self.folder
        self._lives += 1
        shutil.copytree(before, self.folder)
        self.app.stop()
        shutil.rmtree(before)
        self._open(self.folder)

    def restart_without(self, choice: int, how: str) -> None:
        """Stop, remove or damage one derived folder or file, and start again."""
        self.underway.clear()
        self.app.stop()
        folders = sorted(self.folder.glob("collections/*/segments/*"))
        if folders:
            folder = folders[choice % len(folders)]
            if how == "folder":
                shutil.rmtree(folder)
            else:
                files = sorted(path for path in folder.rglob("*") if path.is_file())
                file = files[choice % len(files)]
                if how == "file":
                    file.unlink()
                else:
                    content = bytearray(file.read_bytes())
                    content[choice % len(content)] ^= 1 << choice % 8
                    file.write_bytes(content)
        self._open(self.folder)

    # ── builds ───────────────────────────────────────────────────────────────────────────────

    def _collection(self, name: str) -> Collection | None:
        return self.backend._open.get(name)

    def order_build(self, name: str, *, idle: bool) -> None:
        """Begin a build, if one is due: it is ordered, and its rows are set aside."""
        collection = self._collection(name)
        if collection is None or name in self.underway:
            return
        with mock.patch.object(builds, "WORTH_COVERS_NS", 1.0):
            begun = collection.builds.begin(idle=idle, threads=1)
        if begun is not None:
            self.underway[name] = Underway(collection, begun)

    def write_build(self, name: str) -> None:
        """Do what the build process does."""
        one = self.underway.get(name)
        if one is None or one.written:
            return
        with contextlib.redirect_stdout(io.StringIO()):  # its reports
            if isinstance(one.build.order, Order):
                build(one.build.order)
            else:
                build_covers(one.build.order)
        one.written = True

    def finish_build(self, name: str) -> str | None:
        """Swap a build in; says what it was of."""
        self.write_build(name)
        one = self.underway.pop(name, None)
        if one is None:
            return None
        one.collection.builds.finish(one.build)
        return type(one.build).__name__

    def abandon_build(self, name: str) -> None:
        """Give a build up."""
        one = self.underway.pop(name, None)
        if one is not None:
            one.collection.builds.abandon(one.build)

    def forget_build(self, name: str) -> None:
        """After a drop: a build that was ready comes too late."""
        one = self.underway.pop(name, None)
        if one is not None and one.written:
            with pytest.raises(LikewiseError):  # the gate is closed, the folder is gone
                one.collection.builds.finish(one.build)

    def settle(self, name: str) -> set[str]:
        """Build until nothing is due, covers too; says what was built."""
        built: set[str] = set()
        while True:
            self.order_build(name, idle=True)
            of = self.finish_build(name)
            if of is None:
                return built
            built.add(of)
