"""Open a model whose files are all there: which class reads which kind of manifest."""

from __future__ import annotations

from pathlib import Path

from app.encoders.base import Encoder
from app.encoders.build import graph_path
from app.encoders.inputs import Input, Pair
from app.encoders.manifest import Manifest, PairSpec, TextSpec
from app.encoders.pair import PairEncoder
from app.encoders.several import SeveralEncoder
from app.encoders.text import TextEncoder
from app.errors import LikewiseError


def open_encoder(manifest: Manifest, folder: Path, *, threads: int) -> Encoder:
    """Open an encoder and run it once. Raises whatever its runtime raises.

    threads  how many cores one batch may use
    """
    encoder = _open(manifest, folder, threads)
    try:
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


def _open(manifest: Manifest, folder: Path, threads: int) -> Encoder:
    spec, graph = manifest.spec, graph_path(manifest, folder)
    if isinstance(spec, PairSpec):
        return PairEncoder(manifest, folder, graph, threads=threads)
    if isinstance(spec, TextSpec) and (spec.tokens or spec.sparse):
        return SeveralEncoder(manifest, folder, graph, threads=threads)
    return TextEncoder(manifest, folder, graph, threads=threads)


def _sample(manifest: Manifest) -> Input:
    return Pair("warm", "up") if isinstance(manifest.spec, PairSpec) else "warm up"
