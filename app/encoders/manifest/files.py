"""The files of a model and where they come from: [[files]] and [[sources]]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from app.encoders.manifest.table import Table


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of the model: path inside its folder, lower-case hex sha256, length in bytes."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository on a model hub, at one revision."""

    repository: str
    revision: str


@dataclass(frozen=True, slots=True)
class PackageSource:
    """A wheel on the Python package index that contains the files; it is never installed."""

    package: str
    version: str
    sha256: str


def read_file(table: Table) -> ModelFile:
    """Read one entry of [[files]]; its path must stay inside the model's folder."""
    path = table.take("path", str)
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in path:
        table.fail("path", "a relative path inside the model's folder", repr(path))
    file = ModelFile(path, table.sha256("sha256"), table.positive("bytes"))
    table.end()
    return file


def read_source(table: Table) -> HubSource | PackageSource:
    """Read one entry of [[sources]]."""
    source: HubSource | PackageSource
    if table.choose("kind", ("hub", "package")) == "hub":
        source = HubSource(table.take("repository", str), table.take("revision", str))
    else:
        source = PackageSource(
            table.take("package", str), table.take("version", str), table.sha256("sha256")
        )
    table.end()
    return source
