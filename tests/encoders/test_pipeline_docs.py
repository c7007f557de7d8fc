"""Every manifest of the documentation opens and encodes, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from app.encoders.direct import encode
from app.encoders.inputs import Input, Points, Record
from app.encoders.record import canonical
from tests.encoders.models import TINY
from tests.encoders.pipelines import (
    ROWS,
    TEXT,
    array_bytes,
    opened,
    seeded,
    token_graph,
    write_folder,
    write_text,
)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "encoders" / "pipeline.md"


def blocks() -> list[str]:
    """The manifests of the page."""
    return re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def dimension_of(block: str) -> int:
    """What comes out: token vectors have 8 numbers, and the block says what is made of them."""
    if "bins = 6" in block:
        return 228 if "chirality = true" in block else 216
    known = {"width = 256": 256, "truncate": 4, "orth_fuse": 16, '"vlad"': 32, '"cs"': 32}
    return next((numbers for mark, numbers in known.items() if mark in block), 8)


def input_of(block: str) -> Input:
    if "[pointset]" in block:
        return Points(3, False, np.random.RandomState(1).standard_normal((9, 3)).tobytes())
    if "[record]" in block:
        return Record(canonical({"brand": "acme", "maker": {"country": "pt"}, "price": 12.5}))
    return "the old man and the sea"


@pytest.mark.parametrize("block", blocks(), ids=range(len(blocks())))
def test_a_documented_manifest_works(tmp_path: Path, block: str) -> None:
    arrays = re.findall(r"(\w+\.npy) \[([\d, ]+)\]", block)
    files = {name: array_bytes(seeded(1, *map(int, shape.split(",")))) for name, shape in arrays}
    kind = re.search(r'^kind = "(\w+)"\nmodality = "(\w+)"\n', block)
    space = ""
    if kind is None:
        files["tokenizer.json"] = (TINY / "tokenizer.json").read_bytes()
        files["model.onnx"] = token_graph()
        block, names = TEXT + block, ("text", "text")
    else:
        block, names = block[kind.end() :], (kind[1], kind[2])
    if names[0] == "router":
        space = "shared"
        words = seeded(11, ROWS, 8)
        for expert in ("law", "medicine", "light"):
            plain = 'pool = "mean"\nnormalise = true\n'
            write_text(tmp_path / expert, plain, words=words, space=space)
    folder = write_folder(
        tmp_path / "subject",
        block,
        files,
        kind=names[0],
        modality=names[1],
        dimension=dimension_of(block),
        space=space,
    )
    _, encoder = opened(folder)
    (vector,) = encode(encoder, [input_of(block)], "document").vectors
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-5)
    encoder.close()


def test_there_is_a_manifest_for_every_mechanism() -> None:
    text = "".join(blocks())
    for word in ("gem", "topk_attn", "attend", "vlad", "cs", "orth_fuse", "context", "maps"):
        assert word in text
    for word in ("views", "record", "pointset", "router"):
        assert f"[{word}]" in text
