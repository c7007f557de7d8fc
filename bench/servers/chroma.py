"""chromadb's own server, `chroma run`, loaded by its own client."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.load import Address, request
from bench.papers import Clauses, Data, K
from bench.peers.base import EF_CONSTRUCTION, M
from bench.peers.databases import attributes, batches, chroma_where
from bench.servers.base import F32, Ids, Server, Way, free_port


class Chroma(Server):
    name = "chromadb"

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        program = str(Path(sys.executable).with_name("chroma"))
        super().__init__(
            [program, "run", "--path", str(folder / "chroma"), "--port", str(self._port)],
            {"ANONYMIZED_TELEMETRY": "false"},
            folder / "chroma.log",
        )
        self._path = ""

    @property
    def address(self) -> Address:
        return "localhost", self._port

    def load(self, data: Data) -> None:
        import chromadb
        from chromadb.config import Settings

        host, port = self.address
        client = chromadb.HttpClient(host, port, settings=Settings(anonymized_telemetry=False))
        collection = client.create_collection(
            "papers",
            configuration={
                "hnsw": {"space": "ip", "max_neighbors": M, "ef_construction": EF_CONSTRUCTION}
            },
            embedding_function=None,
        )
        for rows in batches(len(data.papers)):
            papers = [data.papers[row] for row in rows]
            collection.add(
                ids=[str(row) for row in rows],
                embeddings=data.vectors[rows.start : rows.stop],
                documents=[paper["title"] for paper in papers],
                metadatas=[
                    {name: value for name, value in attributes(paper).items() if value}
                    for paper in papers
                ],
            )
        self._path = (
            "/api/v2/tenants/default_tenant/databases/default_database"
            f"/collections/{collection.id}/query"
        )

    def single(self, query: F32, clauses: Clauses, way: Way) -> bytes | None:
        return self.batch(query[None], [clauses], way)

    def batch(self, queries: F32, clauses: Sequence[Clauses], way: Way) -> bytes | None:
        if way.encoding != "JSON" or len(set(clauses)) > 1:  # one filter for all of a batch
            return None
        body: dict[str, Any] = {"query_embeddings": queries.tolist(), "n_results": K}
        where = chroma_where(clauses[0])
        if where is not None:
            body["where"] = where
        body["include"] = ["metadatas", "documents", "distances"] if way.shown == "default" else []
        return request(self.address, "POST", self._path, json.dumps(body).encode())

    def ids(self, body: bytes) -> Ids:
        return [int(point) for point in json.loads(body)["ids"][0]]
