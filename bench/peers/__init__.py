"""The systems that `bench.filtered` compares, each behind the same few calls.

A module is imported only in the process that measures its system, so one that is not installed
stops nobody else.
"""

from __future__ import annotations

SYSTEMS = {
    "likewise": "bench.peers.ours:Likewise",
    "hnswlib": "bench.peers.libraries:Hnswlib",
    "faiss HNSW": "bench.peers.libraries:FaissHnsw",
    "faiss flat": "bench.peers.libraries:FaissFlat",
    "usearch": "bench.peers.libraries:Usearch",
    "qdrant-edge": "bench.peers.databases:QdrantEdge",
    "chromadb": "bench.peers.databases:Chroma",
    "lancedb": "bench.peers.databases:Lance",
    "milvus-lite": "bench.peers.databases:MilvusLite",
    "numpy": "bench.peers.libraries:Numpy",
}
"""Name on the command line and in the tables → class."""

REOPENED = {
    "likewise": {
        "likewise opened again": "bench.peers.ours:Reopened",
        "likewise vectors on disk": "bench.peers.ours:VectorsOnDisk",
    }
}
"""System → what is measured right after it, on the files that it left, in a new process."""
