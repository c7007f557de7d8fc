"""Pulling: what is fetched of a repository, what comes of it, and who waits for whom."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.encoders.base import no_progress
from app.encoders.hub import client
from app.encoders.hub.pull import WORKSHOP, Pulled, pull
from app.encoders.manifest import HubSource, read_manifest
from app.encoders.obtain import missing_files
from app.encoders.registry import EncoderRegistry
from app.errors import EncoderNotFound, EncoderUnavailable, InvalidName
from tests.encoders.hub import COMMIT, Hub
from tests.encoders.layouts import dense_files, graph, layout, weights
from tests.encoders.models import safetensors_bytes
from tests.encoders.test_hub_client import HASTE
from tests.encoders.test_layout_heads import CLASSES, colbert, late, splade, tensors

REPOSITORY = {
    **layout(kinds=("Transformer", "Pooling", "Dense", "Normalize")),
    **dense_files("2_Dense", 8),
    "README.md": b"# A model",
    "model.safetensors": weights(),
    "pytorch_model.bin": b"a pickle" * 1000,
    "onnx/model.onnx": graph(),
    "onnx/model_quantized.onnx": graph(dynamic=True),
    "openvino/openvino_model.bin": b"another" * 1000,
    "vocab.txt": b"a\nb\n",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(dict(REPOSITORY))
    yield hub
    hub.close()


def pulled(hub: Hub, models: Path, wanted: str = "some/model", **options: Any) -> Pulled:
    token = options.pop("token", "")
    options.setdefault("progress", no_progress)
    with client.Hub(hub.endpoint, token=token, patience=HASTE) as one:
        return pull(one, wanted, models, **options)


def files_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


CONFIGS = {
    "modules.json", "config.json", "tokenizer.json", "sentence_bert_config.json",
    "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "encoder.toml",
}  # fmt: skip


def test_only_what_is_used_is_fetched_and_it_works(hub: Hub, tmp_path: Path) -> None:
    done = pulled(hub, tmp_path)
    assert files_in(tmp_path) == {f"model/{path}" for path in CONFIGS | {"model.safetensors"}}
    manifest = read_manifest(tmp_path / "model")
    assert done == Pulled(manifest, tmp_path / "model", True, ())
    assert manifest.sources == (HubSource("some/model", COMMIT),)
    assert (manifest.owned_by, manifest.license) == ("some", "apache-2.0")
    assert manifest.released == 1_683_331_200  # 2023-05-06
    assert manifest.dimension == 8
    registry = EncoderRegistry(tmp_path, threads=1, queue=9, batch_tokens=99)
    registry.load("model")
    vectors = registry.submit("model", ["a cat"], "query").result(30).vectors
    np.testing.assert_allclose(np.linalg.norm(vectors), 1, atol=1e-6)
    registry.close()


def test_without_weights_to_build_from_the_graph_of_the_variant_is_fetched(
    hub: Hub, tmp_path: Path
) -> None:
    del hub.files["model.safetensors"]
    pulled(hub, tmp_path)
    assert files_in(tmp_path) == {f"model/{p}" for p in CONFIGS | {"onnx/model_quantized.onnx"}}
    notes = pulled(hub, tmp_path, name="half", variant="fp16").notes
    assert "onnx/model.onnx" in files_in(tmp_path / "half")
    assert notes == ("there is no fp16 graph: onnx/model.onnx is used",)


@pytest.mark.parametrize("kind", ["pair", "sparse", "tokens", "colbert"])
def test_models_that_make_something_else_than_vectors_are_pulled_too(
    tmp_path: Path, kind: str
) -> None:
    heads = {
        "pair": CLASSES | {"model.safetensors": safetensors_bytes(tensors(labels=1))},
        "sparse": splade() | {"model.safetensors": safetensors_bytes(tensors(predicts=True))},
        "tokens": late() | {"model.safetensors": safetensors_bytes(tensors())},
        "colbert": colbert(),
    }
    hub = Hub(heads[kind])
    try:
        done = pulled(hub, tmp_path)
    finally:
        hub.close()
    registry = EncoderRegistry(tmp_path, threads=1, queue=9, batch_tokens=99)
    expected = {"pair": "score", "sparse": "sparse"}.get(kind, "tokens")
    assert registry.load("model").outputs == (expected,)
    assert done.manifest.outputs == (expected,)
    registry.close()


def test_a_pulled_model_is_obtained_again_from_its_manifest_alone(hub: Hub, tmp_path: Path) -> None:
    folder = pulled(hub, tmp_path).folder
    kept = (folder / "encoder.toml").read_bytes()
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "encoder.toml").write_bytes(kept)
    registry = EncoderRegistry(
        tmp_path, threads=1, queue=9, batch_tokens=99, hub_endpoint=hub.endpoint
    )
    assert registry.load("model").status == "ready"
    registry.close()
    assert missing_files(read_manifest(folder), folder) == []


def test_a_model_that_is_there_is_left_alone_and_another_is_not_overwritten(
    hub: Hub, tmp_path: Path
) -> None:
    first = pulled(hub, tmp_path)
    hub.asked.clear()
    again = pulled(hub, tmp_path, f"some/model@{COMMIT}")
    assert (again.fresh, again.manifest) == (False, first.manifest)
    assert len(hub.asked) == 1
    (tmp_path / "taken").mkdir()
    with pytest.raises(EncoderUnavailable, match="is there already and is not some/model"):
        pulled(hub, tmp_path, name="taken")
    assert [*(tmp_path / "taken").iterdir()] == []


def test_an_interrupted_pull_goes_on_and_fetches_nothing_twice(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = 99
    with pytest.raises(EncoderUnavailable, match="peer closed connection"):
        pulled(hub, tmp_path)
    assert not (tmp_path / "model").exists()
    hub.cuts = 0
    hub.asked.clear()
    pulled(hub, tmp_path)
    assert [path.rpartition("/")[2] for path in hub.paths[1:]] == ["model.safetensors"] * 2
    assert re.fullmatch("bytes=[1-9][0-9]+-", hub.asked[-1].headers["range"])
    assert not (tmp_path / WORKSHOP).exists()


def test_pulls_at_the_same_time_are_one(hub: Hub, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: pulled(hub, tmp_path), range(3)))
    assert sorted(one.fresh for one in done) == [False, False, True]
    assert sum(path.startswith("/store/model.safetensors") for path in hub.paths) == 1
    assert not (tmp_path / WORKSHOP).exists()


def test_gated_models_need_the_token(hub: Hub, tmp_path: Path) -> None:
    hub.gated = "hf_secret"
    with pytest.raises(EncoderUnavailable, match="gated, private or does not exist"):
        pulled(hub, tmp_path)
    assert pulled(hub, tmp_path, token="hf_secret").fresh
    stores = [one for one in hub.asked if one.port == hub.ports[1]]
    assert stores
    assert not any("authorization" in one.headers for one in stores)


@pytest.mark.parametrize("wanted", ["some/other", "some/model@nowhere"])
def test_what_the_hub_does_not_have_is_not_found(hub: Hub, tmp_path: Path, wanted: str) -> None:
    with pytest.raises(EncoderNotFound, match="status 404"):
        pulled(hub, tmp_path, wanted)


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("../x", None), ("a/b/c", None), ("", None), ("some/model", "../x"), ("some/model", ".x")],
)
def test_names_that_lead_elsewhere_are_refused(
    hub: Hub, tmp_path: Path, wanted: str, name: str | None
) -> None:
    with pytest.raises(InvalidName):
        pulled(hub, tmp_path, wanted, name=name)
    assert hub.asked == []


def test_a_repository_of_pickles_is_refused_before_anything_large_is_fetched(
    hub: Hub, tmp_path: Path
) -> None:
    for path in ("model.safetensors", "onnx/model.onnx", "onnx/model_quantized.onnx"):
        del hub.files[path]
    with pytest.raises(EncoderUnavailable, match="pickled weights, which are never opened"):
        pulled(hub, tmp_path)
    assert not any(one.port == hub.ports[1] for one in hub.asked)


def test_wrong_bytes_make_no_model(hub: Hub, tmp_path: Path) -> None:
    hub.promised["model.safetensors"] = "0" * 64
    with pytest.raises(EncoderUnavailable, match="arrived with other bytes"):
        pulled(hub, tmp_path)
    assert not (tmp_path / "model").exists()
