"""Encoding that remembers: vectors are looked up before they are made.

Dense and sparse vectors are kept, and those of tokens of queries. Those of documents' tokens are
not: each text has a hundred times the numbers, and would push as many others out.

A vector is kept under the SHA-256 of what made it: the encoder's fingerprint (its manifest, with
the hashes of its files, and the record of the graph that was built from them), and the input with
its prompt before it. So an encoder of another version, with another prompt or another graph finds
nothing of its predecessor's; what is left of that is the oldest, and goes first.

A vector that is found is, to the last bit, the one that was made. Inputs that are not found go to
the encoder together, in their order. The file belongs to one thread; so that nobody waits for it
longer than for the encoder, a look-up is passed over while many others wait, and so is keeping.
Whatever happens to the file, the request is answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from app.cache.outputs import Kept, octets_of, output_of
from app.cache.vectors import STEP, Entry, VectorFile
from app.encoders.base import Encoded, OutputKind, TextKind
from app.encoders.inputs import Input
from app.errors import LikewiseError
from app.metrics.accounts import CacheAccount
from app.service.checks import placed_input
from app.service.encoding import Encoding

log = logging.getLogger(__name__)

MOST_WAITING = 32
"""Look-ups and writes that may wait for the file's thread; the next ones go without it."""


class EmbeddingCache:
    """The cache between the service and its encoders.

    Opened on its own thread at the first look-up. `account` is written on the event loop, but for
    what the thread alone knows.
    """

    def __init__(self, encoding: Encoding, path: Path, max_bytes: int) -> None:
        self.account = CacheAccount(max_bytes)
        self._encoding = encoding
        self._path = path
        self._file: VectorFile | None = None
        self._broken = False
        self._closed = False
        self._waiting = 0  # on the event loop only, as the next
        self._keeping: set[asyncio.Task[None]] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedding-cache")

    async def encode(
        self,
        name: str,
        inputs: Sequence[Input],
        kind: TextKind,
        output: OutputKind = "dense",
        **how: Any,
    ) -> Encoded:
        """Encode inputs as `Encoding.encode` does, as far as their vectors are not there yet.

        how  whatever else `Encoding.encode` takes
        """
        kept = _kept(output, kind)
        if kept is None or not inputs or self._broken or self._waiting >= MOST_WAITING:
            self.account.passed += len(inputs)
            return await self._encoding.encode(name, inputs, kind, output, **how)
        fingerprint, keys, found = await self._looked_up(name, inputs, kind, output)
        missing = [place for place, key in enumerate(keys) if key not in found]
        self.account.hits += len(inputs) - len(missing)
        self.account.misses += len(missing)
        made: Encoded | None = None
        if missing:
            wanted = inputs if not found else [inputs[place] for place in missing]
            try:
                made = await self._encoding.encode(name, wanted, kind, output, **how)
            except LikewiseError as error:
                error.pointer = placed_input(error.pointer, lambda place: f"/{missing[place]}")
                raise
            if self._waiting < MOST_WAITING:
                new = [keys[place] for place in missing]
                task = asyncio.create_task(self._keep(name, fingerprint, new, made))
                self._keeping.add(task)  # the loop itself holds tasks by weak references only
                task.add_done_callback(self._keeping.discard)
        if made is not None and not found:
            return made
        return _joined(keys, found, missing, made, kept)

    def close(self) -> None:
        """Finish what the thread has taken, and let go of the file."""
        self._closed = True
        self._thread.shutdown()
        if self._file is not None:
            self._file.close()

    async def _looked_up(
        self, name: str, inputs: Sequence[Input], kind: TextKind, output: OutputKind
    ) -> tuple[str, list[bytes], dict[bytes, Entry]]:
        def work() -> tuple[str, list[bytes], dict[bytes, Entry]]:
            fingerprint = self._encoding.fingerprint(name)
            made_of = hashlib.sha256(f"{name} {fingerprint} {output} ".encode())
            keys = []
            for given in self._encoding.addressed(name, inputs, kind):
                key = made_of.copy()
                # It tells kinds of inputs apart, and has no two forms of the same one.
                key.update(repr(given).encode("utf-8", "surrogatepass"))
                keys.append(key.digest())
            return fingerprint, keys, self._get(list(dict.fromkeys(keys)))

        self._waiting += 1
        try:
            # Not cut off by deadlines: what it takes is far below them.
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1

    async def _keep(self, name: str, fingerprint: str, keys: list[bytes], made: Encoded) -> None:
        """Keep vectors, in steps between which look-ups have their turn. Nobody waits for it."""
        loop = asyncio.get_running_loop()

        def step(start: int) -> None:
            # An encoder that was replaced meanwhile made them: then nobody knows which one did.
            if self._encoding.fingerprint(name) != fingerprint:
                return
            outputs = made.outputs[start : start + STEP]
            tokens = made.tokens[start : start + STEP]
            entries = [
                Entry(octets_of(one), count) for one, count in zip(outputs, tokens, strict=True)
            ]
            self._put(keys[start : start + STEP], entries)

        self._waiting += 1
        try:
            for start in range(0, len(keys), STEP):
                await loop.run_in_executor(self._thread, step, start)
        except Exception:
            if not self._closed:
                log.warning("vectors were not cached", exc_info=True)
        finally:
            self._waiting -= 1

    # ── on the file's thread ─────────────────────────────────────────────────────────────────

    def _get(self, keys: list[bytes]) -> dict[bytes, Entry]:
        file = self._opened()
        if file is None:
            return {}
        try:
            return file.get(keys)
        except (LikewiseError, OSError) as error:
            self._give_up(error)
            return {}

    def _put(self, keys: list[bytes], entries: list[Entry]) -> None:
        file = self._opened()
        if file is None:
            return
        try:
            file.put(zip(keys, entries, strict=True))
            self.account.size_bytes, self.account.restarts = file.size_bytes, file.restarts
        except (LikewiseError, OSError) as error:
            self._give_up(error)

    def _opened(self) -> VectorFile | None:
        if self._file is None and not self._broken:
            try:
                self._file = VectorFile(self._path, self.account.limit_bytes)
                self.account.size_bytes = self._file.size_bytes
                self.account.restarts = self._file.restarts
            except (LikewiseError, OSError) as error:
                self._give_up(error)
        return None if self._broken else self._file

    def _give_up(self, error: Exception) -> None:
        """Go on without a cache: there can be no file."""
        self._broken = True
        log.warning("the embedding cache cannot be used: %s", error)


