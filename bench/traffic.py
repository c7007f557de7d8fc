"""Mixed traffic on one collection, and what must be stored when it ends.

Points come in blocks of `BLOCK`. A write changes one whole block (upsert, patch or delete), and no
other request writes to that block until it is answered. So the state of a block is known at any
time: what the last acknowledged write made of it. Where a write was not answered, because its
connection broke, both states are possible; where it was refused (429, 503, 507), the old one is.
"""

from __future__ import annotations

import base64
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.load import Address, Connection, ready, request, selecting

BLOCK = 10
DIMENSION = 64
QUERIES = 500
NAME = "soak"
PATH = f"/v1/collections/{NAME}"
GROUPS = 20
WORDS = ("red", "green", "blue", "tea", "ice", "car", "sea", "dog", "cat", "old", "new", "man")

Settle = Callable[[int | None], None]
"""Called with the status of an answer, or None where none came."""

GONE = None
"""The state of a deleted block; others are (version of the upsert, version of the patch)."""


class Blocks:
    """The model: what each block may be."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.states: list[set[tuple[int, int] | None]] = [{GONE} for _ in range(count)]
        self.acknowledged = 0
        self._free = deque(np.random.default_rng(seed).permutation(count).tolist())
        self._version = 0

    def begin(self, kind: str) -> tuple[int, int, Settle] | None:
        """Take a block for a write: its number, a new version, and what to do at the end."""
        if not self._free:
            return None
        block = self._free.popleft()
        self._version += 1
        version = self._version
        before = self.states[block]

        def after(state: tuple[int, int] | None) -> tuple[int, int] | None:
            if kind == "delete":
                return GONE
            if kind == "patch":
                return GONE if state is GONE else (state[0], version)
            return version, 0

        def settle(status: int | None) -> None:
            written = {after(state) for state in before}
            if status is None:
                self.states[block] = before | written
            elif status < 300:
                self.states[block] = written
                self.acknowledged += 1
            self._free.append(block)

        return block, version, settle

    def wrong(self, stored: dict[int, dict[str, Any]]) -> list[int]:
        """Name the blocks that are not what they may be, given the attributes of all points."""
        found = []
        for block, possible in enumerate(self.states):
            points = [stored.get(block * BLOCK + place) for place in range(BLOCK)]
            states = {
                GONE if one is None else (one["version"], one.get("patched", 0)) for one in points
            }
            if len(states) != 1 or not states <= possible:
                found.append(block)
        return found


@dataclass
class Tally:
    """What came of the requests of some span of time."""

    begun_s: float = field(default_factory=time.perf_counter)
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)  # of answers with 2xx
    cut: int = 0  # connections that broke with a request under way
    unsent: int = 0  # requests that were due when every connection was busy

    @property
    def accepted(self) -> int:
        """Answers with 2xx."""
        return len(self.latencies_s)

    @property
    def refused(self) -> int:
        """Answers with 429 and 503."""
        return self.statuses[429] + self.statuses[503]

    def add(self, other: Tally) -> None:
        """Count what another counted, but for its latencies."""
        self.statuses += other.statuses
        self.cut += other.cut
        self.unsent += other.unsent


class Traffic:
    """Requests, one after the other, as `mix` says; deterministic for a seed."""

    mix = (
        ("query", 0.40),
        ("filtered", 0.20),
        ("text", 0.05),
        ("get", 0.03),
        ("count", 0.02),
        ("upsert", 0.18),
        ("patch", 0.06),
        ("delete", 0.06),
    )

    def __init__(self, address: Address, blocks: Blocks, seed: int = 1) -> None:
        self.address = address
        self.blocks = blocks
        self._random = np.random.default_rng(seed)
        self._kinds = self._drawn_kinds()
        vectors = self._random.standard_normal((QUERIES, DIMENSION)).astype("<f4")
        self._vectors = [base64.b64encode(vector.tobytes()).decode() for vector in vectors]

    def _drawn_kinds(self) -> Iterator[str]:
        names, shares = zip(*self.mix, strict=True)
        while True:
            for number in self._random.choice(len(names), 1000, p=shares).tolist():
                yield names[number]

    def next(self) -> tuple[bytes, Settle | None]:
        """The next request."""
        kind = next(self._kinds)
        draw = self._random.integers
        vector = self._vectors[draw(QUERIES)]
        if kind in ("upsert", "patch", "delete"):
            taken = self.blocks.begin(kind)
            if taken is not None:
                return self._write(kind, *taken)
            kind = "query"
        if kind == "get":
            ids = draw(self.blocks.count * BLOCK, size=20).tolist()
            return self._request("POST", "/points/get", {"ids": ids}), None
        if kind == "count":
            return self._request("POST", "/points/count", {"filter": {"group": 3}}), None
        query: dict[str, Any] = {"vector": vector, "k": 10}
        if kind == "text":
            words = [WORDS[i] for i in draw(len(WORDS), size=4)]
            query = {"text": " ".join(words), "using": "text", "k": 10}
        elif kind == "filtered":
            query["filter"] = {"group": int(draw(GROUPS)), "year": {"$gte": int(draw(50))}}
        if kind != "text":
            query["using"] = "own"
        return self._request("POST", "/query", query), None

    def _write(
        self, kind: str, block: int, version: int, settle: Settle
    ) -> tuple[bytes, Settle | None]:
        ids = list(range(block * BLOCK, (block + 1) * BLOCK))
        if kind == "delete":
            return self._request("POST", "/points/delete", {"ids": ids}), settle
        if kind == "patch":
            body = {"ids": ids, "set": {"patched": version}}
            return self._request("PATCH", "/points", body), settle
        with_text = version % 20 == 0
        points = [
            {
                "id": point,
                "vectors": {"own": self._vectors[(point * 7 + version) % QUERIES]},
                "attributes": {
                    "version": version,
                    "group": (point + version) % GROUPS,
                    "year": point % 100,
                },
                **({"text": WORDS[point % len(WORDS)]} if with_text else {}),
            }
            for point in ids
        ]
        return self._request("PUT", "/points", {"points": points}), settle

    def _request(self, method: str, path: str, body: Any) -> bytes:
        return request(self.address, method, PATH + path, json.dumps(body).encode())


class Driver:
    """Connections that carry traffic until told to stop."""

    def __init__(self, traffic: Traffic, connections: int) -> None:
        self.traffic = traffic
        self.tally = Tally()
        self.under_way = 0
        self._count = connections
        self._settles: dict[Connection, Settle | None] = {}

    def run(
        self,
        *,
        seconds: float,
        rate: float | None = None,
        tick: Callable[[], bool] = lambda: True,
        tick_s: float = 0.1,
    ) -> None:
        """Send for `seconds`, or until `tick` is False; then wait for what is under way.

        rate  requests a second that are due, at random; None keeps every connection busy
        """
        gaps = np.random.default_rng(1)
        idle = deque(Connection(self.traffic.address) for _ in range(self._count))
        with selecting(idle) as selector:
            begun = now = time.perf_counter()
            end, next_tick, due = begun + seconds, begun + tick_s, begun
            while True:
                now = time.perf_counter()
                if now >= next_tick:
                    next_tick = now + tick_s
                    if now < end and not tick():
                        end = now
                if now >= end and not self._settles:
                    break
                if now > end + 60:
                    raise TimeoutError("answers did not come")
                due_now = self._count if rate is None else 0
                while rate is not None and due <= now:
                    due_now += 1
                    due += gaps.exponential(1 / rate)
                for _ in range(due_now if now < end else 0):
                    if idle:
                        self._send(idle.popleft(), now, selector, idle)
                    elif rate is None:
                        break
                    else:
                        self.tally.unsent += 1
                until = min(next_tick, due) if rate is not None else next_tick
                for connection in ready(selector, now + 60, until=until):
                    self._received(connection, selector, idle)
                self.under_way = len(self._settles)

    def _send(
        self, connection: Connection, now: float, selector: Any, idle: deque[Connection]
    ) -> None:
        data, settle = self.traffic.next()
        self._settles[connection] = settle
        try:
            connection.send(data, now, selector)
        except OSError:
            self._broken(connection, selector, idle)

    def _received(self, connection: Connection, selector: Any, idle: deque[Connection]) -> None:
        try:
            if not connection.poll_once(selector):
                return
        except OSError:
            self._broken(connection, selector, idle)
            return
        if connection not in self._settles:
            return
        self.tally.statuses[connection.status] += 1
        if connection.status < 300:
            self.tally.latencies_s.append(time.perf_counter() - connection.due)
        settle = self._settles.pop(connection)
        if settle is not None:
            settle(connection.status)
        if connection.last:
            self._reopen(connection, selector, idle)
        else:
            idle.append(connection)

    def _broken(self, connection: Connection, selector: Any, idle: deque[Connection]) -> None:
        if connection in self._settles:
            self.tally.cut += 1
            settle = self._settles.pop(connection)
            if settle is not None:
                settle(None)
        elif connection in idle:  # closed while nothing was asked
            idle.remove(connection)
        self._reopen(connection, selector, idle)

    def _reopen(self, connection: Connection, selector: Any, idle: deque[Connection]) -> None:
        selector.unregister(connection.socket)
        connection.socket.close()
        try:
            fresh = Connection(self.traffic.address)
        except OSError:
            return  # nobody listens any more
        selector.register(fresh.socket, 1, fresh)
        idle.append(fresh)
