"""Read `models/<name>/encoder.toml`: what an encoder is, of which files, and where they come from.

The manifest follows an input on its way: the input's own table ([text], …), [graph] (the network),
[output] (one vector). It is read strictly: an unknown or missing key, or a value of another type,
is an error that names the place, because a key that is silently ignored shows up much later, as
bad vectors. `docs/encoders.md` explains every key.

What all encoders have is read here. The rest depends on the kind of encoder: its *spec*, read by
its own file of this package and listed in `KINDS`.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from app.encoders.base import Dimensions, OutputKind
from app.encoders.files import text_of
from app.encoders.manifest.files import (
    HubSource,
    ModelFile,
    PackageSource,
    read_file,
    read_source,
)
from app.encoders.manifest.graph import BuiltGraph, Graph, HeadName, ReadyGraph, read_graph
from app.encoders.manifest.image import ImageSpec, read_image
from app.encoders.manifest.pair import PairSpec, read_pair
from app.encoders.manifest.pointset import PointSetSpec, read_pointset
from app.encoders.manifest.record import RecordSpec, read_record
from app.encoders.manifest.router import RouterSpec, read_router
from app.encoders.manifest.table import Table
from app.encoders.manifest.text import Output, TextSpec, read_text
from app.encoders.manifest.views import Invariance, Views, read_invariance, read_views
from app.encoders.networks.network import Pool
from app.errors import IncompatibleFormat, StoredDataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "encoder.toml"
FORMAT = 1

Spec = TextSpec | PairSpec | ImageSpec | RecordSpec | PointSetSpec | RouterSpec
"""What only one kind of encoder has. Every spec has `max_input` and `paths`."""

KINDS: dict[str, Callable[[Table], Spec]] = {
    "text": read_text,
    "pair": read_pair,
    "image": read_image,
    "record": read_record,
    "points": read_pointset,
    "router": read_router,
}
"""Who reads the tables of each kind of encoder."""

MODALITIES = ("text", "image", "record", "points")

HEADS: dict[tuple[OutputKind, ...], HeadName] = {
    ("dense",): "vectors",
    ("tokens",): "token_vectors",
    ("sparse",): "word_weights",
    ("score",): "logits",
}
"""The head of a built graph by what the manifest promises."""

BUILT_POOLS: tuple[str, ...] = get_args(Pool)
"""The pools that graphs built here have inside."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One encoder.

    kind      which of `KINDS`; as the modality, if the manifest does not say
    modality  what it reads
    dimensions  shorter lengths that its vectors may be cut to
    released  seconds since 1970
    space     `id@version`: vectors compare only within one space
    graph     None for encoders that compute without a network
    views     how often each input is seen; None for once, as it is
    invariance  what the encoder promises beyond that
    """

    name: str
    kind: str
    modality: str
    dimension: int
    dimensions: Dimensions
    owned_by: str
    license: str
    released: int
    space: str
    graph: Graph | None
    spec: Spec
    files: tuple[ModelFile, ...]
    sources: tuple[HubSource | PackageSource, ...]
    views: Views | None = None
    invariance: Invariance | None = None

    @property
    def reads_whole(self) -> bool:
        """Whether inputs are never cut, however long they are."""
        return isinstance(self.spec, ImageSpec | RecordSpec | PointSetSpec)

    @property
    def unit(self) -> bool:
        """Whether its dense vectors have length one."""
        spec = self.spec
        if isinstance(spec, PairSpec) or self.views is not None:
            return True
        if isinstance(spec, TextSpec | ImageSpec):
            return spec.output is None or spec.output.normalise
        return spec.normalise

    @property
    def outputs(self) -> tuple[OutputKind, ...]:
        """What it makes of an input; the first is what it is asked for by default."""
        if isinstance(self.spec, TextSpec | PairSpec):
            return self.spec.outputs
        if isinstance(self.spec, ImageSpec) and self.views is None:
            return self.spec.outputs
        every = self.views is not None and self.views.pool == "store_all"
        return ("dense", "tokens") if every else ("dense",)

    @property
    def token_dimension(self) -> int:
        """Numbers of the vector of each token; 0 if there are none, or the graph alone knows."""
        if isinstance(self.spec, TextSpec) and self.spec.tokens is not None:
            return self.spec.tokens.dimension
        every = self.views is not None and self.views.pool == "store_all"
        return self.dimension if every else 0

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
        parsed = tomllib.loads(text_of(path))
    except (OSError, ValueError, RecursionError) as exc:
        raise StoredDataError(f"{path} cannot be read: {exc}", path=str(path)) from exc
    top = Table(path, "", parsed)
    written = top.take("format", int)
    if written != FORMAT:
        raise IncompatibleFormat(
            f"{path} is of format {written}, this version reads format {FORMAT}", path=str(path)
        )
    space = top.table("space")
    modality = top.choose("modality", MODALITIES)
    kind = top.choose("kind", _kinds_of(modality)) if "kind" in top else modality
    manifest = Manifest(
        name=top.take("name", str),
        kind=kind,
        modality=modality,
        dimension=(dimension := top.positive("dimension")),
        dimensions=_dimensions(top, dimension),
        owned_by=top.take("owned_by", str),
        license=top.take("license", str),
        released=_seconds(top.take("released", datetime.date)),
        space=f"{space.take('id', str)}@{space.positive('version')}",
        graph=read_graph(top.table("graph")) if "graph" in top else None,
        spec=KINDS[kind](top),
        views=read_views(top.table("views"), kind) if "views" in top else None,
        invariance=read_invariance(top.table("invariance")) if "invariance" in top else None,
        files=tuple(read_file(entry) for entry in top.tables("files")),
        sources=tuple(read_source(entry) for entry in top.tables("sources")),
    )
    space.end()
    top.end()
    _agree(top, manifest, folder)
    return manifest


def _kinds_of(modality: str) -> tuple[str, ...]:
    """The kinds that an encoder of a modality may be of."""
    return (modality, "pair", "router") if modality == "text" else (modality, "router")


def _agree(top: Table, manifest: Manifest, folder: Path) -> None:
    """Check what no key says alone."""
    if manifest.name != folder.name:
        top.fail("name", f"the folder's name {folder.name!r}", repr(manifest.name))
    listed = {file.path for file in manifest.files}
    graph, spec = manifest.graph, manifest.spec
    paths = dict(spec.paths)
    needs_graph = isinstance(spec, TextSpec | PairSpec | ImageSpec)
    if isinstance(graph, BuiltGraph):
        paths |= graph.paths
        if graph.head != HEADS.get(manifest.outputs):
            made, known = " and ".join(manifest.outputs), HEADS.get(manifest.outputs)
            expected = f'"{known}", which makes {made}' if known else f"no head makes {made}"
            top.fail("graph.head", expected, repr(graph.head))
        if isinstance(spec, TextSpec) and spec.tokens is not None and spec.tokens.projection:
            top.fail("tokens.projection", "[graph]'s, which the built graph will do", "it here")
        if isinstance(spec, TextSpec) and spec.sparse and spec.sparse.form != "weights":
            top.fail(
                "sparse.form", '"weights", which the built graph makes', repr(spec.sparse.form)
            )
        if isinstance(spec, TextSpec) and spec.output is not None:
            _agree_built(top, graph, spec.output)
    elif graph is not None:
        paths["graph.file"] = graph.file
    elif needs_graph:
        top.fail("graph", "a table", "nothing")
    if graph is not None and not needs_graph:
        top.fail("graph", f"no such table: an encoder of the kind {manifest.kind!r} has none", "it")
    if isinstance(spec, ImageSpec) and not isinstance(graph, ReadyGraph):
        top.fail("graph.file", "a published graph: none is built here for pictures", "nothing")
    for key, path in paths.items():
        if path not in listed:
            top.fail(key, "a path that [[files]] lists", repr(path))


def _agree_built(top: Table, graph: BuiltGraph, output: Output) -> None:
    if graph.head == "vectors" and output.table is None and output.pool not in BUILT_POOLS:
        known = ", ".join(map(repr, BUILT_POOLS))
        top.fail("output.pool", f"one of {known}, which a built graph does", repr(output.pool))
    if output.dense:
        top.fail("output.dense", "no such key beside graph.build: use graph.modules", "it")


def _dimensions(top: Table, dimension: int) -> Dimensions:
    """The shorter lengths, ascending."""
    if top.holds("dimensions", str):
        return cast(Dimensions, top.choose("dimensions", ("any",)))
    lengths = top.take("dimensions", list, [])
    if not all(type(length) is int and 1 <= length <= dimension for length in lengths):
        top.fail("dimensions", f'"any", or numbers from 1 to {dimension}', "something else")
    return tuple(sorted(set(lengths) - {dimension}))


def _seconds(day: datetime.date) -> int:
    midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.timezone.utc)
    return int(midnight.timestamp())
