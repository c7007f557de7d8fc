"""Small models for tests: written as files, with manifests that fit them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.encoders.reference import random_tensors

ROOT = Path(__file__).parents[2]
TINY = ROOT / "models" / "tiny"

HEADS = 4
SHAPE = {"words": 300, "dimension": 16, "wide": 24, "layers": 2, "positions": 40}


def safetensors_bytes(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, tensor in tensors.items():
        raw = tensor.astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + body


def small_files() -> dict[str, bytes]:
    """The files of a small BERT with random weights; the tokenizer is the tiny encoder's."""
    return {
        "tokenizer.json": (TINY / "tokenizer.json").read_bytes(),
        "model.safetensors": safetensors_bytes(random_tensors(7, **SHAPE)),
    }


def small_manifest(
    files: Mapping[str, bytes],
    *,
    name: str = "small",
    variant: str = "int8",
    sources: str = "",
    text: str = "",
) -> str:
    """A manifest of `small_files`. `text` adds lines to [text]."""
    listed = "".join(
        f'[[files]]\npath = "{path}"\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n'
        f"bytes = {len(content)}\n"
        for path, content in files.items()
    )
    return f"""\
format = 1
name = "{name}"
modality = "text"
dimension = {SHAPE["dimension"]}
owned_by = "tests"
license = "none"
released = 2024-01-02
space = {{ id = "small", version = 3 }}
[text]
tokenizer = "tokenizer.json"
max_tokens = {SHAPE["positions"]}
{text}
[graph]
build = "bert"
weights = "model.safetensors"
variant = "{variant}"
heads = {HEADS}
layer_norm_eps = 1e-12
[output]
pool = "mean"
normalise = true
{listed}{sources}"""


def write_model(
    folder: Path,
    files: Mapping[str, bytes],
    manifest: str | None = None,
    *,
    with_files: bool = True,
) -> Path:
    """Write a model folder; without its files if they shall be obtained."""
    folder.mkdir(parents=True)
    (folder / "encoder.toml").write_text(
        manifest or small_manifest(files, name=folder.name), encoding="utf-8"
    )
    if with_files:
        for path, content in files.items():
            (folder / path).write_bytes(content)
    return folder
