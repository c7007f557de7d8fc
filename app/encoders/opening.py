"""Open a model whose files are all there: which class reads which kind of manifest."""

from __future__ import annotations

from pathlib import Path

from app.encoders.base import Encoder
from app.encoders.build import graph_path
from app.encoders.direct import encode
from app.encoders.manifest import Manifest
from app.encoders.text import TextEncoder


def open_encoder(manifest: Manifest, folder: Path, *, threads: int) -> Encoder:
    """Open an encoder and run it once. Raises whatever its runtime raises.

    threads  how many cores one batch may use
    """
    encoder = TextEncoder(manifest, folder, graph_path(manifest, folder), threads=threads)
    try:
        # The first run allocates, and shows whether the graph fits its manifest.
        encode(encoder, ["warm up"], "document")
    except BaseException:
        encoder.close()
        raise
    return encoder