def _kept(output: OutputKind, kind: TextKind) -> Kept | None:
    """Which outputs are kept, of those that are asked for."""
    if output == "dense" or output == "sparse":
        return output
    return "tokens" if output == "tokens" and kind == "query" else None


def _joined(
    keys: Sequence[bytes],
    found: dict[bytes, Entry],
    missing: Sequence[int],
    made: Encoded | None,
    kept: Kept,
) -> Encoded:
    """Put what was found and what was made in the order of the inputs."""
    there = [place for place, key in enumerate(keys) if key in found]
    if kept != "dense":
        others = [output_of(found[key].numbers, kept) if key in found else None for key in keys]
        counts = [found[key].tokens if key in found else 0 for key in keys]
        if made is not None:
            for place, one, count in zip(missing, made.outputs, made.tokens, strict=True):
                others[place], counts[place] = one, count
        return Encoded(others, counts)
    octets = b"".join(found[keys[place]].numbers for place in there)
    numbers = np.frombuffer(octets, "<f4").reshape(len(there), -1)
    vectors = np.empty((len(keys), numbers.shape[1]), np.float32)
    vectors[there] = numbers
    tokens = [0] * len(keys)
    for place in there:
        tokens[place] = found[keys[place]].tokens
    if made is not None:
        vectors[missing] = made.vectors
        for place, count in zip(missing, made.tokens, strict=True):
            tokens[place] = count
    return Encoded(vectors, tokens)
