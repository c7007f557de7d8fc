"""Read `models/<name>/encoder.toml`: what an encoder is, of which files, and where they come from.

The manifest follows a text on its way: [text] (tokens), [graph] (the network), [output] (one
vector). It is read strictly: an unknown or missing key, or a value of another type, is an error
that names the place, because a key that is silently ignored shows up much later, as bad vectors.
`docs/encoders.md` explains every key.
"""

from __future__ import annotations

import datetime
import difflib
import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NoReturn, TypeVar, get_args

from app.errors import IncompatibleFormat, StoredDataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "encoder.toml"
FORMAT = 1

Variant = Literal["fp32", "int8"]
Pool = Literal["mean", "cls"]
Batch = Literal["together", "alone"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of the model: path inside its folder, lower-case hex sha256, length in bytes."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TextInput:
    """How text becomes token ids. `max_tokens` counts special tokens and the prompt."""

    tokenizer: str
    max_tokens: int
    query_prompt: str
    document_prompt: str


@dataclass(frozen=True, slots=True)
class ReadyGraph:
    """A graph that is published as ONNX.

    output  name of the graph's output to use; "" takes the first
    batch   "alone" for graphs whose numbers depend on the whole batch, as with dynamic quantisation
    """

    file: str
    output: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class BertGraph:
    """A graph that is built here from a BERT checkpoint: `app.encoders.bert`."""

    weights: str
    variant: Variant
    heads: int
    layer_norm_eps: float


@dataclass(frozen=True, slots=True)
class Output:
    """How the graph's output becomes one vector: "graph" means that it is one already."""

    pool: Pool | Literal["graph"]
    normalise: bool


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


@dataclass(frozen=True, slots=True)
class Manifest:
    """One encoder.

    released  seconds since 1970
    space     `id@version`: vectors compare only within one space
    """

    name: str
    modality: str
    dimension: int
    owned_by: str
    license: str
    released: int
    space: str
    text: TextInput
    graph: ReadyGraph | BertGraph
    output: Output
    files: tuple[ModelFile, ...]
    sources: tuple[HubSource | PackageSource, ...]

    def file(self, path: str) -> ModelFile:
        """The entry of a file that the manifest is known to list."""
        return next(file for file in self.files if file.path == path)


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a model folder.

    Raises StoredDataError naming the key, what was expected and what was found; IncompatibleFormat
    if the manifest is of another format.
    """
    path = folder / FILE_NAME
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise StoredDataError(f"{path} cannot be read: {exc}", path=str(path)) from exc
    top = _Table(path, "", parsed)
    written = top.take("format", int)
    if written != FORMAT:
        raise IncompatibleFormat(
            f"{path} is of format {written}, this version reads format {FORMAT}", path=str(path)
        )
    space = top.table("space")
    manifest = Manifest(
        name=top.take("name", str),
        modality=top.choose("modality", ("text",)),
        dimension=top.positive("dimension"),
        owned_by=top.take("owned_by", str),
        license=top.take("license", str),
        released=_seconds(top.take("released", datetime.date)),
        space=f"{space.take('id', str)}@{space.positive('version')}",
        text=_text(top.table("text")),
        graph=_graph(top.table("graph")),
        output=_output(top.table("output")),
        files=tuple(_file(entry) for entry in top.tables("files")),
        sources=tuple(_source(entry) for entry in top.tables("sources")),
    )
    space.end()
    top.end()
    _agree(top, manifest, folder)
    return manifest


def _text(table: _Table) -> TextInput:
    text = TextInput(
        tokenizer=table.take("tokenizer", str),
        max_tokens=table.positive("max_tokens"),
        query_prompt=table.take("query_prompt", str, ""),
        document_prompt=table.take("document_prompt", str, ""),
    )
    table.end()
    return text


def _graph(table: _Table) -> ReadyGraph | BertGraph:
    graph: ReadyGraph | BertGraph
    if "build" in table:
        table.choose("build", ("bert",))
        graph = BertGraph(
            weights=table.take("weights", str),
            variant=table.choose("variant", get_args(Variant)),
            heads=table.positive("heads"),
            layer_norm_eps=table.take("layer_norm_eps", float),
        )
    else:
        graph = ReadyGraph(
            file=table.take("file", str),
            output=table.take("output", str, ""),
            batch=table.choose("batch", get_args(Batch)),
        )
    table.end()
    return graph


def _output(table: _Table) -> Output:
    pool = table.choose("pool", ("graph", *get_args(Pool)))
    output = Output(pool=pool, normalise=table.take("normalise", bool))
    table.end()
    return output


def _file(table: _Table) -> ModelFile:
    path = table.take("path", str)
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in path:
        table.fail("path", "a relative path inside the model's folder", repr(path))
    file = ModelFile(path, table.sha256("sha256"), table.positive("bytes"))
    table.end()
    return file


def _source(table: _Table) -> HubSource | PackageSource:
    source: HubSource | PackageSource
    if table.choose("kind", ("hub", "package")) == "hub":
        source = HubSource(table.take("repository", str), table.take("revision", str))
    else:
        source = PackageSource(
            table.take("package", str), table.take("version", str), table.sha256("sha256")
        )
    table.end()
    return source


def _agree(top: _Table, manifest: Manifest, folder: Path) -> None:
    """Check what no key says alone."""
    if manifest.name != folder.name:
        top.fail("name", f"the folder's name {folder.name!r}", repr(manifest.name))
    listed = {file.path for file in manifest.files}
    graph = manifest.graph
    if isinstance(graph, BertGraph):
        network = ("graph.weights", graph.weights)
        if manifest.output.pool == "graph":
            top.fail("output.pool", '"mean" or "cls", which the built graph will do', '"graph"')
    else:
        network = ("graph.file", graph.file)
    for key, path in (("text.tokenizer", manifest.text.tokenizer), network):
        if path not in listed:
            top.fail(key, "a path that [[files]] lists", repr(path))


def _seconds(day: datetime.date) -> int:
    midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.timezone.utc)
    return int(midnight.timestamp())


class _Table:
    """A TOML table that is emptied key by key; whatever is left at the end is unknown."""

    def __init__(self, path: Path, place: str, entries: dict[str, Any]) -> None:
        self._path, self._place, self._entries = path, place, dict(entries)
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        self._known.append(key)
        if key not in self._entries:
            if default is not None:
                return default
            self.fail(key, _article(kind), "nothing")
        value = self._entries.pop(key)
        # bool is an int and datetime a date for isinstance, but neither is meant.
        if type(value) is not kind:
            self.fail(key, _article(kind), _article(type(value)))
        return value

    def positive(self, key: str) -> int:
        value = self.take(key, int)
        if value < 1:
            self.fail(key, "a number of at least 1", str(value))
        return value

    def choose(self, key: str, choices: tuple[Any, ...]) -> Any:
        value = self.take(key, str)
        if value not in choices:
            self.fail(key, "one of " + ", ".join(map(repr, choices)), repr(value))
        return value

    def sha256(self, key: str) -> str:
        value = self.take(key, str)
        if not re.fullmatch("[0-9a-f]{64}", value):
            self.fail(key, "64 lower-case hexadecimal digits", repr(value))
        return value

    def table(self, key: str) -> _Table:
        return _Table(self._path, self._at(key), self.take(key, dict))

    def tables(self, key: str) -> list[_Table]:
        entries = self.take(key, list, [])
        if not all(isinstance(entry, dict) for entry in entries):
            self.fail(key, f"[[{key}]] tables", "a list of something else")
        return [
            _Table(self._path, f"{self._at(key)}[{place}]", entry)
            for place, entry in enumerate(entries)
        ]

    def end(self) -> None:
        for key in self._entries:
            closest = difflib.get_close_matches(key, self._known, n=1)
            hint = closest[0] if closest else ", ".join(sorted(self._known))
            self.fail(key, f"no such key (known: {hint})", "it")

    def fail(self, key: str, expected: str, found: str) -> NoReturn:
        raise StoredDataError(
            f"{self._path}: {self._at(key)}: expected {expected}, found {found}",
            path=str(self._path),
        )

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key


def _article(kind: type) -> str:
    words = {
        str: "a string",
        int: "an integer",
        float: "a float",
        bool: "true or false",
        dict: "a table",
        list: "a list",
        datetime.date: "a date",
    }
    return words.get(kind, f"a {kind.__name__}")
