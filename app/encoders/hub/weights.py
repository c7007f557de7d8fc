"""Which of the weights that a repository publishes is used: pure functions of names.

The same rule chooses what is pulled and what is taken from a folder that is there already.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Collection
from dataclasses import dataclass

from app.encoders.manifest import Variant

WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"

_ARM = ("model_qint8_arm64.onnx",)
_X86 = ("model_qint8_avx512_vnni.onnx", "model_qint8_avx512.onnx", "model_quint8_avx2.onnx")
_PUBLISHED: dict[Variant, tuple[str, ...]] = {
    "int8": ("model_quantized.onnx", "model_int8.onnx", "model_uint8.onnx"),
    "fp32": ("model.onnx", "model_optimized.onnx"),
    "fp16": ("model_fp16.onnx",),
}
"""Names that exporters give to graphs, the most common first."""

_NEXT_BEST: dict[Variant, tuple[Variant, ...]] = {
    "int8": ("int8", "fp32", "fp16"),
    "fp32": ("fp32", "fp16"),
    "fp16": ("fp16", "fp32"),
}
"""What is taken if a variant is not there: never fewer bits than were asked for."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Weights to use.

    path     of the file, in the repository
    built    whether the graph is built from it; it is one itself otherwise
    variant  which one it is; another than was asked for if that one is not there
    """

    path: str
    built: bool
    variant: Variant


def choose(
    paths: Collection[str], variant: Variant, *, buildable: bool, root: str = ""
) -> Chosen | None:
    """Choose among the files of a repository; None if there is nothing to use.

    buildable  whether a graph can be built from weights of this network
    root       where the network is, "" or with a slash at its end

    Weights that a graph can be built from go first: the graph built here is faster than an
    exported one and computes the same. Pickles are never looked at.
    """
    if buildable:
        for name in (WEIGHTS, WEIGHTS_INDEX):
            if f"{root}{name}" in paths:
                return Chosen(f"{root}{name}", True, variant)
    for candidate in _NEXT_BEST[variant]:
        for name in _names(candidate):
            for place in (f"{root}onnx/", root):
                if f"{place}{name}" in paths:
                    return Chosen(f"{place}{name}", False, candidate)
    return None


def beside(path: str, paths: Collection[str]) -> list[str]:
    """The files that hold the weights, if they are not in the one that was chosen: by name."""
    if path.endswith(WEIGHTS_INDEX):
        root = path.removesuffix(WEIGHTS_INDEX)
        part = re.compile(re.escape(f"{root}model-") + r"\d+-of-\d+\.safetensors")
        return sorted(p for p in paths if part.fullmatch(p))
    return sorted(p for p in paths if p.startswith((f"{path}_data", f"{path}.data")))


def _names(variant: Variant) -> tuple[str, ...]:
    if variant != "int8":
        return _PUBLISHED[variant]
    arm = platform.machine().lower() in ("arm64", "aarch64")
    # Those for this processor first; graphs of other processors run too, more slowly.
    return (*(_ARM if arm else _X86), *_PUBLISHED[variant], *(_X86 if arm else _ARM))
