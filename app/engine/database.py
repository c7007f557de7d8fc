"""The embedded engine: a data directory of collections, and their background builder.

    LOCK                    held while a process uses the directory
    catalog.sqlite          which collections exist (`app.storage.catalog`)
    collections/<folder>/   one collection: store.sqlite (the truth), segments/ (derived)

A collection that cannot be opened does not stop the others: its name stays known, and every call
to it raises the error that says why.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson

from app.attributes.filter import Filter
from app.engine.account import EngineAccount
from app.engine.builder import Builder
from app.engine.builds import BuildSettings
from app.engine.collection import Collection
from app.errors import (
    CollectionNotFound,
    CorruptFile,
    DefinitionDiffers,
    LikewiseError,
    StoredDataError,
)
from app.exchange import (
    Answer,
    CollectionInfo,
    Page,
    Search,
    Selection,
    Statistics,
    Storage,
)
from app.planner.costs import Costs
from app.storage.catalog import Catalog, Entry
from app.storage.files import lock_folder, sync_folder
from app.types import (
    AttributeValue,
    Definition,
    IndexSettings,
    Metric,
    Point,
    PointId,
    Projection,
    Record,
    VectorField,
)

_log = logging.getLogger(__name__)

_NEW = ".new"
_DROPPED = ".dropped"

_FAULTS_SHOWN = 100


class Database:
    """All collections of one data directory. Every method is safe for any thread."""

    def __init__(
        self,
        data_dir: Path,
        *,
        sync: bool = True,
        head_points: int = 4096,
        build_threads: int = 1,
        cover_share: float = 0.35,
        vectors_on_disk: bool = False,
        costs: Costs = Costs(),  # noqa: B008  # frozen
    ) -> None:
        """Open a data directory, making it if there is none.

        cover_share   most bytes of covers, as a share of the vectors that they are graphs over
        vectors_on_disk   keep eight-bit codes in memory, and read the vectors that are compared

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
        self._builds = BuildSettings(head_points, cover_share, vectors_on_disk, costs)
        self._lock = threading.Lock()  # of the catalog and of changes to the two dictionaries
        self._open: dict[str, Collection] = {}
        self._broken: dict[str, LikewiseError] = {}
        try:
            self._catalog = self._opened_catalog(data_dir / "catalog.sqlite")
        except BaseException:
            self._lock_file.close()
            raise
        self._builder: Builder | None = None
        entries = self._catalog.entries()
        self._sweep({entry.folder for entry in entries})
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

    def _sweep(self, used: set[str]) -> None:
        """Remove what drops and failed creations left; what is merely unknown is kept."""
        for folder in self._folder.iterdir():
            if folder.suffix in (_NEW, _DROPPED):
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.name not in used:
                _log.warning("%s belongs to no collection; it is left alone", folder)

    def _opened(self, entry: Entry) -> Collection:
        return Collection(
            self._folder / entry.folder,
            entry.name,
            _definition_from_json(entry.definition),
            entry.created_at,
            sync=self._sync,
            settings=self._builds,
            account=self._account,
            on_change=self._changed,
        )

    def _changed(self) -> None:
        if self._builder is not None:
            self._builder.wake()

    def _collection(self, name: str) -> Collection:
        collection = self._open.get(name)
        if collection is None:
            if name in self._broken:
                raise self._broken[name].with_traceback(None)
            raise CollectionNotFound(name)
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
                        f"collection {name!r} exists with another definition", collection=name
                    )
                return existing.describe(), False
            now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            entry = Entry(
                name,
                uuid.uuid4().hex,
                _json_from_definition(definition),
                now.replace("+00:00", "Z"),
            )
            folder = self._folder / entry.folder
            making = folder.with_suffix(_NEW)
            try:
                Collection.create(making, definition)
                sync_folder(making)
                making.rename(folder)
                sync_folder(self._folder)
                collection = self._opened(entry)
                try:
                    self._catalog.add(entry)
                except BaseException:
                    collection.close()
                    raise
            except BaseException:
                for left in (making, folder):
                    shutil.rmtree(left, ignore_errors=True)
                raise
            self._open = {**self._open, name: collection}
            return collection.describe(), True

    def describe(self, name: str) -> CollectionInfo:
        """Describe one collection."""
        return self._collection(name).describe()

    def definition(self, name: str) -> Definition:
        """Tell what a collection is."""
        return self._collection(name).definition

    def describe_all(self) -> list[CollectionInfo]:
        """Describe all collections that can be opened, by name."""
        return [collection.describe() for _, collection in sorted(self._open.items())]

    def alter(
        self,
        name: str,
        *,
        schema: Mapping[str, str | None] | None,
        index: IndexSettings | None,
    ) -> CollectionInfo:
        """Change a collection's definition; see `Backend.alter`."""

        def change(definition: Definition) -> Definition:
            declared = {**definition.schema, **(schema or {})}
            kept = {field: kind for field, kind in declared.items() if kind is not None}
            return replace(definition, schema=kept, index=index or definition.index)

        def save(definition: Definition) -> None:
            with self._lock:
                self._collection_is(name, collection)
                self._catalog.change(name, _json_from_definition(definition))

        collection = self._collection(name)
        collection.alter(change, save)
        return collection.describe()

    def drop(self, name: str) -> None:
        """Drop a collection and its files."""
        with self._lock:
            if name not in self._open and name not in self._broken:
                raise CollectionNotFound(name)
            (folder,) = (
                self._folder / entry.folder
                for entry in self._catalog.entries()
                if entry.name == name
            )
            self._catalog.remove(name)
            collection = self._open.get(name)
            self._open = {other: c for other, c in self._open.items() if other != name}
            self._broken.pop(name, None)
        if collection is not None:
            if self._builder is not None:
                self._builder.cancel(collection)
            collection.close()
        dropped = folder.with_suffix(_DROPPED)
        with contextlib.suppress(OSError):
            folder.rename(dropped)
        shutil.rmtree(dropped, ignore_errors=True)

    # ── points ───────────────────────────────────────────────────────────────────────────────

    def upsert(self, name: str, points: Sequence[Point]) -> int:
        """Insert or replace points; see `Backend.upsert`."""
        return self._collection(name).upsert(points)

    def delete(self, name: str, selection: Selection) -> int:
        """Delete points; see `Backend.delete`."""
        return self._collection(name).delete(selection)

    def patch(
        self,
        name: str,
        selection: Selection,
        *,
        set_: Mapping[str, AttributeValue],
        unset: Sequence[str],
    ) -> int:
        """Set and remove attributes; see `Backend.patch`."""
        return self._collection(name).patch(selection, set_=set_, unset=unset)

    def get(self, name: str, ids: Sequence[PointId], projection: Projection) -> list[Record]:
        """Read points by id; see `Backend.get`."""
        return self._collection(name).get(ids, projection)

    def count(self, name: str, filter: Filter | None) -> int:
        """Count matching points, exactly."""
        return self._collection(name).count(filter)

    def scroll(
        self,
        name: str,
        *,
        filter: Filter | None,
        limit: int,
        after: PointId | None,
        projection: Projection,
    ) -> Page:
        """Read points in id order; see `Backend.scroll`."""
        return self._collection(name).scroll(
            filter=filter, limit=limit, after=after, projection=projection
        )

    def search(self, name: str, searches: Sequence[Search]) -> list[Answer]:
        """Answer nearest-neighbour questions; see `Backend.search`."""
        return self._collection(name).search(searches)

    def search_now(self, name: str, searches: Sequence[Search]) -> list[Answer] | None:
        """Answer questions without waiting for a writer, or not; see `Backend.search_now`."""
        return self._collection(name).search_now(searches)

    # ── the whole ────────────────────────────────────────────────────────────────────────────

    def health(self) -> dict[str, Any]:
        """Tell which collections cannot be used, and how many are being built."""
        building = sum(info.building for info in self.describe_all())
        facts: dict[str, Any] = {
            "status": "degraded" if self._broken else "ok",
            "detail": f"{len(self._broken)} collections cannot be used" if self._broken else "",
            "collections": len(self._open),
            "building": building,
            "faults": {
                name: str(exc) for name, exc in sorted(self._broken.items())[:_FAULTS_SHOWN]
            },
        }
        return facts

    def storage(self) -> Storage:
        """Measure the disk that the directory is on."""
        found = shutil.disk_usage(self._folder)
        return Storage(found.total, found.free, os.access(self._folder, os.W_OK | os.X_OK))

    def statistics(self) -> Statistics:
        """Tell how large the collections are and what was done; see `Backend.statistics`."""
        account = self._account
        return Statistics(
            collections=[collection.statistics() for _, collection in sorted(self._open.items())],
            broken=len(self._broken),
            building=int(self._builder is not None and self._builder.running),
            commit_seconds=account.commit_seconds,
            commit_writes=account.commit_writes,
            build_seconds=account.build_seconds,
            build_failures=account.build_failures,
        )

    def close(self) -> None:
        """Finish what was accepted and let go of the directory."""
        if self._builder is not None:
            self._builder.close()
        collections: Iterable[Collection] = self._open.values()
        self._open = {}
        for collection in collections:
            collection.close()
        self._catalog.close()
        with contextlib.suppress(OSError):
            self._lock_file.close()


def _json_from_definition(definition: Definition) -> str:
    return orjson.dumps(
        {
            "vectors": {
                field.name: {
                    "dimension": field.dimension,
                    "metric": field.metric.value,
                    "encoder": field.encoder,
                }
                for field in definition.vectors.values()
            },
            "schema": dict(definition.schema),
            "index": {"m": definition.index.m, "ef_construction": definition.index.ef_construction},
        }
    ).decode()


def _definition_from_json(text: str) -> Definition:
    raw = orjson.loads(text)
    return Definition(
        vectors={
            name: VectorField(name, v["dimension"], Metric(v["metric"]), v["encoder"])
            for name, v in raw["vectors"].items()
        },
        schema=raw["schema"],
        index=IndexSettings(raw["index"]["m"], raw["index"]["ef_construction"]),
    )
