"""Likewise, as its own service uses it: a backend in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from app.attributes.filter import parse_filter
from app.backends.base import Search
from app.backends.local import LocalBackend
from app.kernels import warm
from app.types import Definition, Point, Projection, VectorField
from bench.papers import Clauses, Columns, Data, K, as_json, families
from bench.peers.base import WIDTHS, System
from bench.peers.databases import attributes, batches

F32 = NDArray[np.float32]
NAME = "papers"
IDS_ONLY = Projection(fields=frozenset(), with_text=False)
LESSONS = 100  # queries of each family that are asked before anything is measured
SETTLED_S = 7.0  # the builder looks again when a collection was idle for five seconds


class Likewise(System):
    modes: ClassVar = {"": (None,), "ef swept": WIDTHS}
    distribution = "likewise-server"
    what = "LocalBackend, durable, default settings; where said with `ef` swept"

    def __init__(self, data: Data, columns: Columns, folder: Path, cores: int) -> None:
        warm()  # as the server does when it starts
        self._folder = folder / "likewise"
        self._cores = cores
        self._dimension = data.vectors.shape[1]
        self._open()
        self.backend.create(NAME, Definition({"v": VectorField("v", self._dimension)}))
        for rows in batches(len(data.papers)):
            self.backend.upsert(
                NAME,
                [
                    Point(row, {"v": data.vectors[row]}, attributes(data.papers[row]))
                    for row in rows
                ],
            )
        self.idle_s = self._wait()
        # Covers are built for the filters that are asked: let it see some of each family, others
        # than those that are measured.
        for drawn in families(data, seed=2).values():
            for query, clauses in list(zip(data.queries, drawn, strict=True))[:LESSONS]:
                self._width = None
                self._answer(query, as_json(clauses))
        self.idle_s += self._wait()
        self._probe = data.queries[0]

    def _open(self) -> None:
        self.backend = LocalBackend(self._folder, build_threads=self._cores)

    def _wait(self) -> float:
        """Wait until no build runs or follows; returns the seconds in which nothing did."""
        quiet_since = time.perf_counter()
        while time.perf_counter() - quiet_since < SETTLED_S:
            if self.backend.describe(NAME).building:
                quiet_since = time.perf_counter()
            time.sleep(0.02)
        return time.perf_counter() - quiet_since

    def form(self, clauses: Clauses) -> dict[str, Any] | None:
        return as_json(clauses)

    def prepare(self, mode: str, width: int | None) -> None:
        """Open the collection again, so that no filter is remembered from the last width."""
        self._width = width
        self.backend.close()
        self._open()
        self.backend.search(NAME, [Search(self._probe, "v", exact=True)])  # maps every vector

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
