"""Folders of models hold whatever somebody put there: they are refused by name, or read."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.encoders.graph_header import read_graph_header
from app.encoders.manifest import FILE_NAME, read_manifest
from app.encoders.manifest.image import framing_from_hub
from app.encoders.registry import EncoderRegistry
from app.encoders.safetensors import read_safetensors
from app.errors import CorruptFile, EncoderUnavailable, StoredDataError
from tests.encoders.several import DENSE, LOGITS, TOKENS, write_several

from .cases import fuzz, note

MODELS = Path(__file__).parents[2] / "models"
MANIFESTS = [path.read_text() for path in sorted(MODELS.glob(f"*/{FILE_NAME}"))]

values = st.sampled_from(
    [
        *("0", "-1", "9999999999999999999999", "1e308", "nan", "true", '""', '"../x"'),
        *('"\\u0000"', "[]", "[1, 'a']", "{}", "{a = 1}", "1979-05-27", "[" * 3000),
    ]
)


@st.composite
def manifests(draw: st.DrawFn) -> str:
    """A manifest of ours with a few lines changed, doubled, left out or moved."""
    lines = draw(st.sampled_from(MANIFESTS)).splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[place].partition("=")
        change = draw(st.sampled_from(["value", "value", "value", "drop", "double", "move"]))
        if change == "value" and equals and not key.startswith("name"):
            lines[place] = f"{key}= {draw(values)}"
        elif change == "drop":
            lines[place] = ""
        elif change == "double":
            lines.insert(place, lines[place])
        else:
            lines.append(lines.pop(place))
    return "\n".join(lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@fuzz
@given(manifests())
def test_a_manifest_is_read_or_refused_by_name(folder: Path, written: str) -> None:
    found = re.search(r'^name = "([\w-]+)"', written, re.MULTILINE)
    named = folder / (found[1] if found else "none")
    named.mkdir(exist_ok=True)
    (named / FILE_NAME).write_text(written)
    try:
        read_manifest(named)
    except StoredDataError as error:
        note("manifests", refused=1)
        assert FILE_NAME in error.detail
    else:
        note("manifests", read=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    several = write_several(tmp_path_factory.mktemp("models") / "several", DENSE + TOKENS + LOGITS)
    names = ("model.onnx", "projection.safetensors")
    return {name: (several / name).read_bytes() for name in names}


@pytest.mark.parametrize(
    ("name", "read"),
    [("model.onnx", read_graph_header), ("projection.safetensors", read_safetensors)],
)
@fuzz
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_by_name(
    folder: Path, files: dict[str, bytes], name: str, read: Any, data: st.DataObject
) -> None:
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(content), 400) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=9))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    (folder / name).write_bytes(content)
    try:
        read(folder / name)
    except CorruptFile as error:
        note(name, refused=1)
        assert name in error.detail
    else:
        note(name, read=1)


PREPROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "image_processor_type": "CLIPImageProcessor",
}
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@fuzz
@given(st.dictionaries(st.sampled_from(sorted(PREPROCESSOR)), anything, max_size=3))
def test_a_preprocessors_configuration_is_read_or_refused_by_name(
    folder: Path, changes: dict[str, Any]
) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(PREPROCESSOR | changes))
    try:
        framing = framing_from_hub(path)
    except StoredDataError as error:
        note("preprocessors", refused=1)
        assert path.name in error.detail
    else:
        note("preprocessors", read=1)
        assert np.isfinite([framing.rescale, *framing.mean, *framing.std]).all()


def test_a_graph_within_graphs_without_end_is_refused(folder: Path) -> None:
    """A node with an attribute that is a graph with a node, and so on."""
    inner = b""
    for _ in range(3000):
        for tag in (0x32, 0x2A, 0x0A):  # the attribute's graph, the node's attribute, its node
            inner = bytes([tag]) + _varint(len(inner)) + inner
    (folder / "deep.onnx").write_bytes(b"\x3a" + _varint(len(inner)) + inner)
    with pytest.raises(CorruptFile, match=r"deep\.onnx"):
        read_graph_header(folder / "deep.onnx")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


HOSTILE: dict[str, dict[str, bytes]] = {
    "deep-toml": {FILE_NAME: b"a = " + b"[" * 100_000},
    "no-text": {FILE_NAME: bytes(range(256))},
    "long-toml": {FILE_NAME: b"#" * (17 << 20)},
    "deep-json": {"config.json": b"[" * 200_000},
    "deep-modules": {"modules.json": b'[{"path":' * 100_000},
    "no-modules": {"modules.json": b'[{"type": 5, "path": ["x"]}]', "config.json": b"{}"},
    "out-modules": {"modules.json": b'[{"type": "Transformer", "path": "../tiny"}]'},
    "types": {"config.json": b'{"model_type": 7, "hidden_size": "x", "architectures": {}}'},
    "empty": {"config.json": b"", "tokenizer.json": b""},
}


def test_folders_that_cannot_be_read_come_and_nobody_else_suffers(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "tiny", tmp_path / "tiny")
    registry = EncoderRegistry(tmp_path, threads=1, queue=64, batch_tokens=256)
    try:
        assert registry.load("tiny").status == "ready"
        for name, content in HOSTILE.items():
            (tmp_path / name).mkdir()
            for path, octets in content.items():
                (tmp_path / name / path).write_bytes(octets)
        (tmp_path / "loop").mkdir()
        (tmp_path / "loop" / FILE_NAME).symlink_to(FILE_NAME)
        (tmp_path / "pipe").mkdir()
        (tmp_path / "pipe" / "config.json").write_bytes(b"{}")
        os.mkfifo(tmp_path / "pipe" / "modules.json")  # who opens it waits for ever
        (tmp_path / "root").symlink_to("/")
        found = {info.name: info for info in registry.describe_all()}
        assert found["tiny"].status == "ready"
        assert HOSTILE.keys() <= found.keys()
        for name in found.keys() - {"tiny"}:
            assert found[name].status == "unavailable"
            with pytest.raises(EncoderUnavailable):
                registry.load(name, obtain=False)
        assert registry.submit("tiny", ["sea"], "query").result(10).vectors.shape == (1, 32)
    finally:
        registry.close()
