"""A snapshot as a file: a plain tar of two members, in this order and no other.

    snapshot.json   what it is: format, version, collection, definition, points, and the size and
                    SHA-256 of the member behind it
    store.sqlite    the collection's points (`app.storage.store_copy` makes it)

A tar, so that it can be looked into anywhere with `tar`. But it is read here by nothing that knows
what else a tar may hold: both headers follow from the names and sizes, and a file whose headers,
padding or length are other than those is refused. So there are no paths, links, sparse or
compressed members to be careful about, and the bytes of a snapshot follow from its contents.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from app.errors import InvalidSnapshot
from app.storage.files import sync_file
from app.types import NAME

FORMAT = 1
"""Of the file; raised when older services could not read what this one writes."""

MANIFEST = "snapshot.json"
STORE = "store.sqlite"

MAX_MANIFEST_BYTES = 4 << 20
"""A schema of 1,000 fields with names of 256 bytes, each byte escaped, is 1.6 MB."""

_BLOCK = 512  # what tar rounds to
_END = bytes(2 * _BLOCK)
_PIECE = 1 << 20
_VERSION = re.compile(r"[A-Za-z0-9.+-]{1,64}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot says of itself.

    version      of the service that made it
    definition   JSON, unchecked: `app.engine.definitions` checks it
    """

    version: str
    collection: str
    definition: Any
    points: int
    created_at: str
    store_size: int
    store_sha256: str


def new_digest() -> hashlib._Hash:
    """Begin a digest of the kind that snapshots are verified by."""
    return hashlib.sha256()


def write(
    path: Path,
    store: Path,
    *,
    version: str,
    collection: str,
    definition: Any,
    points: int,
    created_at: str,
) -> str:
    """Write a snapshot of a copied store, synced; returns the SHA-256 of the file, hexadecimal."""
    with store.open("rb") as source:
        store_sha256 = _digest(source)
        store_size = source.tell()
        manifest = orjson.dumps(
            {
                "format": FORMAT,
                "likewise": version,
                "collection": collection,
                "definition": definition,
                "points": points,
                "created_at": created_at,
                "members": {STORE: {"size": store_size, "sha256": store_sha256}},
            },
            option=orjson.OPT_INDENT_2,
        )
        source.seek(0)
        with path.open("xb") as file:
            out = _Hashed(file)
            out.write(_header(MANIFEST, len(manifest)) + manifest + _padding(len(manifest)))
            out.write(_header(STORE, store_size))
            while piece := source.read(_PIECE):
                out.write(piece)
            out.write(_padding(store_size) + _END)
    sync_file(path)
    return out.sha256.hexdigest()


def read_manifest(path: Path) -> Manifest:
    """Read what a snapshot says of itself. Raises InvalidSnapshot."""
    with path.open("rb") as file:
        return _manifest(file)


def extract(path: Path, store: Path, *, sha256: str | None) -> Manifest:
    """Copy the store of a snapshot into a new file, verifying every byte of the snapshot.

    sha256   what the whole file must have, if that is known

    Raises InvalidSnapshot; the copy may be there in part then.
    """
    with path.open("rb") as file:
        source = _Hashed(file)
        manifest = _manifest(source)
        inner = hashlib.sha256()
        left = manifest.store_size
        with store.open("xb") as out:
            while left and (piece := source.read(min(left, _PIECE))):
                inner.update(piece)
                out.write(piece)
                left -= len(piece)
        if left:
            raise InvalidSnapshot("the snapshot ends too early: it was cut off")
        if inner.hexdigest() != manifest.store_sha256:
            raise InvalidSnapshot(f"the snapshot is damaged: {STORE} has another checksum")
        end = _padding(manifest.store_size) + _END
        if source.read(len(end) + 1) != end:
            raise InvalidSnapshot("the snapshot does not end where it should")
    if sha256 is not None and source.sha256.hexdigest() != sha256:
        raise InvalidSnapshot("the snapshot is damaged: the file has another checksum")
    return manifest


class _Hashed:
    """A file whose bytes are hashed as they are read or written, from its beginning."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self.sha256.update(piece)
        return piece

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self.sha256.update(piece)


def _manifest(file: IO[bytes] | _Hashed) -> Manifest:
    """Read up to the first byte of the store."""
    size = _read_header(file, MANIFEST, most=MAX_MANIFEST_BYTES)
    body = file.read(size)
    if len(body) != size or file.read(len(_padding(size))) != _padding(size):
        raise InvalidSnapshot("the snapshot ends too early: it was cut off")
    manifest = _parsed(body)
    if _read_header(file, STORE, most=2**62) != manifest.store_size:
        raise InvalidSnapshot(f"the snapshot is damaged: {STORE} has another size")
    return manifest


def _parsed(body: bytes) -> Manifest:
    try:
        raw = orjson.loads(body)
        format_, version = raw["format"], raw["likewise"]
    except (ValueError, TypeError, KeyError):
        raise _wrong("format") from None
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise _wrong("likewise")
    if type(format_) is not int or format_ < 1:
        raise _wrong("format")
    if format_ > FORMAT:
        raise InvalidSnapshot(
            f"the snapshot was written by likewise {version} in format {format_}; "
            f"this service reads formats up to {FORMAT}",
            found=format_,
            expected=FORMAT,
        )
    try:
        store = raw["members"][STORE]
        manifest = Manifest(
            version,
            raw["collection"],
            raw["definition"],
            raw["points"],
            raw["created_at"],
            store["size"],
            store["sha256"],
        )
    except (TypeError, KeyError):
        raise InvalidSnapshot(f"{MANIFEST} of the snapshot lacks a member") from None
    for name, value, pattern in (
        ("collection", manifest.collection, NAME),
        ("created_at", manifest.created_at, _TIME),
        ("members", manifest.store_sha256, _DIGEST),
    ):
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _wrong(name)
    for name, number in (("points", manifest.points), ("members", manifest.store_size)):
        if type(number) is not int or not 0 <= number < 2**62:
            raise _wrong(name)
    return manifest


def _wrong(member: str) -> InvalidSnapshot:
    return InvalidSnapshot(f"{member!r} in {MANIFEST} of the snapshot is missing or wrong")


def _digest(file: IO[bytes]) -> str:
    """Hash a file from where it stands to its end."""
    found = hashlib.sha256()
    while piece := file.read(_PIECE):
        found.update(piece)
    return found.hexdigest()


def _header(name: str, size: int) -> bytes:
    """Make the only header that a member of that name and size has."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o600
    # GNU's form: sizes past 8 GiB are binary, and every tar reads it.
    return info.tobuf(tarfile.GNU_FORMAT)


def _read_header(file: IO[bytes] | _Hashed, name: str, *, most: int) -> int:
    """Read the header of a member that must come next; returns its size."""
    block = file.read(_BLOCK)
    try:
        size = tarfile.TarInfo.frombuf(block, "ascii", "strict").size
    except (tarfile.HeaderError, ValueError):
        raise InvalidSnapshot("the file is no snapshot: it does not begin as one") from None
    if not 0 <= size <= most or block != _header(name, size):
        raise InvalidSnapshot(f"the file is no snapshot: {name} is not where it should be")
    return size


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
