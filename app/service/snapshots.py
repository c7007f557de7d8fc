"""Snapshots as use cases: taken, kept, moved and restored.

What takes long has a lane of its own, of one thread: snapshots read and write whole collections,
and two at a time would only take the disk from each other and from everybody else. A few wait for
their turn, further ones are refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timezone
from functools import partial
from typing import IO

from app.backends.base import Backend, CollectionInfo, SnapshotInfo, Snapshots
from app.errors import BodyTooLarge, InvalidRequest, SnapshotExists, SnapshotNotFound
from app.service.checks import check_name
from app.service.lanes import Lane

WAITING = 4
"""Long jobs that may wait; whoever waits for a fifth one had better ask later."""

PIECE_BYTES = 1 << 20
"""Bytes of an upload that are handed to a thread at a time: the visit costs less than the bytes."""


class SnapshotKeeping:
    """The use cases of snapshots over one backend.

    quick     lane of what is done at once
    lane      lane of what is not; the caller closes it
    restored  told of each collection that was restored
    """

    def __init__(
        self,
        backend: Backend,
        *,
        quick: Lane,
        restored: Callable[[CollectionInfo], None],
        max_bytes: int,
    ) -> None:
        self._backend = backend
        self._quick = quick
        self._restored = restored
        self._max_bytes = max_bytes
        self.lane = Lane("snapshot", threads=1, queue=WAITING, patient=True)

    async def take(self, collection: str, name: str | None) -> SnapshotInfo:
        """Keep the present state of a collection, under its name and the time if there is none."""
        check_name(collection, "collection")
        kept = _name_for(collection) if name is None else check_name(name, "snapshot", "/name")
        return await self.lane.run(lambda: self._snapshots().take(collection, kept))

    async def describe(self, name: str) -> SnapshotInfo:
        """Describe one snapshot."""
        check_name(name, "snapshot")
        return await self._quick.run(lambda: self._snapshots().describe(name))

    async def describe_all(self) -> list[SnapshotInfo]:
        """Describe all snapshots, by name."""
        snapshots = self._backend.snapshots
        return [] if snapshots is None else await self._quick.run(snapshots.describe_all)

    async def open(self, name: str) -> tuple[SnapshotInfo, IO[bytes]]:
        """Open a snapshot's file for reading; the caller closes it."""
        check_name(name, "snapshot")
        return await self._quick.run(lambda: self._snapshots().open(name))

    async def drop(self, name: str) -> None:
        """Remove a snapshot."""
        check_name(name, "snapshot")
        await self._quick.run(lambda: self._snapshots().drop(name))

    async def restore(self, name: str, collection: str | None, *, replace: bool) -> CollectionInfo:
        """Make a collection of a snapshot, by default under the name that it was taken of.

        An encoder that is not installed here does not keep it from that: the vectors are there,
        and only texts cannot be encoded until the encoder is.
        """
        check_name(name, "snapshot")
        if collection is not None:
            check_name(collection, "collection", "/collection")

        def work() -> CollectionInfo:
            snapshots = self._snapshots()
            wanted = collection or snapshots.describe(name).collection
            info = snapshots.restore(name, wanted, replace=replace)
            self._restored(info)
            return info

        return await self.lane.run(work)

    async def receive(
        self, name: str, pieces: AsyncIterator[bytes], *, size: int | None, sha256: str | None
    ) -> SnapshotInfo:
        """Keep a snapshot that comes from somewhere else, once it is verified as a whole.

        pieces   its bytes, as they arrive: never all in memory
        size     how many were announced, if they were
        sha256   what the file must have, hexadecimal, if the sender said so

        Raises BodyTooLarge, InvalidSnapshot, SnapshotExists, StorageFull; then nothing is kept.
        """
        check_name(name, "snapshot")
        if size is not None:
            self._check_size(size)
        incoming = await self._quick.run(lambda: self._new(name).receive(size))
        try:
            received = 0
            waiting = bytearray()
            async for piece in pieces:
                received += len(piece)
                self._check_size(received)
                waiting += piece
                if len(waiting) >= PIECE_BYTES:
                    await asyncio.to_thread(incoming.write, bytes(waiting))
                    waiting.clear()
            await asyncio.to_thread(incoming.write, bytes(waiting))
            return await self.lane.run(partial(incoming.keep, name, sha256=sha256))
        finally:
            # Not awaited: the request may be cancelled, and a `keep` that has begun is waited for.
            asyncio.get_running_loop().run_in_executor(None, incoming.discard)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise BodyTooLarge(
                f"a snapshot that is uploaded has at most {self._max_bytes} bytes: see "
                "LIKEWISE_MAX_SNAPSHOT_BYTES",
                limit=self._max_bytes,
            )

    def _new(self, name: str) -> Snapshots:
        """Raise SnapshotExists before anything is sent in vain."""
        snapshots = self._snapshots()
        try:
            snapshots.describe(name)
        except SnapshotNotFound:
            return snapshots
        raise SnapshotExists(f"a snapshot named {name!r} exists", snapshot=name)

    def _snapshots(self) -> Snapshots:
        found = self._backend.snapshots
        if found is None:
            raise InvalidRequest("this backend keeps no snapshots")
        return found


def _name_for(collection: str) -> str:
    """Name a snapshot by its collection and the time in UTC, to the millisecond."""
    now = datetime.now(timezone.utc)
    moment = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z"
    return f"{collection[: 64 - 1 - len(moment)]}-{moment}"
