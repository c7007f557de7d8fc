"""Open a model whose files are all there: which class reads which kind of manifest."""

from __future__ import annotations

from pathlib import Path

from app.encoders.base import Encoder
from app.encoders.build import graph_path
from app.encoders.image import ImageEncoder
from app.encoders.inputs import Input, Pair, Picture, Routed
from app.encoders.manifest import ImageSpec, Manifest, PairSpec, TextSpec, read_manifest
from app.encoders.manifest.pointset import PointSetSpec
from app.encoders.manifest.record import RecordSpec
from app.encoders.manifest.router import RouterSpec
from app.encoders.manifest.views import Views
from app.encoders.pair import PairEncoder
from app.encoders.pointset import PointSetEncoder, example_points
from app.encoders.record import RecordEncoder, example_record
from app.encoders.router import RouterEncoder
from app.encoders.several import SeveralEncoder
from app.encoders.text import TextEncoder
from app.encoders.views import ViewsEncoder, orbit_of
from app.errors import LikewiseError, StoredDataError

_BLACK = Picture(b"P6 1 1 255\n\0\0\0")


def open_encoder(manifest: Manifest, folder: Path, *, threads: int) -> Encoder:
    """Open an encoder and run it once. Raises whatever its runtime raises.

    threads  how many cores one batch may use
    """
    encoder = _open(manifest, folder, threads)
    try:
        if manifest.views is not None:
            encoder = _seen_often(manifest, manifest.views, folder, encoder)
        # The first run allocates, and shows whether the graph fits its manifest.
        for output in manifest.outputs:
            (one,) = encoder.prepare(encoder.address([_sample(manifest)], "document"))
            if isinstance(one, LikewiseError):
                raise one
            encoder.run([one], output)
    except BaseException:
        encoder.close()
        raise
    return encoder


def _seen_often(manifest: Manifest, views: Views, folder: Path, encoder: Encoder) -> Encoder:
    spec = manifest.spec
    if isinstance(spec, ImageSpec) and views.group in ("C4", "D4"):
        height, width = spec.framed(folder).size
        if height != width:
            raise StoredDataError(
                f"{folder}: quarter turns want square pixels, the graph gets {height} × {width}",
                path=str(folder),
            )
    return ViewsEncoder(encoder, orbit_of(views), pool=views.pool, normalise=True)


def parts_of(manifest: Manifest, folder: Path) -> list[tuple[Manifest, Path]]:
    """The other encoders that this one opens, which stand beside its folder."""
    names = manifest.spec.needs if isinstance(manifest.spec, RouterSpec) else ()
    return [(read_manifest(folder.parent / name), folder.parent / name) for name in names]


def _open(manifest: Manifest, folder: Path, threads: int) -> Encoder:
    spec = manifest.spec
    if isinstance(spec, RecordSpec):
        return RecordEncoder(manifest, folder)
    if isinstance(spec, PointSetSpec):
        return PointSetEncoder(manifest, folder)
    if isinstance(spec, RouterSpec):
        return _open_router(manifest, folder, threads)
    graph = graph_path(manifest, folder)
    if isinstance(spec, ImageSpec):
        return ImageEncoder(manifest, folder, graph, threads=threads)
    if isinstance(spec, PairSpec):
        return PairEncoder(manifest, folder, graph, threads=threads)
    if isinstance(spec, TextSpec) and (spec.tokens or spec.sparse):
        return SeveralEncoder(manifest, folder, graph, threads=threads)
    return TextEncoder(manifest, folder, graph, threads=threads)


def _open_router(manifest: Manifest, folder: Path, threads: int) -> Encoder:
    opened: dict[str, Encoder] = {}
    try:
        for part, place in parts_of(manifest, folder):
            opened[part.name] = open_encoder(part, place, threads=threads)
        return RouterEncoder(manifest, folder, opened)
    except BaseException:
        for encoder in opened.values():
            encoder.close()
        raise


def _sample(manifest: Manifest) -> Input:
    """Something that an encoder of this manifest reads."""
    spec = manifest.spec
    if isinstance(spec, PairSpec):
        return Pair("warm", "up")
    if isinstance(spec, ImageSpec):
        return _BLACK
    if isinstance(spec, RecordSpec):
        return example_record(spec)
    if isinstance(spec, PointSetSpec):
        return example_points(spec)
    if isinstance(spec, RouterSpec):
        return Routed("warm up", spec.experts[0])
    return "warm up"
