"""What an evaluation asks of a service, over HTTP, and what went wrong in one line."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.asking import in_path, refused, using, words_for
from app.evaluation.loaders.lines import Item
from app.types import F32, F64

_PIECE_POINTS, _PIECE_NUMBERS = 256, 1 << 20
_INPUTS = 64
_POLL_S = 0.25
_PATIENCE = 6
_LATER = {429, 503}


class Hit(NamedTuple):
    """One result."""

    id: Any
    score: float
    attributes: Mapping[str, Any]


class Found(NamedTuple):
    """An answer: its hits, the points that passed, and how long it took to come."""

    hits: list[Hit]
    matches: int
    took_ms: float

    @property
    def ids(self) -> list[Any]:
        """Ids, best first."""
        return [hit.id for hit in self.hits]


class Asker:
    """A service, and the progress that is shown while it is asked."""

    def __init__(self, service: httpx.Client, progress: Progress) -> None:
        self._service = service
        self.progress = progress

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask, again if the service is busy. Raises typer.Exit with what it said in one line."""
        for tried in range(_PATIENCE):
            answer = self._service.request(method, path, json=body)
            if answer.status_code not in _LATER or tried == _PATIENCE - 1:
                break
            time.sleep(float(answer.headers.get("retry-after", 1)))
        if answer.is_success:
            return answer.json() if answer.content else None
        try:
            problem = answer.json()
        except ValueError:
            problem = {}
        self.progress.stop()
        raise refused(words_for(problem, answer.status_code))

    def shown(self, things: Iterable[Any], what: str, total: int | None = None) -> Iterator[Any]:
        """Pass things on, and show how many there were."""
        task = self.progress.add_task(what, total=total)
        for thing in things:
            yield thing
            self.progress.advance(task)
        self.progress.update(task, total=self.progress.tasks[task].completed)

    # ── collections ──────────────────────────────────────────────────────────────────────────

    @contextmanager
    def temporary(self, definition: Mapping[str, Any], *, keep: bool = False) -> Iterator[str]:
        """Make a collection for as long as the block lasts; `keep` leaves it there."""
        name = f"eval-{secrets.token_hex(4)}"
        self.send("PUT", f"/v1/collections/{name}", definition)
        try:
            yield name
        finally:
            if keep:
                self.progress.console.print(f"the collection {name} stays")
            else:
                self._service.delete(f"/v1/collections/{name}")

    def fill(self, name: str, points: Iterable[Mapping[str, Any]], total: int | None) -> int:
        """Write points, piece by piece, and wait until they are indexed: their number."""
        written, numbers = 0, 0
        piece: list[Mapping[str, Any]] = []
        for point in self.shown(points, "points", total):
            piece.append(point)
            numbers += len(point.get("vector", "")) + len(point.get("image", ""))
            if len(piece) >= _PIECE_POINTS or numbers >= 4 * _PIECE_NUMBERS:
                written += self._upserted(name, piece)
                piece, numbers = [], 0
        if piece:
            written += self._upserted(name, piece)
        while self.send("GET", f"/v1/collections/{name}")["building"]:
            time.sleep(_POLL_S)
        return written

    def _upserted(self, name: str, points: Sequence[Mapping[str, Any]]) -> int:
        path = f"/v1/collections/{name}/points"
        return int(self.send("PUT", path, {"points": list(points)})["upserted"])

    def count(self, name: str) -> int:
        """Count the points of a collection."""
        return int(self.send("POST", f"/v1/collections/{in_path(name)}/points/count", {})["count"])

    def query(self, name: str, members: Mapping[str, Any]) -> Found:
        """Ask one query; the time is that until its answer was here."""
        begun_s = time.perf_counter()
        answer = self.send("POST", f"/v1/collections/{in_path(name)}/query", members)
        took_ms = (time.perf_counter() - begun_s) * 1e3
        hits = [
            Hit(one["id"], one.get("rerank_score", one["score"]), one["attributes"])
            for one in answer["points"]
        ]
        return Found(hits, answer["matches"], took_ms)

    # ── encoders ─────────────────────────────────────────────────────────────────────────────

    def vectors(self, items: Sequence[Item], model: str | None, what: str = "items") -> F32:
        """Encode things, each different one once; vectors stay as they are: float32[items, dim].

        Vectors come back at length one.
        """
        places: dict[tuple[str, Any], int] = {}
        different: list[Item] = []
        where = []
        for item in items:
            key = (item.kind, tuple(item.value) if item.kind == "vector" else item.value)
            if key not in places:
                places[key] = len(different)
                different.append(item)
            where.append(places[key])
        made: list[F32] = [np.zeros(0, np.float32)] * len(different)
        encoded = [n for n, item in enumerate(different) if item.kind != "vector"]
        for n, item in enumerate(different):
            if item.kind == "vector":
                made[n] = np.array(item.value, np.float32)
        starts = range(0, len(encoded), _INPUTS)
        for start in self.shown(starts, f"{what} encoded, by {_INPUTS}", len(starts)):
            some = encoded[start : start + _INPUTS]
            for n, vector in zip(
                some, self._encoded([different[n] for n in some], model), strict=True
            ):
                made[n] = vector
        lengths = {vector.size for vector in made}
        if len(lengths) > 1:
            raise refused(f"vectors have different lengths: {sorted(lengths)}")
        whole = np.stack(made)[where]
        norms = np.linalg.norm(whole, axis=1, keepdims=True)
        unit: F32 = (whole / np.where(norms > 0, norms, 1)).astype(np.float32)
        return unit

    def _encoded(self, items: Sequence[Item], model: str | None) -> list[F32]:
        body: dict[str, Any] = {
            "input": [{item.kind: wire_value(item)} for item in items],
            "encoding_format": "base64",
        }
        if model is not None:
            body["model"] = model
        answer = self.send("POST", "/v1/embeddings", body)
        ordered = sorted(answer["data"], key=lambda one: int(one["index"]))
        return [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in ordered]


def wire_value(item: Item) -> Any:
    """Write a thing as a request holds it. Raises typer.Exit where an image cannot be read."""
    if item.kind == "image":
        with using(item.value):
            return base64.b64encode(item.value.read_bytes()).decode("ascii")
    return item.value


def wire_vector(vector: F32) -> str:
    """Write a vector as base64 of little-endian float32."""
    return base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode("ascii")


def times(took_ms: Sequence[float]) -> dict[str, float]:
    """Sum up how long answers took: to one client, that asks one query after the other."""
    if not took_ms:
        return {}
    every: F64 = np.array(took_ms, np.float64)
    return {
        "ms p50": float(np.quantile(every, 0.5)),
        "ms p99": float(np.quantile(every, 0.99)),
        "queries a second": float(1e3 * every.size / every.sum()),
    }


def bar() -> Progress:
    """Make the bars on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
