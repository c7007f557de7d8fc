"""Encoders as the service uses them: loaded in the background, awaited on the event loop.

The service starts without waiting for any model, for a download may take minutes or fail for
good: vectors that callers bring themselves work from the first moment, and a request with a text
gets EncoderUnavailable until its encoder is ready. An encoder is loaded at start, when a
collection names it, and when a text needs it; after a failure, not again for a minute.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np

from app.encoders.base import (
    Cut,
    Encoded,
    EncoderInfo,
    EncoderStatistics,
    LaneName,
    OutputKind,
    Status,
    TextKind,
    numbers_in,
)
from app.encoders.inputs import Input, Picture, size_of
from app.encoders.registry import EncoderRegistry
from app.errors import (
    EncoderUnavailable,
    InvalidRequest,
    LikewiseError,
    LimitExceeded,
    Overloaded,
    ShuttingDown,
)
from app.service.checks import placed_input
from app.service.deadlines import deadline, in_time

log = logging.getLogger(__name__)

RETRY_S = 60.0
"""Least time between two attempts to load an encoder that failed: each may try a download."""

LOADING_S = 2
"""When to ask again for an encoder that is being loaded: with its files in place it takes less."""

CHUNK_TEXTS = 128
CHUNK_CHARS = 256 * 1024
"""Most texts, and characters of them, submitted at once: half a millisecond of the event loop,
which has to look at each of them."""

CHUNKS_AHEAD = 4
"""Chunks of a request in the queue at once: the encoder never waits for the event loop, and one
large request leaves room for others."""

MOST_ASKED = 16
"""Most texts of a request that counts as a query: they are one short batch."""

FEW_TEXTS = 4
"""Most texts of an embedding request that counts as a query whatever it says that they are."""

MOST_WRITTEN = 256
"""Most texts of a request that counts as an online write; above it is an import."""


def lane_of(kind: TextKind, count: int) -> LaneName:
    """Choose the lane of a request by what it asks for and how much of it.

    What is large is not waited for by the millisecond, whatever it is called, and in a higher lane
    it would hold up those who do wait.
    """
    if kind == "query" and count <= MOST_ASKED:
        return "query"
    return "write" if count <= MOST_WRITTEN else "bulk"


class Encoding:
    """Encoders behind one awaitable call. All methods but `encode` are safe on any thread."""

    def __init__(
        self, registry: EncoderRegistry, *, default: str, at_start: Sequence[str], queue_texts: int
    ) -> None:
        self.default = default
        self._registry = registry
        self._at_start = tuple(at_start)
        self._chunk = max(1, min(CHUNK_TEXTS, queue_texts // CHUNKS_AHEAD))
        self._lock = threading.Lock()  # of the next three
        self._pending: set[str] = set()
        self._failed_at: dict[str, float] = {}
        self._held: set[str] = set()
        self._jobs: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # A daemon: a download that hangs must not keep the process from ending.
        self._loader = threading.Thread(target=self._load_wanted, name="loader", daemon=True)

    def start(self) -> None:
        """Begin to load the encoders of the settings, in the background."""
        self._loader.start()
        for name in self._at_start:
            self.want(name)

    def want(self, name: str) -> None:
        """Have an encoder loaded in the background, unless it is loaded or failed just now."""
        with self._lock:
            failed_at = self._failed_at.get(name)
            lately = failed_at is not None and time.monotonic() - failed_at < RETRY_S
            held = name in self._pending or name in self._held or lately
            if held or self._status(name)[0] == "ready":
                return
            self._pending.add(name)
        self._jobs.put(name)

    def load(self, name: str) -> EncoderInfo:
        """Have an encoder loaded in the background, now, though it failed or was unloaded.

        Raises EncoderNotFound.
        """
        self._registry.describe(name)
        with self._lock:
            self._failed_at.pop(name, None)
            self._held.discard(name)
        self.want(name)
        return self.describe(name)

    def unload(self, name: str) -> EncoderInfo:
        """Let go of an encoder when what was accepted is done; it stays so until it is loaded.

        Raises EncoderNotFound. Takes as long as a load that is under way, and the texts.
        """
        self._registry.describe(name)
        with self._lock:
            self._held.add(name)
        info = self._registry.unload(name)
        log.info("an encoder was unloaded", extra={"facts": {"encoder": name}})
        return info

    def describe(self, name: str) -> EncoderInfo:
        """Facts about one encoder. Raises EncoderNotFound."""
        return self._as_seen(self._registry.describe(name))

    def describe_all(self) -> list[EncoderInfo]:
        """Facts about every installed encoder."""
        return [self._as_seen(info) for info in self._registry.describe_all()]

    def usable(self, name: str) -> EncoderInfo:
        """Facts about an encoder that is ready; raise EncoderUnavailable and want it otherwise."""
        info = self._registry.describe(name)
        if info.status == "ready":
            return info
        self.want(name)
        with self._lock:
            loading = name in self._pending
        state = "is being loaded" if loading else f"is unavailable: {info.detail}"
        raise EncoderUnavailable(
            f"encoder {name!r} {state}; vectors that a request brings itself work meanwhile",
            retry_after_s=LOADING_S if loading else None,
            encoder=name,
        )

    def addressed(self, name: str, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Make inputs complete, prompts before them."""
        return self._registry.addressed(name, inputs, kind)

    def fingerprint(self, name: str) -> str:
        """Tell one state of an encoder from others; see `EncoderRegistry.fingerprint`."""
        return self._registry.fingerprint(name)

    def faults(
        self, name: str, inputs: Sequence[Input], kind: TextKind
    ) -> list[tuple[int, InvalidRequest]]:
        """Find inputs that cannot be read, on the caller's thread; see `EncoderRegistry.faults`."""
        return self._registry.faults(name, inputs, kind)

    def fitted(self, name: str, inputs: Sequence[Input], kind: TextKind, cut: Cut) -> list[Input]:
        """Make inputs short enough, on the caller's thread; see `EncoderRegistry.fitted`."""
        return self._registry.fitted(name, inputs, kind, cut)

    async def encode(
        self,
        name: str,
        inputs: Sequence[Input],
        kind: TextKind,
        output: OutputKind = "dense",
        *,
        lane: LaneName | None = None,
        most_numbers: float = math.inf,
    ) -> Encoded:
        """Encode inputs in order, in chunks so that nobody waits behind all of them.

        lane          None leaves it to `lane_of`
        most_numbers  that all outputs together may have

        Raises what `EncoderRegistry.submit` and its future raise, DeadlineExceeded, and
        LimitExceeded as soon as there are too many numbers.
        """
        lane = lane or lane_of(kind, len(inputs))
        parts: list[Encoded] = []
        numbers = 0
        ahead: deque[tuple[int, Future[Encoded]]] = deque()
        start = 0
        try:
            while start < len(inputs) or ahead:
                if start < len(inputs) and len(ahead) < CHUNKS_AHEAD:
                    chunk = inputs[start : self._end_of_chunk(inputs, start)]
                    try:
                        future = self._registry.submit(
                            name, chunk, kind, output, lane=lane, due=deadline.get()
                        )
                    except Overloaded:
                        # One's own chunks may be what fills the queue: go on when they are done.
                        if not ahead:
                            raise
                    except LikewiseError as error:
                        error.pointer = placed_input(error.pointer, _after(start))
                        raise
                    else:
                        ahead.append((start, future))
                        start += len(chunk)
                        continue
                place, future = ahead.popleft()
                try:
                    part = await in_time(future)
                except LikewiseError as error:
                    error.pointer = placed_input(error.pointer, _after(place))
                    raise
                parts.append(part)
                numbers += numbers_in(part.outputs)
                if numbers > most_numbers:
                    raise LimitExceeded(
                        f"the outputs of a request have at most {most_numbers} numbers together: "
                        "send fewer or shorter inputs",
                        limit=most_numbers,
                    )
        finally:
            for _, future in ahead:
                future.cancel()
        if len(parts) == 1:
            return parts[0]
        tokens = [count for part in parts for count in part.tokens]
        if output == "dense":
            return Encoded(np.concatenate([part.vectors for part in parts]), tokens)
        return Encoded([one for part in parts for one in part.outputs], tokens)

    def _end_of_chunk(self, inputs: Sequence[Input], start: int) -> int:
        """The place after the last input of the chunk that begins at `start`."""
        most = min(len(inputs), start + self._chunk)
        room, end = CHUNK_CHARS - _weight(inputs[start]), start + 1
        while end < most and (room := room - _weight(inputs[end])) >= 0:
            end += 1
        return end

    def statistics(self) -> list[EncoderStatistics]:
        """What every loaded encoder did, and what waits for it."""
        return self._registry.statistics()

    def health(self) -> dict[str, Any]:
        """Status and detail for `/readyz`, and the status of each encoder that somebody wanted.

        Those wanted at start decide: a request that names another one must not make a difference
        to whether the service is well.
        """
        with self._lock:
            others = {*self._pending, *self._failed_at}
            others |= {one.name for one in self._registry.describe_all() if one.status == "ready"}
            found = {name: self._status(name) for name in self._at_start}
            statuses = {
                name: self._status(name)[0] for name in [*found, *sorted(others - set(found))]
            }
        needed = {status for status, _ in found.values()}
        if needed <= {"ready"}:
            return {"status": "ok", "detail": "ready", "encoders": statuses}
        reasons = [f"{name}: {why}" for name, (status, why) in found.items() if status != "ready"]
        loading = "loading" in needed
        return {
            "status": "loading" if loading else "unavailable",
            "detail": "; ".join(reasons),
            "encoders": statuses,
        }

    def close(self) -> None:
        """Stop loading and let go of the models."""
        self._jobs.put(None)
        self._registry.close()

    def _as_seen(self, info: EncoderInfo) -> EncoderInfo:
        """One that waits to be loaded is being loaded, for whoever asks."""
        if info.name in self._pending and info.status == "unavailable":
            return replace(info, status="loading", detail="")
        return info

    def _status(self, name: str) -> tuple[Status, str]:
        """Status of an encoder and why. Under the lock."""
        if name in self._pending:
            return "loading", "being loaded"
        try:
            info = self._registry.describe(name)
        except LikewiseError as error:
            return "unavailable", error.detail
        return info.status, info.detail

    def _load_wanted(self) -> None:
        while (name := self._jobs.get()) is not None:
            started = time.monotonic()
            try:
                if name in self._held:  # unloaded before its turn came
                    continue
                info = self._registry.load(name)
            except ShuttingDown:
                return
            except LikewiseError as error:
                with self._lock:
                    self._failed_at[name] = time.monotonic()
                log.warning(
                    "an encoder is not available: %s. Requests that bring vectors work without it",
                    error.detail,
                    extra={"facts": {"encoder": name, "job": "load encoder"}},
                )
            else:
                took_s = round(time.monotonic() - started, 1)
                facts = {
                    "encoder": name,
                    "job": "load encoder",
                    "seconds": took_s,
                    "dimension": info.dimension,
                }
                log.info("an encoder is ready", extra={"facts": facts})
            finally:
                with self._lock:
                    self._pending.discard(name)


def _weight(given: Input) -> int:
    """What the event loop has to look at of an input: not at the files of pictures."""
    return 0 if isinstance(given, Picture) else size_of(given)


def _after(start: int) -> Callable[[int], str]:
    """Where an input of a chunk stands among all inputs."""
    return lambda place: f"/{start + place}"
