"""Our own server, at default settings, as `likewise serve` starts it."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.load import Address, request
from bench.papers import Clauses, Data, K, as_json, families
from bench.peers.databases import attributes, batches
from bench.servers.base import F32, Ids, Server, Way, free_port

NAME = "papers"
LESSONS = 100  # questions of each family that are asked before anything is measured
SETTLED_S = 7.0  # the builder looks again when a collection was idle for five seconds


class Likewise(Server):
    name = "likewise"

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        root = Path(__file__).parents[2]
        super().__init__(
            [sys.executable, "-m", "app", "serve"],
            {
                "LIKEWISE_PORT": str(self._port),
                "LIKEWISE_DATA_DIR": str(folder / "likewise"),
                "LIKEWISE_MODELS_DIR": str(root / "models"),
                "LIKEWISE_DEFAULT_ENCODER": "tiny",  # nothing here is encoded
            },
            folder / "likewise.log",
        )

    @property
    def address(self) -> Address:
        return "127.0.0.1", self._port

    def load(self, data: Data) -> None:
        path = f"/v1/collections/{NAME}"
        self.ask("PUT", path, {"dimension": data.vectors.shape[1]})
        for rows in batches(len(data.papers)):
            points = [
                {
                    "id": row,
                    "vector": _base64(data.vectors[row]),
                    "text": data.papers[row]["title"],
                    "attributes": attributes(data.papers[row]),
                }
                for row in rows
            ]
            self.ask("PUT", f"{path}/points", {"points": points})
        while self._building():
            time.sleep(0.1)
        # Covers are built for the filters that are asked: let it see some of each family, others
        # than those that are measured.
        for drawn in families(data, seed=2).values():
            for query, clauses in list(zip(data.queries, drawn, strict=True))[:LESSONS]:
                self.ask("POST", f"{path}/query", _question(query, clauses, Way("base64", "ids")))
        quiet_since = time.perf_counter()
        while time.perf_counter() - quiet_since < SETTLED_S:
            if self._building():
                quiet_since = time.perf_counter()
            time.sleep(0.1)

    def _building(self) -> bool:
        return bool(self.ask("GET", f"/v1/collections/{NAME}")["building"])

    def single(self, query: F32, clauses: Clauses, way: Way) -> bytes | None:
        body = json.dumps(_question(query, clauses, way)).encode()
        return request(self.address, "POST", f"/v1/collections/{NAME}/query", body)

    def batch(self, queries: F32, clauses: Sequence[Clauses], way: Way) -> bytes | None:
        asked = [_question(*one, way) for one in zip(queries, clauses, strict=True)]
        body = json.dumps({"queries": asked}).encode()
        return request(self.address, "POST", f"/v1/collections/{NAME}/query:batch", body)

    def ids(self, body: bytes) -> Ids:
        return [point["id"] for point in json.loads(body)["points"]]


def _question(query: F32, clauses: Clauses, way: Way) -> dict[str, Any]:
    vector = _base64(query) if way.encoding == "base64" else query.tolist()
    question: dict[str, Any] = {"vector": vector, "k": K}
    if clauses:
        question["filter"] = as_json(clauses)
    if way.shown == "ids":
        question |= {"fields": [], "with_text": False}
    return question


def _base64(vector: F32) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
