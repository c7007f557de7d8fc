"""Collections to take snapshots of, and snapshots made by hand."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.backends.base import Backend, SnapshotInfo
from app.backends.local import LocalBackend
from app.types import Definition, IndexSettings, Metric, Point, PointId, Projection, VectorField

DEFINITION = Definition(
    {
        "title": VectorField("title", 3, Metric.COSINE, encoder="nobody-has-it"),
        "own": VectorField("own", 2, Metric.L2),
    },
    {"year": "integer", "tags": "keyword"},
    IndexSettings(m=8, ef_construction=40),
)

POINTS = [
    Point(
        id_,
        {"title": np.array([1, n, 0.5], dtype=np.float32)}
        | ({"own": np.array([n, -0.0], dtype=np.float32)} if n % 3 else {}),
        {"year": 1900 + n, "tags": ["a", f"t{n % 4}"], "note": 'ü "quoted"\n line'},
        None if n % 2 else f"text {n} \U0001f40b",
    )
    for n, id_ in enumerate([0, 2**64 - 1, "1", "ü/..", *range(100, 140)])
]


def opened(folder: Path, **more: Any) -> LocalBackend:
    """The engine with settings for tests."""
    return LocalBackend(folder, **{"sync": False, "head_points": 16, **more})


def filled(backend: Backend, name: str = "c") -> None:
    """A collection with two kinds of vectors, texts, and rows that went."""
    backend.create(name, DEFINITION)
    backend.upsert(name, POINTS[:30])
    backend.upsert(name, POINTS[10:])
    for key in ("gone", "kept"):
        backend.keep(name, "kind", key, key.encode() * 3)
    backend.forget(name, "kind", "gone")


def whole(backend: Backend, name: str) -> dict[PointId, Any]:
    """Everything that is stored of each point, vectors as their bytes."""
    page = backend.scroll(
        name, filter=None, limit=10_000, after=None, projection=Projection(with_vectors=True)
    )
    return {
        record.id: (
            dict(record.attributes),
            record.text,
            {field: vector.tobytes() for field, vector in (record.vectors or {}).items()},
        )
        for record in page.records
    }


def content(backend: LocalBackend, name: str) -> bytes:
    """The bytes of a snapshot's file."""
    _, file = backend.snapshots.open(name)
    with file:
        return file.read()


def receive(
    backend: LocalBackend, name: str, octets: bytes, sha256: str | None = None
) -> SnapshotInfo:
    """Upload a file in two pieces."""
    incoming = backend.snapshots.receive(len(octets))
    try:
        incoming.write(octets[:1000])
        incoming.write(octets[1000:])
        return incoming.keep(name, sha256=sha256)
    finally:
        incoming.discard()


def tar(manifest: bytes, store: bytes) -> bytes:
    """A tar as Python's own library writes it: what `docs/snapshots.md` describes."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, octets in (("snapshot.json", manifest), ("store.sqlite", store)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(octets), 0o600
            archive.addfile(info, io.BytesIO(octets))
    size = 512 * (4 + -(-len(manifest) // 512) + -(-len(store) // 512))
    return made.getvalue()[:size]  # without the record that tarfile fills up


def members(octets: bytes) -> tuple[dict[str, Any], bytes]:
    """A snapshot's manifest and store, read by Python's own library."""
    with tarfile.open(fileobj=io.BytesIO(octets)) as archive:
        manifest, store = (archive.extractfile(member) for member in archive.getmembers())
        assert manifest is not None
        assert store is not None
        return json.load(manifest), store.read()


def forged(
    octets: bytes,
    scratch: Path,
    *,
    store: Callable[[sqlite3.Connection], object] = lambda _: None,
    manifest: Callable[[dict[str, Any]], object] = lambda _: None,
) -> bytes:
    """A snapshot with a changed store or manifest and checksums that are right all the same."""
    raw, database = members(octets)
    path = scratch / "forged.sqlite"
    path.write_bytes(database)
    connection = sqlite3.connect(path, isolation_level=None)
    store(connection)
    connection.close()
    database = path.read_bytes()
    path.unlink()
    raw["members"]["store.sqlite"] = {
        "size": len(database),
        "sha256": hashlib.sha256(database).hexdigest(),
    }
    manifest(raw)
    return tar(json.dumps(raw).encode(), database)
