"""The image encoder: file → pixels → framing → graph → what [output] says of its patches.

Pictures are decoded and framed in `prepare`, several at once: Pillow lets go of the interpreter's
lock while it decodes and resizes. What reaches a batch has one size, so that nothing is padded and
the vector of a picture has nothing to do with those beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from app.encoders.base import OutputKind, Prepared, Several, TextKind
from app.encoders.framing import framed
from app.encoders.inputs import Input, Picture
from app.encoders.manifest import ImageSpec, Manifest, ReadyGraph
from app.encoders.picture import pixels_of
from app.encoders.pipeline.arrays import unit
from app.encoders.pipeline.head import head_of
from app.encoders.pixel_session import PixelSession
from app.errors import InvalidImage, LikewiseError
from app.types import F32

PATCH = 16
"""Edge of a token, in pixels: pictures are counted in patches of this size, as most graphs do."""


class ImageEncoder:
    """A loaded model. Thread-safe.

    threads  how many cores one batch may use, and how many pictures are decoded at once
    """

    def __init__(self, manifest: Manifest, folder: Path, graph: Path, *, threads: int) -> None:
        assert isinstance(manifest.spec, ImageSpec)
        assert isinstance(manifest.graph, ReadyGraph)
        self.name = manifest.name
        self.dimension = manifest.dimension
        self.parallel = 1  # a run has threads of its own
        spec = manifest.spec
        self._framing = spec.framed(folder)
        height, width = self._framing.size
        self._patches = -(-height // PATCH) * -(-width // PATCH)
        self._alone = manifest.graph.batch == "alone"
        self._head = head_of(
            spec.output, folder, pooled=spec.output.pool == "graph", dimension=manifest.dimension
        )
        self._unit = spec.output.normalise
        self._tokens = spec.tokens
        self._outputs = (manifest.graph.output, *self._head.beside)
        self._session = PixelSession(graph, threads=threads, outputs=(*self._outputs, self._tokens))
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix=f"decode-{self.name}")

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Pictures are what they are, on either side of a search."""
        for place, given in enumerate(inputs):
            if not isinstance(given, Picture):
                raise InvalidImage(f"{self.name} reads images only", pointer=f"/{place}")
        return list(inputs)

    def estimate(self, given: Input) -> int:
        """The patches of a picture: as many for each."""
        return self._patches

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """Decode and frame pictures."""
        return list(self._decoders.map(self._prepared, inputs))

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32 | list[Any]:
        """Outputs of one batch, in its order: vectors [picture, dim], or [patch, dim] for each.

        Raises ValueError if the graph's output has another shape than the manifest promises, or
        is not finite.
        """
        if output not in ("dense", "tokens", "all") or (output != "dense" and not self._tokens):
            raise ValueError(f"the manifest does not promise {output!r}")
        if self._alone and len(batch) > 1:
            parts = [self.run([one], output) for one in batch]
            if output == "dense":
                return np.concatenate(parts)
            return [part[0] for part in parts]
        pixels = np.stack([one.value for one in batch])
        if output == "dense":
            return self._dense(self._session.run(pixels, self._outputs))
        if output == "tokens":
            (found,) = self._session.run(pixels, [self._tokens])
            return self._several(found)
        *founds, found = self._session.run(pixels, [*self._outputs, self._tokens])
        both = zip(self._dense(founds), self._several(found), strict=True)
        return [Several(vector, patches, None) for vector, patches in both]

    def close(self) -> None:
        """End the threads. Nothing may be running."""
        self._decoders.shutdown()

    def _prepared(self, given: Input) -> Prepared | LikewiseError:
        assert isinstance(given, Picture)
        try:
            value = framed(pixels_of(given.file), self._framing)
        except InvalidImage as error:
            return error
        return Prepared(value, self._patches, self._patches)

    def _dense(self, found: Sequence[F32]) -> F32:
        """Vectors of what the graph made: its output, and what the head wants beside it."""
        out = _patches(found[0])
        whole = np.ones(out.shape[:2], np.int64)
        return _finite(self._head.vectors(out, whole, found[1:]))

    def _several(self, found: F32) -> list[F32]:
        found = _patches(found)
        if found.ndim != 3:
            raise ValueError(f"expected vectors of patches, got {found.shape}")
        several = [self._head.several(patches) for patches in found]
        return [_finite(unit(one) if self._unit else one) for one in several]


def _patches(found: F32) -> F32:
    """Vectors [picture, patch, number], also of planes [picture, number, row, column]."""
    if found.ndim != 4:
        return found
    return found.reshape(*found.shape[:2], -1).transpose(0, 2, 1)


def _finite(found: F32) -> F32:
    if not np.isfinite(found).all():
        raise ValueError("the graph returned numbers that are not finite")
    return found
