"""The ids of a segment's slots: by slot, by id, and in order of id.

Keys (`app.keys`) stand end to end in one byte array. A permutation sorts them, so finding one is a
binary search and reading them in order is a walk; nothing is decoded before it is asked for, and
the whole can be mapped from a file.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.errors import CorruptFile
from app.types import I64, U8, U32
from app.vectors.arrays import map_array, save_array


class KeyColumn:
    """Keys of slots 0 … n−1.

    blob      uint8[bytes], the keys end to end
    offsets   int64[n + 1], where each begins
    order     uint32[n], slots sorted by key
    """

    def __init__(self, blob: U8, offsets: I64, order: U32) -> None:
        self.blob = blob
        self.offsets = offsets
        self.order = order
        # Views give Python numbers and bytes several times faster than numpy's scalars.
        self._bytes = blob.data
        self._bounds = offsets.data
        self._ranked = order.data

    @classmethod
    def build(cls, keys: Sequence[bytes]) -> KeyColumn:
        """Collect keys by slot; the same key may stand at several slots (dead versions)."""
        lengths = np.fromiter((len(key) for key in keys), dtype=np.int64, count=len(keys))
        offsets = np.zeros(len(keys) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        blob = np.frombuffer(b"".join(keys), dtype=np.uint8)
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.uint32)
        return cls(blob, offsets, order)

    def save(self, folder: Path) -> list[Path]:
        """Write new files; the caller syncs them."""
        paths = []
        for name, array in (("blob", self.blob), ("offsets", self.offsets), ("order", self.order)):
            path = folder / f"keys.{name}.npy"
            save_array(path, array)
            paths.append(path)
        return paths

    @classmethod
    def open(cls, folder: Path) -> KeyColumn:
        """Map the files. Raises CorruptFile where one is not what it should be."""
        blob = map_array(folder / "keys.blob.npy", (np.uint8,), 1)
        offsets = map_array(folder / "keys.offsets.npy", (np.int64,), 1)
        order = map_array(folder / "keys.order.npy", (np.uint32,), 1)
        slots = order.shape[0]
        if not (
            offsets.shape == (slots + 1,)
            and offsets[0] == 0
            and offsets[-1] == blob.shape[0]
            and bool((offsets[1:] > offsets[:-1]).all())  # no key is empty
            and (not slots or int(order.max()) < slots)
        ):
            raise CorruptFile("the arrays of the keys do not fit together", path=str(folder))
        return cls(blob, offsets, order)

    def __len__(self) -> int:
        return self.order.size

    def key(self, slot: int) -> bytes:
        """Give the key of a slot."""
        return bytes(self._bytes[self._bounds[slot] : self._bounds[slot + 1]])

    def keys(self, slots: U32) -> list[bytes]:
        """Give the keys of several slots, in their order."""
        starts = self.offsets[slots].tolist()
        ends = self.offsets[slots + np.uint32(1)].tolist()
        held = self._bytes
        return [bytes(held[start:end]) for start, end in zip(starts, ends, strict=True)]

    def find(self, keys: Sequence[bytes]) -> U32:
        """Find the slots of those keys that stand here, in no particular order."""
        found: list[int] = []
        for key in keys:
            at = bisect_left(self._ranked, key, key=self.key)
            while at < len(self) and self.key(self._ranked[at]) == key:
                found.append(self._ranked[at])
                at += 1
        return np.array(found, dtype=np.uint32)

    def after(self, key: bytes | None) -> U32:
        """List slots in order of key, from just after `key` (None: from the first)."""
        start = 0 if key is None else bisect_right(self._ranked, key, key=self.key)
        return self.order[start:]
