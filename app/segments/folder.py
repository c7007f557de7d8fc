"""Folders of derived files: written aside, described with checksums, renamed when complete.

`segment.json` lists every file with its size and CRC-32 and carries a checksum of its own: the
CRC-32 of the body in hexadecimal, a line feed, the body. A folder gets its final name only after
everything in it was synced, so a folder without ".tmp" is whole, or was damaged later, which
`read_folder` notices.
"""

from __future__ import annotations

import contextlib
import errno
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from app.errors import CorruptFile, IncompatibleFormat
from app.storage.files import checksum, remove_folder, sync_file, sync_folder
from app.storage.write_points import WritePoint, reached

DESCRIPTION = "segment.json"

_BAD_FILE = {errno.EIO, errno.ENOTDIR, errno.EISDIR}


class Files(list[Path]):
    """The files of a folder in the making; `describe` ends the list."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__()
        self._folder = folder
        self._name = name
        self.described = False

    def describe(self, description: dict[str, Any]) -> None:
        """Sync the files and write the description with their checksums."""
        for path in self:
            sync_file(path)
        reached(WritePoint.FOLDER_SYNCED)
        whole = description | {
            "folder": self._name,
            "files": {
                path.relative_to(self._folder).as_posix(): [path.stat().st_size, checksum(path)]
                for path in self
            },
        }
        body = orjson.dumps(whole, option=orjson.OPT_INDENT_2)
        path = self._folder / DESCRIPTION
        path.write_bytes(b"%08x\n" % zlib.crc32(body) + body)
        sync_file(path)
        reached(WritePoint.FOLDER_DESCRIBED)
        self.described = True


@contextlib.contextmanager
def finished_folder(folder: Path) -> Iterator[tuple[Path, Files]]:
    """Give a folder to write into, which is `folder` once the block has ended well."""
    work = folder.with_name(folder.name + ".tmp")
    remove_folder(work)
    work.mkdir(parents=True)
    reached(WritePoint.FOLDER_BEGUN)
    files = Files(work, folder.name)
    yield work, files
    assert files.described
    for inner in {path.parent for path in files} | {work}:
        sync_folder(inner)
    reached(WritePoint.FOLDER_READY)
    work.rename(folder)
    reached(WritePoint.FOLDER_NAMED)
    sync_folder(folder.parent)


def read_folder(folder: Path, format_: int) -> dict[str, Any]:
    """Read a folder's description and hold all its files against it.

    Raises CorruptFile if anything is missing, damaged, unreadable or another folder's,
    IncompatibleFormat if the format is not the one given.
    """
    path = folder / DESCRIPTION
    try:
        return _read(folder, path, format_)
    except OSError as exc:
        if exc.errno not in _BAD_FILE:  # no descriptors, no permission: says nothing about it
            raise
        raise CorruptFile(
            f"{folder.name} cannot be read: {exc.strerror}", path=str(folder)
        ) from exc


def _read(folder: Path, path: Path, format_: int) -> dict[str, Any]:
    try:
        crc, _, body = path.read_bytes().partition(b"\n")
        if int(crc, 16) != zlib.crc32(body):
            raise CorruptFile(f"{path.name} does not fit its checksum", path=str(path))
        description: dict[str, Any] = orjson.loads(body)
    except (FileNotFoundError, ValueError) as exc:
        raise CorruptFile(f"{path.name} is missing or damaged", path=str(path)) from exc
    if description["format"] != format_:
        raise IncompatibleFormat(
            f"the folder has format {description['format']}, this service reads {format_}",
            path=str(path),
        )
    # Folders of before did not say whose they are.
    if description.get("folder", folder.name) != folder.name:
        raise CorruptFile(f"{path.name} is another folder's", path=str(path))
    for name, (size, crc) in description["files"].items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size or checksum(file) != crc:
            raise CorruptFile(f"{name} is missing or damaged", path=str(file))
    return description


@contextlib.contextmanager
def well_described(folder: Path) -> Iterator[None]:
    """Raise CorruptFile where a description lacks something, or holds something else."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        path = folder / DESCRIPTION
        raise CorruptFile(f"{path.name} does not describe its folder", path=str(path)) from exc
