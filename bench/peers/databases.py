"""Vector databases that run in the caller's process and read filters themselves.

Each gets the attributes that the workloads filter on, with every index it offers for them.
Imports are local: one process measures one system.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.papers import (
    KEYWORDS,
    LISTS,
    NUMBERS,
    Between,
    Clause,
    Clauses,
    Columns,
    Contains,
    Data,
    Equal,
    K,
    Paper,
)
from bench.peers.base import EF_CONSTRUCTION, WIDTHS, M, System

F32 = NDArray[np.float32]
BATCH = 1000


def attributes(paper: Paper) -> dict[str, Any]:
    """What the workloads filter on."""
    return {field: paper[field] for field in (*NUMBERS, *KEYWORDS, *LISTS)}


def batches(count: int) -> Iterator[range]:
    """Cut the rows into uploads."""
    for start in range(0, count, BATCH):
        yield range(start, min(start + BATCH, count))


class QdrantEdge(System):
    """One segment; the graph has extra links per value of every indexed field (`payload_m`)."""

    modes: ClassVar = {"": WIDTHS, "ACORN": WIDTHS}
    distribution = "qdrant-edge-py"
    what = "HNSW with payload links, an index on every field; with ACORN where said"

    def __init__(self, data: Data, columns: Columns, folder: Path, cores: int) -> None:
        import qdrant_edge as edge

        self._edge = edge
        self._shard = edge.EdgeShard.create(
            str(folder / "shard"),
            edge.EdgeConfig(
                vectors=edge.EdgeVectorParams(
                    size=data.vectors.shape[1], distance=edge.Distance.Dot
                ),
                hnsw_config=edge.HnswIndexConfig(
                    m=M,
                    ef_construct=EF_CONSTRUCTION,
                    full_scan_threshold=10_000,  # kilobytes; the server's default
                    max_indexing_threads=cores,
                    payload_m=M,
                ),
                optimizers=edge.EdgeOptimizersConfig(
                    default_segment_number=1, indexing_threshold=1, max_segment_size=10**9
                ),
                max_search_threads=1,
            ),
        )
        for field in NUMBERS:
            index = edge.IntegerIndexParams(lookup=True, range=True)
            self._shard.update(edge.UpdateOperation.create_field_index(field, index))
        for field in (*KEYWORDS, *LISTS):
            index = edge.KeywordIndexParams()
            self._shard.update(edge.UpdateOperation.create_field_index(field, index))
        for rows in batches(len(data.papers)):
            points = [
                edge.Point(row, data.vectors[row], attributes(data.papers[row])) for row in rows
            ]
            self._shard.update(edge.UpdateOperation.upsert_points(points))
        self._shard.optimize()
        indexed = self._shard.info().indexed_vectors_count
        if indexed != len(data.papers):
            raise RuntimeError(f"indexed {indexed} of {len(data.papers)} points")

    def form(self, clauses: Clauses) -> Any:
        return self._edge.Filter(must=[self._condition(c) for c in clauses]) if clauses else None

    def _condition(self, clause: Clause) -> Any:
        match clause:
            case Between(field, low, high):
                return self._edge.FieldCondition(
                    field, range=self._edge.RangeFloat(gte=low, lte=high)
                )
            case Equal(field, value) | Contains(field, value):
                return self._edge.FieldCondition(field, match=self._edge.MatchValue(value))

    def prepare(self, mode: str, width: int | None) -> None:
        acorn = self._edge.AcornSearchParams(enable=True) if mode == "ACORN" else None
        self._parameters = self._edge.SearchParams(hnsw_ef=width, acorn=acorn)

    def search(self, query: F32, form: Any) -> Sequence[int]:
        request = self._edge.QueryRequest(
            limit=K,
            query=self._edge.Query.Nearest(query),
            filter=form,
            params=self._parameters,
            with_payload=False,
            with_vector=False,
        )
        return [point.id for point in self._shard.query(request)]

    def close(self) -> None:
        self._shard.close()


def chroma_where(clauses: Clauses) -> dict[str, Any] | None:
    """Write a filter as chromadb reads it."""
    conditions: list[dict[str, Any]] = []
    for clause in clauses:
        match clause:
            case Between(field, low, high):
                conditions += [{field: {"$gte": low}}, {field: {"$lte": high}}]
            case Contains(field, value):
                conditions.append({field: {"$contains": value}})
            case Equal(field, value):
                conditions.append({field: {"$eq": value}})
    return {"$and": conditions} if len(conditions) > 1 else next(iter(conditions), None)


class Chroma(System):
    """A new `ef_search` is stored at once but read only when the index is loaded (measured with
    1.5.9: neither speed nor recall changes before), so every width opens the folder again."""

    distribution = "chromadb"
    what = "PersistentClient, HNSW, metadata in SQLite"

    def __init__(self, data: Data, columns: Columns, folder: Path, cores: int) -> None:
        self._path = str(folder / "chroma")
        self._open()
        hnsw = {
            "space": "ip",
            "max_neighbors": M,
            "ef_construction": EF_CONSTRUCTION,
            "num_threads": cores,
        }
        self._collection = self._client.create_collection(
            "papers", configuration={"hnsw": hnsw}, embedding_function=None
        )
        for rows in batches(len(data.papers)):
            self._collection.add(
                ids=[str(row) for row in rows],
                embeddings=data.vectors[rows.start : rows.stop],
                metadatas=[
                    {name: value for name, value in attributes(data.papers[row]).items() if value}
                    for row in rows
                ],
            )

    def _open(self) -> None:
        import chromadb
        from chromadb.config import Settings

        self._client = chromadb.PersistentClient(self._path, Settings(anonymized_telemetry=False))

    def form(self, clauses: Clauses) -> dict[str, Any] | None:
        return chroma_where(clauses)

    def prepare(self, mode: str, width: int | None) -> None:
        self._collection.modify(configuration={"hnsw": {"ef_search": width}})
        self._client.close()
        self._open()
        self._collection = self._client.get_collection("papers", embedding_function=None)

    def search(self, query: F32, form: dict[str, Any] | None) -> Sequence[int]:
        answer = self._collection.query(
            query_embeddings=query[None], n_results=K, where=form, include=[]
        )
        return [int(point) for point in answer["ids"][0]]

    def close(self) -> None:
        self._client.close()


class Lance(System):
    """One partition, so that the graph is one graph, as everywhere else."""

    distribution = "lancedb"
    what = "IVF_HNSW_FLAT of one partition, scalar indexes on every field, prefilter"

    def __init__(self, data: Data, columns: Columns, folder: Path, cores: int) -> None:
        import lancedb
        import pyarrow as pa
        from lancedb.index import Bitmap, BTree, HnswFlat, LabelList

        papers = [attributes(paper) for paper in data.papers]
        flat = pa.array(data.vectors.ravel())
        table = pa.table(
            {
                "id": np.arange(len(papers)),
                "vector": pa.FixedSizeListArray.from_arrays(flat, data.vectors.shape[1]),
                **{field: [paper[field] for paper in papers] for field in papers[0]},
            }
        )
        self._table = lancedb.connect(folder).create_table("papers", table)
        indexes = {
            "year": BTree(),
            "n_categories": Bitmap(),
            "primary_cat": Bitmap(),
            "main_categories": LabelList(),
            "authors": LabelList(),
        }
        for field, index in indexes.items():
            self._table.create_index(field, config=index)
        graph = HnswFlat(
            distance_type="dot", num_partitions=1, m=M, ef_construction=EF_CONSTRUCTION
        )
        self._table.create_index("vector", config=graph)

    def form(self, clauses: Clauses) -> str | None:
        def quoted(value: int | str) -> str:
            return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"

        conditions = []
        for clause in clauses:
            match clause:
                case Between(field, low, high):
                    conditions.append(f"{field} >= {low} AND {field} <= {high}")
                case Contains(field, value):
                    conditions.append(f"array_has({field}, {quoted(value)})")
                case Equal(field, value):
                    conditions.append(f"{field} = {quoted(value)}")
        return " AND ".join(conditions) or None

    def prepare(self, mode: str, width: int | None) -> None:
        self._width = width

    def search(self, query: F32, form: str | None) -> Sequence[int]:
        asked = self._table.search(query).distance_type("dot").nprobes(1).ef(self._width)
        if form is not None:
            asked = asked.where(form, prefilter=True)
        found = asked.select(["id", "_distance"]).limit(K).to_arrow()
        return found["id"].to_numpy()


class MilvusLite(System):
    """Its embedded engine, without the gRPC server that pymilvus talks to."""

    distribution = "milvus-lite"
    what = "embedded engine: faiss HNSW per segment, inverted indexes where it has them"

    def __init__(self, data: Data, columns: Columns, folder: Path, cores: int) -> None:
        import faiss
        from milvus_lite import CollectionSchema, DataType, FieldSchema
        from milvus_lite import MilvusLite as Engine

        faiss.omp_set_num_threads(cores)
        text = {"max_length": 1000}
        lists = {**text, "element_type": DataType.VARCHAR, "max_capacity": 4096}
        fields = [
            FieldSchema(name="id", dtype=DataType.INT64, is_primary=True),
            FieldSchema(name="vector", dtype=DataType.FLOAT_VECTOR, dim=data.vectors.shape[1]),
            *(FieldSchema(name=field, dtype=DataType.INT64) for field in NUMBERS),
            *(FieldSchema(name=field, dtype=DataType.VARCHAR, **text) for field in KEYWORDS),
            *(FieldSchema(name=field, dtype=DataType.ARRAY, **lists) for field in LISTS),
        ]
        self._engine = Engine(str(folder / "milvus"))
        self._collection = self._engine.create_collection("papers", CollectionSchema(fields=fields))
        for rows in batches(len(data.papers)):
            self._collection.insert(
                [
                    {
                        "id": row,
                        "vector": data.vectors[row].tolist(),
                        **attributes(data.papers[row]),
                    }
                    for row in rows
                ]
            )
        self._collection.flush()
        for field in (*NUMBERS, *KEYWORDS):  # "field type ARRAY does not support scalar index"
            self._collection.create_index(field, {"index_type": "INVERTED", "metric_type": ""})
        graph = {"M": M, "efConstruction": EF_CONSTRUCTION}
        self._collection.create_index(
            "vector", {"index_type": "HNSW", "metric_type": "IP", "params": graph}
        )
        self._collection.load()

    def form(self, clauses: Clauses) -> str | None:
        def quoted(value: int | str) -> str:
            return json.dumps(value, ensure_ascii=False)

        conditions = []
        for clause in clauses:
            match clause:
                case Between(field, low, high):
                    conditions.append(f"{field} >= {low} and {field} <= {high}")
                case Contains(field, value):
                    conditions.append(f"array_contains({field}, {quoted(value)})")
                case Equal(field, value):
                    conditions.append(f"{field} == {quoted(value)}")
        return " and ".join(conditions) or None

    def prepare(self, mode: str, width: int | None) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self._width = {"ef": width}

    def search(self, query: F32, form: str | None) -> Sequence[int]:
        hits = self._collection.search(
            [query],
            top_k=K,
            metric_type="IP",
            expr=form,
            output_fields=[],
            search_params=self._width,
        )
        return [hit["id"] for hit in hits[0]]

    def close(self) -> None:
        self._engine.close()
