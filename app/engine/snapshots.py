"""The snapshots of a data directory: files in one folder, taken of collections and made into them.

(Inside the engine, `app.engine.snapshot` is what a reader holds. This is what an operator keeps.)

    <name>.<sha256>.snapshot    a snapshot; its name and the SHA-256 of its bytes
    <uuid>.tmp/                 one that is being made, received or looked into

A snapshot holds the truth only: the definition and the points, not the graphs. Graphs would
tie a file to the segment format of one version, and compiled code would walk links that somebody
else wrote. So a restored collection
answers at once, and exactly, and is indexed in the background.

A file has its name when it is whole, verified and synced, and not before: a crash leaves a `.tmp`,
which goes at the next start. The digest stands in the name because a file cannot hold its own, and
two files would have to be kept in agreement.

One folder belongs to one service. Every method is safe for any thread; taking, receiving and
restoring take as long as the disk does, and what they write is written twice at one time: ask
for twice the room.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Protocol

from app import __version__
from app.engine.collection import Collection
from app.engine.definitions import checked_definition, json_from_definition
from app.engine.foreign_points import check_points
from app.errors import (
    CorruptFile,
    InvalidDefinition,
    InvalidSnapshot,
    SnapshotExists,
    SnapshotNotFound,
    StorageFull,
)
from app.exchange import CollectionInfo, SnapshotInfo
from app.storage import snapshot_file
from app.storage.faults import storing
from app.storage.files import sync_file, sync_folder
from app.storage.snapshot_file import Manifest
from app.storage.write_points import WritePoint, reached
from app.types import NAME, Definition

_log = logging.getLogger(__name__)

_FILE = re.compile(rf"({NAME.pattern})\.([0-9a-f]{{64}})\.snapshot", re.ASCII)
_TEMPORARY = ".tmp"
_LEFT_FREE = 64 << 20  # bytes of the disk that no snapshot takes: writes go on
_SAID_EVERY_S = 10.0

Fill = Callable[[Path], Definition]
"""Puts a store into a new collection's folder, and says what the collection is."""


class Collections(Protocol):
    """What is asked of the database: see `app.engine.database`."""

    def collection(self, name: str) -> Collection: ...

    def check_free(self, name: str, *, replace: bool) -> None: ...

    def install(self, name: str, fill: Fill, *, replace: bool) -> CollectionInfo: ...


class Snapshots:
    """`app.backends.base.Snapshots`, kept as files."""

    def __init__(self, folder: Path, collections: Collections) -> None:
        """Take a folder, which need not be there yet, and remove what a crash left in it."""
        self._folder = folder
        self._collections = collections
        self._lock = threading.Lock()  # of names: between looking for one and giving it
        if folder.is_dir():
            for left in folder.glob(f"*{_TEMPORARY}"):
                shutil.rmtree(left, ignore_errors=True)

    # ── what there is ────────────────────────────────────────────────────────────────────────

    def describe(self, name: str) -> SnapshotInfo:
        """Describe one snapshot; see `Snapshots.describe`."""
        path = self._path(name)
        with _still_there(name, path):
            return _described(path)

    def describe_all(self) -> list[SnapshotInfo]:
        """Describe all snapshots that can be read, by name."""
        found = []
        for path in self._files().values():
            try:
                found.append(_described(path))
            except FileNotFoundError:  # dropped meanwhile
                continue
            except CorruptFile as exc:
                _log.warning("%s cannot be read: %s", path, exc)
        return sorted(found, key=lambda info: info.name)

    def open(self, name: str) -> tuple[SnapshotInfo, IO[bytes]]:
        """Open a snapshot's file; see `Snapshots.open`."""
        path = self._path(name)
        with _still_there(name, path):
            return _described(path), path.open("rb")

    def drop(self, name: str) -> None:
        """Remove a snapshot."""
        with self._lock, storing(self._folder):
            self._path(name).unlink()
            sync_folder(self._folder)
        reached(WritePoint.SNAPSHOT_DROPPED)

    def _files(self) -> dict[str, Path]:
        if not self._folder.is_dir():
            return {}
        found = {path: _FILE.fullmatch(path.name) for path in self._folder.iterdir()}
        return {match[1]: path for path, match in found.items() if match}

    def _path(self, name: str) -> Path:
        path = self._files().get(name)
        if path is None:
            raise _not_found(name)
        return path

    # ── making them ──────────────────────────────────────────────────────────────────────────

    def take(self, collection: str, name: str) -> SnapshotInfo:
        """Write a snapshot of a collection; see `Snapshots.take`."""
        taken = self._collections.collection(collection)
        self._check_new(name)
        started = time.perf_counter()
        with self._workroom(2 * taken.store_bytes()) as room:
            store = room / snapshot_file.STORE
            now = _now()
            definition, points = taken.copy_store(store, _said(f"snapshot {name}"))
            file = room / "file"
            sha256 = snapshot_file.write(
                file,
                store,
                version=__version__,
                collection=collection,
                definition=json_from_definition(definition),
                points=points,
                created_at=now,
            )
            info = self._named(file, name, sha256)
        _log.info(
            "took snapshot %s of collection %s: %d points, %d bytes in %.1f s",
            name, collection, points, info.size, time.perf_counter() - started,
        )  # fmt: skip
        return info

    def receive(self, size: int | None) -> Incoming:
        """Begin to take a file from somewhere else; see `Snapshots.receive`."""
        stack = contextlib.ExitStack()
        room = stack.enter_context(self._workroom(2 * (size or 0)))
        return Incoming(self, room, stack)

    def keep(self, room: Path, file: Path, name: str, sha256: str) -> SnapshotInfo:
        """Verify a received file and give it its name."""
        started = time.perf_counter()
        self._check_new(name)
        _extracted(file, room, sha256)
        sync_file(file)
        info = self._named(file, name, sha256)
        _log.info(
            "received snapshot %s: %d points, %d bytes, verified in %.1f s",
            name, info.points, info.size, time.perf_counter() - started,
        )  # fmt: skip
        return info

    def restore(self, name: str, collection: str, *, replace: bool) -> CollectionInfo:
        """Make a collection of a snapshot; see `Snapshots.restore`."""
        path = self._path(name)
        self._collections.check_free(collection, replace=replace)
        started = time.perf_counter()

        def fill(folder: Path) -> Definition:
            with _still_there(name, path):
                _check_room(folder, path.stat().st_size)
                _, definition = _extracted(path, folder, _digest_of(path))
            sync_file(folder / snapshot_file.STORE)
            return definition

        info = self._collections.install(collection, fill, replace=replace)
        _log.info(
            "restored collection %s from snapshot %s: %d points in %.1f s",
            collection, name, info.points, time.perf_counter() - started,
        )  # fmt: skip
        return info

    def _check_new(self, name: str) -> None:
        if name in self._files():
            raise SnapshotExists(f"a snapshot named {name!r} exists", snapshot=name)

    @contextlib.contextmanager
    def _workroom(self, needed: int) -> Iterator[Path]:
        """Lend a folder of its own beside the snapshots, and clear it away afterwards.

        needed   bytes that will be written there; raises StorageFull if they are not to be had
        """
        room = self._folder / f"{uuid.uuid4().hex}{_TEMPORARY}"
        try:
            with storing(self._folder):
                room.mkdir(parents=True)
                _check_room(room, needed)
                yield room
        finally:
            shutil.rmtree(room, ignore_errors=True)

    def _named(self, file: Path, name: str, sha256: str) -> SnapshotInfo:
        """Let a whole, synced file be the snapshot `name`."""
        with self._lock:
            self._check_new(name)
            path = self._folder / f"{name}.{sha256}.snapshot"
            reached(WritePoint.SNAPSHOT_MADE)
            file.rename(path)
            sync_folder(self._folder)
            reached(WritePoint.SNAPSHOT_NAMED)
            return _described(path)  # before anybody can drop it


