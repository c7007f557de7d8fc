"""The folders of collections, between a crash and the catalog, which says which of them count.

A folder is made under another name (`.new`), is *marked*, gets its name, is listed, and loses its
mark; at its end it is marked again, no longer listed, renamed (`.dropped`) and removed. A marked
folder counts only if the catalog lists it: so whatever moment a crash chose, the next start knows
what to keep and what to remove. A folder that is neither listed nor marked is nobody's rubbish,
and is left alone.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Set
from pathlib import Path

from app.storage.files import sync_folder
from app.storage.write_points import WritePoint, reached

NEW = ".new"
_DROPPED = ".dropped"
_MARK = "unlisted"

_log = logging.getLogger(__name__)


def mark(folder: Path) -> None:
    """Say that a folder counts only if it is listed; durable. Raises OSError."""
    (folder / _MARK).touch()
    sync_folder(folder)


def unmark(folder: Path) -> None:
    """Take the mark off a folder that is listed; what remains is harmless."""
    with contextlib.suppress(OSError):
        (folder / _MARK).unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove a folder that is not listed; what is left of it after a crash is known by its name."""
    dropped = folder.with_suffix(_DROPPED)
    with contextlib.suppress(OSError):
        folder.rename(dropped)
    reached(WritePoint.DROP_RENAMED)
    shutil.rmtree(dropped, ignore_errors=True)


def sweep(root: Path, listed: Set[str]) -> None:
    """Remove what drops and failed creations left in `root`; what is merely unknown is kept."""
    for folder in root.iterdir():
        if folder.suffix in (NEW, _DROPPED):
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.name in listed:
            unmark(folder)
        elif (folder / _MARK).exists():
            remove(folder)
        else:
            _log.warning("%s belongs to no collection; it is left alone", folder)
