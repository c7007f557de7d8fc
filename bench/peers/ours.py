"""Likewise, as its own service uses it: a backend in this process."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from app.attributes.filter import parse_filter
from app.backends.base import Search
from app.backends.local import LocalBackend
from app.engine.merging import IDLE_HEAD
from app.kernels import warm
from app.types import Definition, Point, Projection, VectorField
from bench.pages import touch_pages
from bench.papers import Clauses, Columns, Data, K, as_json, families
from bench.peers.base import WIDTHS, Stage, System
from bench.peers.databases import attributes, batches
from bench.process import Memory

F32 = NDArray[np.float32]
NAME = "papers"
IDS_ONLY = Projection(fields=frozenset(), with_text=False)
LESSONS = 100  # queries of each family that are asked before anything is measured
SETTLED_S = 7.0  # the builder looks again when a collection was idle for five seconds
ON_DISK = "vectors_on_disk"


class Likewise(System):
    """Loads and builds: the whole graph first, then covers for the filters that it was asked."""

    modes: ClassVar = {"": (None,), "ef swept": WIDTHS}
    distribution = "likewise-server"
    what = "LocalBackend, durable, default settings; where said with `ef` swept"

    def __init__(self, data: Data, columns: Columns, folder: Path, cores: int) -> None:
        begun = time.perf_counter()
        self._start(data, folder, cores)
        self.backend.create(NAME, Definition({"v": VectorField("v", data.vectors.shape[1])}))
        for rows in batches(len(data.papers)):
            self.backend.upsert(
                NAME,
                [
                    Point(row, {"v": data.vectors[row]}, attributes(data.papers[row]))
                    for row in rows
                ],
            )
        if len(data.papers) < IDLE_HEAD:
            return  # nothing will be built
        self.idle_s = self._settle()
        ready = time.perf_counter()
        build_s = ready - begun - self.idle_s
        self.prepare("", None)  # lets go of the heads, as before every measurement below
        for query in data.queries:
            self._answer(query, None)
        self.plain = Stage(build_s, Memory.now())
        self.idle_s += time.perf_counter() - ready
        # Covers are built for the filters that are asked: let it see some of each family, others
        # than those that are measured.
        for drawn in families(data, seed=2).values():
            for query, clauses in list(zip(data.queries, drawn, strict=True))[:LESSONS]:
                self._answer(query, as_json(clauses))
        self.idle_s += self._settle()

    def _start(self, data: Data, folder: Path, cores: int) -> None:
        warm()  # as the server does when it starts
        self._folder = folder / "likewise"
        self._cores = cores
        self._probe = data.queries[0]
        self._width: int | None = None
        self._open()

    def _open(self) -> None:
        self.backend = LocalBackend(self._folder, build_threads=self._cores)

    def _settle(self) -> float:
        """Wait until no build runs or follows; returns the seconds in which none ran."""
        seen = quiet_since = time.perf_counter()
        idle_s = 0.0
        while seen - quiet_since < SETTLED_S:
            time.sleep(0.02)
            building = self.backend.describe(NAME).building
            now = time.perf_counter()
            if building:
                quiet_since = now
            else:
                idle_s += now - seen
            seen = now
        return idle_s

    def form(self, clauses: Clauses) -> dict[str, Any] | None:
        return as_json(clauses)

    def prepare(self, mode: str, width: int | None) -> None:
        """Open the collection again, so that no filter is remembered from the last width."""
        self._width = width
        self.backend.close()
        self._open()
        self.backend.search(NAME, [Search(self._probe, "v", exact=True)])
        self._touch()

    def _touch(self) -> None:
        """Be a process that has run for a while: its files are mapped, page by page."""
        touch_pages(self._folder)

    def search(self, query: F32, form: dict[str, Any] | None) -> Sequence[int]:
        return [hit.record.id for hit in self._answer(query, form).hits]

    def _answer(self, query: F32, form: dict[str, Any] | None, explain: bool = False) -> Any:
        search = Search(
            query,
            "v",
            None if form is None else parse_filter(form),
            k=K,
            ef=self._width,
            projection=IDS_ONLY,
            explain=explain,
        )
        return self.backend.search(NAME, [search])[0]

    def distances(self, query: F32, form: dict[str, Any] | None) -> tuple[int, str]:
        """How many distances the search computes, and its plan."""
        answer = self._answer(query, form, explain=True)
        return sum(part["distances"] for part in answer.explanation["parts"]), answer.plan

    def close(self) -> None:
        self.backend.close()


class Reopened(Likewise):
    """The files that `Likewise` left, in a process that has built nothing."""

    modes: ClassVar = {"": (None,)}
    what = "the same files, opened by a process that built nothing"

    def __init__(self, data: Data, columns: Columns, folder: Path, cores: int) -> None:
        self._start(data, folder, cores)


class VectorsOnDisk(Reopened):
    """The same, comparing by codes in memory and reading float32 rows for the last comparison."""

    what = "the same files, `vectors_on_disk=True`: float32 rows are read, not mapped"

    def _open(self) -> None:
        if ON_DISK not in inspect.signature(LocalBackend).parameters:
            raise NotImplementedError(f"LocalBackend has no `{ON_DISK}` in this version")
        more: dict[str, Any] = {ON_DISK: True}
        self.backend = LocalBackend(self._folder, build_threads=self._cores, **more)

    def _touch(self) -> None:
        """Leave on the disk what is to be read from there."""
