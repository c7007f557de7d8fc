"""The embedded engine: a data directory of collections, and their background builder.

    LOCK                    held while a process uses the directory
    catalog.sqlite          which collections exist (`app.storage.catalog`)
    reserve                 room for removals on a full disk (`app.storage.reserve`)
    collections/<folder>/   one collection: store.sqlite (the truth), segments/ (derived)
    snapshots/              what an operator keeps of collections (`app.engine.snapshots`)

A collection that cannot be opened does not stop the others: its name stays known, and every call
to it raises the error that says why.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar, cast

import orjson

from app.attributes.filter import Filter
from app.engine import folders
from app.engine.account import EngineAccount
from app.engine.builder import Builder
from app.engine.builds import BuildSettings
from app.engine.collection import Collection
from app.engine.definitions import definition_from_json, json_from_definition
from app.engine.expiry import Clock
from app.engine.keeper import Keeper
from app.engine.snapshots import Fill, Snapshots
from app.engine.view import SnapshotView
from app.errors import (
    CollectionExists,
    CollectionNotFound,
    CorruptFile,
    DefinitionDiffers,
    LikewiseError,
    StorageFull,
    StorageReadOnly,
    StoredDataError,
    Unavailable,
)
from app.exchange import (
    Answer,
    CollectionInfo,
    Lifetime,
    Page,
    Search,
    Selection,
    Statistics,
    Storage,
)
from app.planner.costs import Costs
from app.storage.catalog import Catalog, Entry
from app.storage.faults import fault_from_os, fault_of_folder
from app.storage.files import lock_folder, sync_folder
from app.storage.reserve import Reserve
from app.storage.write_points import WritePoint, reached
from app.types import (
    AttributeValue,
    Definition,
    IndexSettings,
    Kept,
    KeptInfo,
    Lexical,
    Point,
    PointId,
    Projection,
    Record,
)

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_Viewed = TypeVar("_Viewed")

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _following(method: _Method) -> _Method:
    """Run a call again if the collection it went to has been replaced by another meanwhile.

    A collection that is closed refuses at its gate, before anything is done: so nothing is done
    twice, and a name that always means a collection always answers.
    """

    @functools.wraps(method)
    def call(self: Database, name: str, *args: Any, **kwargs: Any) -> Any:
        while True:
            found = self._open.get(name)
            try:
                return method(self, name, *args, **kwargs)
            except CollectionNotFound:
                now = self._open.get(name)
                if now is None or now is found:
                    raise

    return cast("_Method", call)


_FAULTS_SHOWN = 100


class Database:
    """All collections of one data directory. Every method is safe for any thread."""

    def __init__(
        self,
        data_dir: Path,
        *,
        snapshots_dir: Path | None = None,
        sync: bool = True,
        head_points: int = 4096,
        build_threads: int = 1,
        cover_share: float = 0.35,
        vectors_on_disk: bool = False,
        reserve_bytes: int = 0,
        costs: Costs = Costs(),  # noqa: B008  # frozen
        clock: Clock = time.time,
    ) -> None:
        """Open a data directory, making it if there is none.

        snapshots_dir   None is `snapshots` in the data directory
        cover_share   most bytes of covers, as a share of the vectors that they are graphs over
        vectors_on_disk   keep eight-bit codes in memory, and read the vectors that are compared
        reserve_bytes   room kept for removals on a full disk (`app.storage.reserve`)
        clock           by which points expire

        Raises DirectoryInUse, IncompatibleFormat or CorruptFile if it cannot be used as a whole; a
        collection that cannot be opened is reported by `health` and by every call to it.
        """
        self._account = EngineAccount()
        self._folder = data_dir / "collections"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = lock_folder(data_dir)
        except OSError as exc:
            raise StoredDataError(
                f"the data directory {data_dir} cannot be used: {exc.strerror}", path=str(data_dir)
            ) from exc
        self._sync = sync
        self._clock = clock
        self._builds = BuildSettings(head_points, cover_share, vectors_on_disk, costs)
        self._lock = threading.Lock()  # of the catalog and of changes to the two dictionaries
        self._open: dict[str, Collection] = {}
        self._broken: dict[str, LikewiseError] = {}
        try:
            self._catalog = self._opened_catalog(data_dir / "catalog.sqlite")
        except BaseException:
            self._lock_file.close()
            raise
        self.snapshots = Snapshots(snapshots_dir or data_dir / "snapshots", self)
        self._builder: Builder | None = None
        self._keeper: Keeper | None = None
        self._reserve = Reserve(data_dir / "reserve", reserve_bytes)
        self._trouble: Unavailable | None = None
        try:
            entries = self._catalog.entries()
        except BaseException:
            self._catalog.close()
            self._lock_file.close()
            raise
        folders.sweep(self._folder, {entry.folder for entry in entries})
        for entry in entries:
            try:
                self._open[entry.name] = self._opened(entry)
            except Exception as exc:
                _log.exception(
                    "a collection cannot be opened: the others are served without it",
                    extra={"facts": {"collection": entry.name, "job": "open"}},
                )
                self._broken[entry.name] = (
                    exc
                    if isinstance(exc, LikewiseError)
                    else StoredDataError(f"the collection cannot be opened: {exc}")
                )
        self._builder = Builder(
            lambda: list(self._open.values()), threads=build_threads, account=self._account
        )
        self._keeper = Keeper(lambda: list(self._open.values()))

    def _opened_catalog(self, path: Path) -> Catalog:
        catalog = Catalog(path)
        if catalog.new and any(self._folder.iterdir()):
            catalog.close()
            path.unlink()
            raise CorruptFile(
                "the catalog is missing, but there are collections: restore catalog.sqlite",
                path=str(path),
            )
        return catalog

    def _opened(self, entry: Entry) -> Collection:
        return Collection(
            self._folder / entry.folder,
            entry.name,
            replace(definition_from_json(orjson.loads(entry.definition)), mark=entry.folder),
            entry.created_at,
            sync=self._sync,
            settings=self._builds,
            account=self._account,
            on_change=self._changed,
            clock=self._clock,
        )

    def _changed(self) -> None:
        if self._builder is not None:
            self._builder.wake()

    def _collection(self, name: str, mark: str | None = None) -> Collection:
        collection = self._open.get(name)
        if collection is None:
            if name in self._broken:
                raise self._broken[name].with_traceback(None)
            raise CollectionNotFound(name)
        if mark is not None and collection.definition.mark != mark:
            raise CollectionNotFound(name)  # the one that was meant is gone
        return collection

    def _collection_is(self, name: str, collection: Collection) -> None:
        if self._open.get(name) is not collection:
            raise CollectionNotFound(name)

    # ── collections ──────────────────────────────────────────────────────────────────────────

    def create(self, name: str, definition: Definition) -> tuple[CollectionInfo, bool]:
        """Create a collection; see `Backend.create`."""
        with self._lock:
            existing = self._open.get(name)
            if existing is not None or name in self._broken:
                existing = self._collection(name)
                if existing.definition != definition:
                    raise DefinitionDiffers(
                        f"collection {name!r} exists with another definition: what differs is "
                        f"{existing.definition.differs(definition)}",
                        collection=name,
                    )
                return existing.describe(), False
            entry = _new_entry(name, definition, uuid.uuid4().hex)
            folder = self._folder / entry.folder
            making = folder.with_suffix(folders.NEW)
            with self._writing(adds=True):
                try:
                    Collection.create(making, definition)
                    self._named(making, folder)
                    collection = self._opened(entry)
                except BaseException:
                    for left in (making, folder):
                        shutil.rmtree(left, ignore_errors=True)
                    raise
                try:
                    self._catalog.add(entry)
                except BaseException:
                    collection.close()
                    if self._catalog.settled():
                        shutil.rmtree(folder, ignore_errors=True)
                    # Else the entry may come back with the next start, which decides by the mark.
                    raise
            folders.unmark(folder)
            reached(WritePoint.COLLECTION_LISTED)
            self._open = {**self._open, name: collection}
            return collection.describe(), True

    def _named(self, making: Path, folder: Path) -> None:
        """Give a finished folder its name: from then on the catalog decides about it."""
        folders.mark(making)
        reached(WritePoint.COLLECTION_MADE)
        making.rename(folder)
        reached(WritePoint.COLLECTION_NAMED)
        sync_folder(self._folder)

    def describe(self, name: str) -> CollectionInfo:
        """Describe one collection."""
        return self._collection(name).describe()

    def definition(self, name: str) -> Definition:
        """Tell what a collection is."""
        return self._collection(name).definition

    def describe_all(self) -> list[CollectionInfo]:
        """Describe all collections that can be opened, by name."""
        described = []
        for _, collection in sorted(self._open.items()):
            with contextlib.suppress(CollectionNotFound):  # dropped meanwhile
                described.append(collection.describe())
        return described

    @_following
    def alter(
        self,
        name: str,
        *,
        schema: Mapping[str, str | None] | None,
        index: Callable[[IndexSettings], IndexSettings] | None,
        lexical: Callable[[Lexical | None], Lexical | None] | None = None,
    ) -> CollectionInfo:
        """Change a collection's definition; see `Backend.alter`."""

        def change(definition: Definition) -> Definition:
            declared = {**definition.schema, **(schema or {})}
            kept = {field: kind for field, kind in declared.items() if kind is not None}
            settings = definition.index if index is None else index(definition.index)
            words = definition.lexical if lexical is None else lexical(definition.lexical)
            return replace(definition, schema=kept, index=settings, lexical=words)

        def save(definition: Definition) -> None:
            with self._lock, self._writing(adds=True):
                self._collection_is(name, collection)
                self._catalog.change(name, _text_from_definition(definition))

        collection = self._collection(name)
        collection.alter(change, save)
        return collection.describe()

    def drop(self, name: str) -> None:
        """Drop a collection and its files."""
        with self._lock:
            if name not in self._open and name not in self._broken:
                raise CollectionNotFound(name)
            folder = self._folder_of(name)
            assert folder is not None, name
            with self._leaving(folder):
                self._removed(lambda: self._catalog.remove(name), everything=True)
            reached(WritePoint.DROP_UNLISTED)
            collection = self._open.get(name)
            self._open = {other: c for other, c in self._open.items() if other != name}
            self._broken.pop(name, None)
        self._end(collection, self._folder / folder)

    @contextlib.contextmanager
    def _leaving(self, folder: str) -> Iterator[None]:
        """Mark a folder while its entry goes: a crash then leaves either, and the mark tells."""
        left = self._folder / folder
        with contextlib.suppress(OSError):  # a crash may leave the folder then, no more
            folders.mark(left)
        reached(WritePoint.DROP_MARKED)
        try:
            yield
        except BaseException:
            if self._catalog.settled():
                folders.unmark(left)
            raise

    def _end(self, collection: Collection | None, folder: Path) -> None:
        """Let go of a collection that is no longer listed, and remove its files."""
        if collection is not None:
            collection.close()  # first: no build begins after
            if self._builder is not None:
                self._builder.cancel(collection)
        folders.remove(folder)
        reached(WritePoint.DROP_REMOVED)
        if self._reserve.owed:
            self._reserve.restore()

    # ── restoring ────────────────────────────────────────────────────────────────────────────

    def collection(self, name: str) -> Collection:
        """Find an open collection. Raises CollectionNotFound, or what keeps it from opening."""
        return self._collection(name)

    def check_free(self, name: str, *, replace: bool) -> None:
        """Raise CollectionExists if there is a collection of that name, not to be replaced."""
        if not replace and (name in self._open or name in self._broken):
            raise CollectionExists(
                f"a collection named {name!r} exists; say `replace` to have it replaced, or "
                "restore under another name",
                collection=name,
            )

    def install(self, name: str, fill: Fill, *, replace: bool) -> CollectionInfo:
        """Make a collection of a store that is there already.

        fill      puts the store into the new folder; what it raises is raised, and nothing changed
        replace   a collection of that name may exist; it answers until the new one does

        The name means the new collection from one transaction of the catalog on, and the old one
        up to it: a crash leaves either of them, whole.
        """
        folder = self._folder / uuid.uuid4().hex
        making = folder.with_suffix(folders.NEW)
        collection: Collection | None = None
        try:
            with self._writing(adds=True):
                (making / "segments").mkdir(parents=True)
                definition = fill(making)
                self._named(making, folder)
            entry = _new_entry(name, definition, folder.name)
            collection = self._opened(entry)
            with self._lock, self._writing(adds=True):
                self.check_free(name, replace=replace)
                old, left = self._switched(entry, collection)
        except BaseException:
            if collection is not None:
                collection.close()
            with self._lock:
                if self._catalog.settled():  # else its entry may come back; the mark decides then
                    shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(making, ignore_errors=True)
            raise
        folders.unmark(folder)
        reached(WritePoint.COLLECTION_LISTED)
        if left is not None:
            self._end(old, self._folder / left)
        self._changed()
        return collection.describe()

    def _switched(
        self, entry: Entry, collection: Collection
    ) -> tuple[Collection | None, str | None]:
        """Let a name mean a restored collection; returns the one before, and its folder. Locked."""
        left = self._folder_of(entry.name)
        if left is None:
            self._catalog.add(entry)
        else:
            with self._leaving(left):
                self._catalog.replace(entry)
            reached(WritePoint.DROP_UNLISTED)
        old = self._open.get(entry.name)
        self._open = {**self._open, entry.name: collection}
        self._broken.pop(entry.name, None)
        return old, left

    def _folder_of(self, name: str) -> str | None:
        for entry in self._catalog.entries():
            if entry.name == name:
                return entry.folder
        return None

    # ── points ───────────────────────────────────────────────────────────────────────────────

    @_following
    def upsert(self, name: str, points: Sequence[Point], mark: str | None = None) -> int:
        """Insert or replace points; see `Backend.upsert`."""
        collection = self._collection(name, mark)
        with self._writing(adds=True):
            return collection.upsert(points)

    @_following
    def delete(self, name: str, selection: Selection) -> int:
        """Delete points; see `Backend.delete`."""
        collection = self._collection(name)
        return self._removed(lambda: collection.delete(selection), everything=False)

    @_following
    def patch(
        self,
        name: str,
        selection: Selection,
        *,
        set_: Mapping[str, AttributeValue],
        unset: Sequence[str],
        lifetime: Lifetime | None = None,
        max_attributes_bytes: int | None = None,
    ) -> int:
        """Set and remove attributes; see `Backend.patch`."""
        collection = self._collection(name)
        with self._writing(adds=True):
            return collection.patch(
                selection,
                set_=set_,
                unset=unset,
                lifetime=lifetime,
                max_attributes_bytes=max_attributes_bytes,
            )

    @_following
    def get(self, name: str, ids: Sequence[PointId], projection: Projection) -> list[Record]:
        """Read points by id; see `Backend.get`."""
        return self._collection(name).get(ids, projection)

    @_following
    def count(self, name: str, filter: Filter | None) -> int:
        """Count matching points, exactly."""
        return self._collection(name).count(filter)

    @_following
    def scroll(
        self,
        name: str,
        *,
        filter: Filter | None,
        limit: int,
        after: PointId | None,
        projection: Projection,
        mark: str | None = None,
    ) -> Page:
        """Read points in id order; see `Backend.scroll`."""
        return self._collection(name, mark).scroll(
            filter=filter, limit=limit, after=after, projection=projection
        )

    @_following
    def search(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer]:
        """Answer nearest-neighbour questions; see `Backend.search`."""
        return self._collection(name, mark).search(searches)

    @_following
    def search_now(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer] | None:
        """Answer questions without waiting for a writer, or not; see `Backend.search_now`."""
        return self._collection(name, mark).search_now(searches)

    @_following
    def view(
        self, name: str, run: Callable[[SnapshotView], _Viewed], mark: str | None = None
    ) -> _Viewed:
        """Run something on one state; see `Backend.view`."""
        return self._collection(name, mark).view(run)

    # ── artefacts ────────────────────────────────────────────────────────────────────────────

    @_following
    def keep(
        self, name: str, kind: str, key: str, body: bytes, mark: str | None = None
    ) -> KeptInfo:
        """Keep a value with a collection; see `Backend.keep`."""
        collection = self._collection(name, mark)
        with self._writing(adds=True):
            return collection.keep(kind, key, body)

    @_following
    def kept(self, name: str, kind: str, key: str) -> Kept | None:
        """Read such a value; see `Backend.kept`."""
        return self._collection(name).kept(kind, key)

    @_following
    def all_kept(self, name: str, kind: str | None = None) -> list[KeptInfo]:
        """List such values; see `Backend.all_kept`."""
        return self._collection(name).all_kept(kind)

    @_following
    def forget(self, name: str, kind: str, key: str) -> bool:
        """Remove such a value; see `Backend.forget`."""
        collection = self._collection(name)
        return self._removed(lambda: collection.forget(kind, key), everything=False)

    # ── a disk in trouble ────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def _writing(self, *, adds: bool) -> Iterator[None]:
        """Note what the disk says to a write, and say it in the domain's words.

        adds   it takes room: refused while the reserve is not whole
        """
        try:
            if adds:
                self._reserve.require()
            yield
        except (StorageFull, StorageReadOnly) as exc:
            self._in_trouble(exc)
            raise
        except OSError as exc:
            fault = fault_from_os(exc, self._folder)
            if isinstance(fault, Unavailable):
                self._in_trouble(fault)
            raise fault from exc
        if self._trouble is not None and adds:
            self._trouble = None
            _log.warning("the disk takes writes again")

    def _in_trouble(self, fault: Unavailable) -> None:
        if type(fault) is not type(self._trouble):
            _log.warning("writes are refused: %s", fault.detail)
        self._trouble = fault

    def _removed(self, remove: Callable[[], _Result], *, everything: bool) -> _Result:
        """Run a removal; on a full disk once more, with the room that is kept for it."""
        try:
            with self._writing(adds=False):
                return remove()
        except StorageFull:
            if not self._reserve.give(everything=everything):
                raise
        with self._writing(adds=False):
            return remove()

    # ── the whole ────────────────────────────────────────────────────────────────────────────

    def health(self) -> dict[str, Any]:
        """Tell which collections cannot be used or written, or are rebuilt, and why.

        broken       names of those that could not be opened
        damaged      names of those whose database was found damaged since; they take no writes
        rebuilding   names of those that answer from their database while segments are made anew
        writable     whether the disk takes writes, as far as the last one tells
        """
        collections = sorted(self._open.items())
        damaged = {name: c.damage for name, c in collections if c.damage is not None}
        rebuilding = [name for name, c in collections if c.rebuilding]
        trouble = self._current_trouble()
        faulty = sorted({**self._broken, **damaged}.items())
        faults = {name: str(exc) for name, exc in faulty[:_FAULTS_SHOWN]}
        told = [f"{name}: {fault}" for name, fault in faults.items()]
        told += [f"{name}: damaged segments are being rebuilt" for name in rebuilding]
        if trouble is not None:
            told.append(trouble.detail)
        facts: dict[str, Any] = {
            "status": "degraded" if told else "ok",
            "detail": "; ".join(told),
            "collections": len(collections),
            "building": sum(collection.builds.pending for _, collection in collections),
            "broken": sorted(self._broken),
            "damaged": sorted(damaged),
            "rebuilding": rebuilding,
            "writable": trouble is None,
            "faults": faults,
        }
        return facts

    def _current_trouble(self) -> Unavailable | None:
        """Look whether the trouble is over, where there was some."""
        if self._trouble is not None:
            full = isinstance(self._trouble, StorageFull)
            takes = self._reserve.roomy() if full else fault_of_folder(self._folder) is None
            if takes and (not self._reserve.owed or self._reserve.restore()):
                self._trouble = None
        return self._trouble

    def storage(self) -> Storage:
        """Measure the disk that the directory is on."""
        found = shutil.disk_usage(self._folder)
        writable = not isinstance(self._current_trouble(), StorageReadOnly)
        return Storage(
            found.total, found.free, writable and os.access(self._folder, os.W_OK | os.X_OK)
        )

    def statistics(self) -> Statistics:
        """Tell how large the collections are and what was done; see `Backend.statistics`."""
        account = self._account
        collections = sorted(self._open.items())
        damaged = sum(collection.damage is not None for _, collection in collections)
        return Statistics(
            collections=[collection.statistics() for _, collection in collections],
            broken=len(self._broken) + damaged,
            building=int(self._builder is not None and self._builder.running),
            commit_seconds=account.commit_seconds,
            commit_writes=account.commit_writes,
            build_seconds=account.build_seconds,
            build_failures=account.build_failures,
        )

    def close(self) -> None:
        """Finish what was accepted and let go of the directory."""
        if self._keeper is not None:
            self._keeper.close()
        if self._builder is not None:
            self._builder.close()
        collections: Iterable[Collection] = self._open.values()
        self._open = {}
        for collection in collections:
            collection.close()
        self._catalog.close()
        with contextlib.suppress(OSError):
            self._lock_file.close()


def _new_entry(name: str, definition: Definition, folder: str) -> Entry:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return Entry(name, folder, _text_from_definition(definition), now.replace("+00:00", "Z"))


def _text_from_definition(definition: Definition) -> str:
    return orjson.dumps(json_from_definition(definition)).decode()
