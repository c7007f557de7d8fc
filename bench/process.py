"""What a process uses, and where it may run (Linux)."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """Resident megabytes, and what of them is no mapped file."""

    resident: float
    anonymous: float

    @classmethod
    def now(cls) -> Memory:
        """Measure this process, after giving back what it holds but does not use."""
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc
        if trim is not None:
            trim(0)
        status = Path("/proc/self/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return cls(*(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")))

    def since(self, earlier: Memory) -> Memory:
        """Subtract what was there before."""
        return Memory(self.resident - earlier.resident, self.anonymous - earlier.anonymous)


def pin(process: int, cores: Iterable[int]) -> None:
    """Keep every thread of a process on those cores, later ones too."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


@contextmanager
def pinned() -> Iterator[None]:
    """Keep every thread of this process on one core, later ones too, until the block ends."""
    cores = os.sched_getaffinity(0)
    pin(os.getpid(), {max(cores)})
    try:
        yield
    finally:
        pin(os.getpid(), cores)
