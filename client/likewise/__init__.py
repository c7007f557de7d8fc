"""Likewise's Python SDK: vector search with filters, blocking and async.

from likewise import Client, F

with Client("http://127.0.0.1:8000") as client:
    films = client.create_collection("films")
    films.upsert([{"id": 1, "text": "A whale is hunted.", "attributes": {"year": 1956}}])
    hits = films.query("danger at sea", filter=F("year") < 1960, k=3)
"""

from ._async import AsyncClient, AsyncCollection
from ._compositions import q
from ._errors import (
    AccessError,
    ApiError,
    ConflictError,
    InvalidRequestError,
    LikewiseError,
    NotFoundError,
    OverloadedError,
    Problem,
    ServerError,
    TransportError,
    UnavailableError,
    VersionError,
)
from ._evaluation import Comparison, Estimate, EvaluatedConfiguration, Evaluation
from ._filters import F, Filter, match
from ._kept import Calibration, QueryBank
from ._memory import (
    Classification,
    Classifications,
    Classifier,
    Kept,
    LabelScore,
    Rate,
    Threshold,
    Verification,
    Verifications,
)
from ._points import Point, points_from_columns
from ._queries import Query, Rerank
from ._results import (
    CollectionInfo,
    Embeddings,
    Encodings,
    EveryOutput,
    Facets,
    Hit,
    ImportReport,
    IndexInfo,
    Info,
    LexicalInfo,
    Limits,
    LineError,
    Model,
    QueryResult,
    Ranked,
    Readiness,
    Record,
    Records,
    Reranking,
    SegmentInfo,
    SnapshotInfo,
    VectorInfo,
)
from ._retry import Retries
from ._sync import Client, Collection
from ._vectors import SparseVector, TokenVectors, to_numpy
from ._version import __version__

__all__ = [
    "AccessError",
    "ApiError",
    "AsyncClient",
    "AsyncCollection",
    "Calibration",
    "Classification",
    "Classifications",
    "Classifier",
    "Client",
    "Collection",
    "CollectionInfo",
    "Comparison",
    "ConflictError",
    "Embeddings",
    "Encodings",
    "Estimate",
    "EvaluatedConfiguration",
    "Evaluation",
    "EveryOutput",
    "F",
    "Facets",
    "Filter",
    "Hit",
    "ImportReport",
    "IndexInfo",
    "Info",
    "InvalidRequestError",
    "Kept",
    "LabelScore",
    "LexicalInfo",
    "LikewiseError",
    "Limits",
    "LineError",
    "Model",
    "NotFoundError",
    "OverloadedError",
    "Point",
    "Problem",
    "Query",
    "QueryBank",
    "QueryResult",
    "Ranked",
    "Rate",
    "Readiness",
    "Record",
    "Records",
    "Rerank",
    "Reranking",
    "Retries",
    "SegmentInfo",
    "ServerError",
    "SnapshotInfo",
    "SparseVector",
    "Threshold",
    "TokenVectors",
    "TransportError",
    "UnavailableError",
    "VectorInfo",
    "Verification",
    "Verifications",
    "VersionError",
    "__version__",
    "match",
    "points_from_columns",
    "q",
    "to_numpy",
]