class Incoming:
    """`app.backends.base.Incoming`, as a file that grows."""

    def __init__(self, snapshots: Snapshots, room: Path, stack: contextlib.ExitStack) -> None:
        self._snapshots = snapshots
        self._room = room
        self._path = room / "file"
        self._stack = stack
        self._lock = threading.Lock()
        self._file = self._path.open("xb")
        self._sha256 = snapshot_file.new_digest()

    def write(self, piece: bytes) -> None:
        """Append; see `Incoming.write`."""
        with storing(self._room):
            self._file.write(piece)
        self._sha256.update(piece)

    def keep(self, name: str, *, sha256: str | None) -> SnapshotInfo:
        """Verify and keep; see `Incoming.keep`."""
        with self._lock, self._stack, storing(self._room):
            self._file.close()
            found = self._sha256.hexdigest()
            if sha256 is not None and sha256 != found:
                raise InvalidSnapshot(
                    "what arrived has another SHA-256 than was announced", received=found
                )
            return self._snapshots.keep(self._room, self._path, name, found)

    def discard(self) -> None:
        """Give up; see `Incoming.discard`."""
        with self._lock:
            with contextlib.suppress(OSError):
                self._file.close()
            self._stack.close()


def _extracted(path: Path, folder: Path, sha256: str) -> tuple[Manifest, Definition]:
    """Copy a snapshot's store into a folder, and check everything about it."""
    store = folder / snapshot_file.STORE
    manifest = snapshot_file.extract(path, store, sha256=sha256)
    try:
        definition = checked_definition(manifest.definition)
    except InvalidDefinition as exc:
        raise InvalidSnapshot(f"the snapshot's definition is wrong: {exc.detail}") from None
    check_points(store, definition, manifest.points)
    return manifest, definition


def _described(path: Path) -> SnapshotInfo:
    match = _FILE.fullmatch(path.name)
    assert match is not None, path
    try:
        manifest = snapshot_file.read_manifest(path)
    except InvalidSnapshot as exc:
        raise CorruptFile(f"the snapshot cannot be read: {exc.detail}", path=str(path)) from exc
    return SnapshotInfo(
        match[1],
        manifest.collection,
        manifest.points,
        path.stat().st_size,
        match[2],
        manifest.version,
        manifest.created_at,
    )


def _digest_of(path: Path) -> str:
    match = _FILE.fullmatch(path.name)
    assert match is not None, path
    return match[2]


@contextlib.contextmanager
def _still_there(name: str, path: Path) -> Iterator[None]:
    """Say SnapshotNotFound if a snapshot was dropped between being found and being opened."""
    try:
        yield
    except FileNotFoundError:
        if path.exists():
            raise
        raise _not_found(name) from None


def _not_found(name: str) -> SnapshotNotFound:
    return SnapshotNotFound(f"there is no snapshot named {name!r}", snapshot=name)


def _check_room(folder: Path, needed: int) -> None:
    """Raise StorageFull early, before the disk is full for everybody else too."""
    if needed + _LEFT_FREE > shutil.disk_usage(folder).free:
        raise StorageFull(
            f"a snapshot needs {needed} bytes here, and leaves {_LEFT_FREE} to others: there are "
            "not as many",
            needed=needed,
        )


def _now() -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return now.replace("+00:00", "Z")


def _said(what: str) -> Callable[[int, int], None]:
    """Log how far something long is, now and then."""
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SAID_EVERY_S:
            last = time.monotonic()
            _log.info("%s: %d of %d rows", what, done, total)

    return progress
