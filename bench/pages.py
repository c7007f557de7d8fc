"""Which pages of its mapped files a process has in its memory (Linux 5.14)."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

_POPULATE_READ = 22  # MADV_POPULATE_READ of linux/mman.h; fails, and harms nothing, where unknown


def touch_pages(folder: Path) -> int:
    """Map every page of the files below `folder` that are mapped read-only; returns their bytes.

    A process gets a page of a mapped file when it first reads there. After this, searches pay for
    no first reads, and the resident set does not depend on which pages were searched so far: it is
    the most that those files can take.
    """
    gc.collect()  # what was closed before goes first, or it would be mapped again
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    touched = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, access, _, _, _, *names = line.split(maxsplit=5)
        if not names or not names[0].startswith(f"{folder.resolve()}/") or access[:2] != "r-":
            continue
        if ".sqlite" in names[0]:  # the store: searches that return ids do not read it
            continue
        start, end = (int(address, 16) for address in span.split("-"))
        if advise(start, end - start, _POPULATE_READ) == 0:
            touched += end - start
    return touched
