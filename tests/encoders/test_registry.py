"""The registry: what is installed, what is loaded, and what it says when something is not."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from app.encoders.registry import EncoderRegistry
from app.errors import (
    EncoderNotFound,
    EncoderUnavailable,
    EncodingFailed,
    InvalidText,
    ShuttingDown,
    StoredDataError,
)
from tests.encoders.layouts import graph, layout
from tests.encoders.models import ROOT, TINY, small_files, small_manifest, write_model

FILES = small_files()


def open_registry(models: Path) -> EncoderRegistry:
    return EncoderRegistry(models, threads=2, queue=100, batch_tokens=512)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder with the tiny encoder, a small one that is complete, and stray files."""
    shutil.copytree(TINY, tmp_path / "models" / "tiny")
    write_model(tmp_path / "models" / "small", FILES)
    (tmp_path / "models" / "README.md").write_text("not an encoder")
    (tmp_path / "models" / "empty").mkdir()
    return tmp_path / "models"


@pytest.fixture
def registry(models: Path) -> Iterator[EncoderRegistry]:
    registry = open_registry(models)
    yield registry
    registry.close()


def test_manifests_alone_are_described(registry: EncoderRegistry) -> None:
    small, tiny = registry.describe_all()
    assert (small.name, tiny.name) == ("small", "tiny")
    assert (tiny.dimension, tiny.max_tokens, tiny.modality) == (32, 64, "text")
    assert (tiny.status, tiny.detail) == ("unavailable", "not loaded")
    assert (small.owned_by, small.space, small.created) == ("tests", "small@3", 1_704_153_600)


def test_the_committed_models_are_the_default_one_and_the_tiny_one() -> None:
    registry = open_registry(ROOT / "models")
    assert {"all-MiniLM-L6-v2", "tiny"} <= {info.name for info in registry.describe_all()}
    registry.close()


def test_an_unknown_name_is_answered_with_the_closest_ones(registry: EncoderRegistry) -> None:
    for call in (registry.describe, registry.load, lambda n: registry.submit(n, ["a"], "query")):
        with pytest.raises(EncoderNotFound, match="named 'tinny'; the closest installed: tiny"):
            call("tinny")


def test_without_any_encoder_the_answer_says_so(tmp_path: Path) -> None:
    with pytest.raises(EncoderNotFound, match="none is installed"):
        open_registry(tmp_path).describe("tiny")


def test_a_bad_manifest_stops_the_start_and_is_named(models: Path) -> None:
    (models / "small" / "encoder.toml").write_text("format = 1")
    with pytest.raises(StoredDataError, match=r"small.encoder\.toml: space: expected a table"):
        open_registry(models)


def test_texts_are_encoded_once_the_encoder_is_loaded(registry: EncoderRegistry) -> None:
    with pytest.raises(EncoderUnavailable, match="tiny is unavailable: not loaded"):
        registry.submit("tiny", ["a cat"], "query")
    info = registry.load("tiny")
    assert (info.status, info.detail) == ("ready", "")
    assert registry.describe("tiny") == info
    encoded = registry.submit("tiny", ["a cat", "the sea"], "query").result(10)
    assert encoded.vectors.shape == (2, 32)
    assert encoded.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(encoded.vectors, axis=1), 1, atol=1e-6)


def test_the_pointer_of_a_bad_text_is_relative_to_the_texts(registry: EncoderRegistry) -> None:
    registry.load("tiny")
    with pytest.raises(InvalidText) as caught:
        registry.submit("tiny", ["fine", "\udfff"], "query")
    assert caught.value.pointer == "/1"


def test_prompts_go_before_queries_and_documents(models: Path) -> None:
    prompts = 'query_prompt = "find: "\ndocument_prompt = "text: "'
    write_model(models / "prompted", FILES, small_manifest(FILES, name="prompted", text=prompts))
    registry = open_registry(models)
    registry.load("prompted")
    registry.load("small")
    prompted = [registry.submit("prompted", ["cat"], kind) for kind in ("query", "document")]
    spelled = registry.submit("small", ["find: cat", "text: cat"], "document").result(10)
    np.testing.assert_array_equal(
        np.concatenate([future.result(10).vectors for future in prompted]), spelled.vectors
    )
    assert [future.result(10).tokens[0] for future in prompted] == spelled.tokens
    registry.close()


def test_without_leave_to_obtain_the_missing_files_are_named(registry: EncoderRegistry) -> None:
    with pytest.raises(EncoderUnavailable, match=r"small lacks model\.int8\.onnx in .*small"):
        registry.load("small", obtain=False)
    registry.load("small")
    assert registry.describe("small").status == "ready"


def test_a_load_that_fails_leaves_its_reason_and_may_succeed_later(models: Path) -> None:
    weights = models / "small" / "model.safetensors"
    weights.unlink()
    registry = open_registry(models)
    with pytest.raises(EncoderUnavailable, match="small lacks model"):
        registry.load("small")
    info = registry.describe("small")
    assert info.status == "unavailable"
    assert info.detail == "small lacks model.safetensors; tried: no source is given"
    weights.write_bytes(FILES["model.safetensors"])
    assert registry.load("small").status == "ready"
    registry.close()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("dimension = 32", "dimension = 17", "expected vectors of 17 numbers, got"),
        ("model.onnx", "tokenizer.json", "cannot be opened"),
        ('pool = "graph"', 'pool = "mean"', "expected token vectors to pool, got"),
        ('batch = "tog', 'output = "logits"\nbatch = "tog', "no output 'logits', but"),
    ],
)
def test_a_graph_that_does_not_fit_its_manifest_is_unavailable(
    models: Path, old: str, new: str, reason: str
) -> None:
    path = models / "tiny" / "encoder.toml"
    manifest = path.read_text()
    before, files = manifest.split("[[files]]", 1)
    assert old in before
    path.write_text(f"{before.replace(old, new)}[[files]]{files}")
    registry = open_registry(models)
    with pytest.raises(EncoderUnavailable, match=reason):
        registry.load("tiny")
    assert registry.describe("tiny").status == "unavailable"
    registry.close()


def test_many_loads_at_once_open_the_encoder_once(registry: EncoderRegistry) -> None:
    builds: list[str] = []

    def note(what: str, done_bytes: int, total_bytes: int) -> None:
        if done_bytes == 0:
            builds.append(what)

    with ThreadPoolExecutor(4) as callers:
        loads = [callers.submit(registry.load, "small", progress=note) for _ in range(4)]
        assert {load.result().status for load in loads} == {"ready"}
    assert builds == ["build model.int8.onnx"]


def test_while_loading_the_status_says_so(registry: EncoderRegistry) -> None:
    seen: list[str] = []

    def note(what: str, done_bytes: int, total_bytes: int) -> None:
        seen.append(registry.describe("small").status)
        with pytest.raises(EncoderUnavailable, match="small is being loaded"):
            registry.submit("small", ["a"], "query")

    registry.load("small", progress=note)
    assert set(seen) == {"loading"}


def test_after_close_nothing_is_taken_and_no_thread_is_left(models: Path) -> None:
    before = set(threading.enumerate())
    registry = open_registry(models)
    registry.load("tiny")
    registry.load("small")
    accepted = registry.submit("small", ["one", "two", "three"], "document")
    registry.close()
    assert accepted.result(0).vectors.shape == (3, 16)
    with pytest.raises(ShuttingDown):
        registry.submit("tiny", ["a"], "query")
    assert set(threading.enumerate()) == before


def test_closing_ends_a_load_that_is_under_way(models: Path, tmp_path: Path) -> None:
    (models / "small").rename(tmp_path / "source")
    folder = write_model(models / "small", FILES, with_files=False)
    registry = EncoderRegistry(
        models, threads=1, queue=9, batch_tokens=99, local_source=tmp_path / "source"
    )

    def close(what: str, done_bytes: int, total_bytes: int) -> None:
        registry.close()

    with pytest.raises(ShuttingDown):
        registry.load("small", progress=close)
    assert registry.describe("small").status == "unavailable"
    assert not (folder / "model.int8.onnx").exists()


def test_a_load_that_ends_after_close_is_not_published(registry: EncoderRegistry) -> None:
    def close_at_the_end(what: str, done_bytes: int, total_bytes: int) -> None:
        if (what, done_bytes) == ("build model.int8.onnx", 1):
            registry.close()

    with pytest.raises(ShuttingDown):
        registry.load("small", progress=close_at_the_end)
    assert registry.describe("small").status == "unavailable"


# ── unloading, and folders that come and go ──────────────────────────────────────────────────


def test_an_unloaded_encoder_says_so_and_can_be_loaded_again(registry: EncoderRegistry) -> None:
    before = set(threading.enumerate())
    registry.load("tiny")
    accepted = registry.submit("tiny", ["a cat"] * 50, "query")
    info = registry.unload("tiny")
    assert (info.status, info.detail) == ("unavailable", "unloaded on request")
    assert accepted.result(0).vectors.shape == (50, 32), "what was accepted is done"
    assert set(threading.enumerate()) == before
    with pytest.raises(EncoderUnavailable, match="tiny is unavailable: unloaded on request"):
        registry.submit("tiny", ["a cat"], "query")
    assert registry.unload("tiny") == info
    assert registry.load("tiny").status == "ready"
    with pytest.raises(EncoderNotFound):
        registry.unload("nobody")


def test_the_model_is_let_go(registry: EncoderRegistry) -> None:
    registry.load("tiny")
    entry = registry._installed.entry("tiny")
    assert entry.loaded is not None
    model = weakref.ref(entry.loaded.encoder)
    registry.unload("tiny")
    gc.collect()
    assert model() is None


def test_loads_unloads_and_texts_at_once_end_well(registry: EncoderRegistry) -> None:
    outcomes: set[str] = set()

    def work(number: int) -> None:
        for _ in range(15):
            try:
                if number == 0:
                    registry.load("tiny")
                elif number == 1:
                    registry.unload("tiny")
                else:
                    registry.submit("tiny", ["a cat"], "query").result(30)
                    outcomes.add("encoded")
            except EncoderUnavailable:
                outcomes.add("unavailable")

    registry.load("tiny")
    registry.submit("tiny", ["a cat"], "query").result(30)
    with ThreadPoolExecutor(5) as workers:
        for done in [workers.submit(work, number) for number in range(5)]:
            done.result()
    assert outcomes <= {"encoded", "unavailable"}
    assert registry.load("tiny").status == "ready"


def test_a_folder_that_comes_is_found_and_one_that_goes_is_forgotten(
    registry: EncoderRegistry, models: Path
) -> None:
    manifest = small_manifest(FILES, name="late")
    write_model(models / "late", FILES, manifest)
    assert registry.load("late").status == "ready"
    shutil.rmtree(models / "late")
    names = {info.name for info in registry.describe_all()}
    assert "late" in names, "it is loaded"
    registry.unload("late")
    assert "late" not in {info.name for info in registry.describe_all()}
    with pytest.raises(EncoderNotFound):
        registry.describe("late")


def test_a_manifest_that_changes_is_read_anew_once_nothing_is_loaded_of_it(
    registry: EncoderRegistry, models: Path
) -> None:
    path = models / "small" / "encoder.toml"
    registry.load("small")
    path.write_text(path.read_text().replace("version = 3", "version = 4"))
    os.utime(path, ns=(1, 1))
    (small,) = (info for info in registry.describe_all() if info.name == "small")
    assert small.space == "small@3"
    registry.unload("small")
    (small,) = (info for info in registry.describe_all() if info.name == "small")
    assert small.space == "small@4"
    path.write_text("format = 1")
    os.utime(path, ns=(2, 2))
    (small,) = (info for info in registry.describe_all() if info.name == "small")
    assert small.status == "unavailable", "a running service does not stop for it"
    with pytest.raises(EncoderUnavailable, match="space: expected a table"):
        registry.load("small")


def test_a_load_sees_what_changed_though_nobody_listed_encoders(
    registry: EncoderRegistry, models: Path
) -> None:
    path = models / "small" / "encoder.toml"
    path.write_text(path.read_text().replace("version = 3", "version = 4"))
    os.utime(path, ns=(1, 1))
    assert registry.load("small").space == "small@4"
    shutil.rmtree(models / "tiny")
    with pytest.raises(EncoderNotFound):
        registry.load("tiny")


def test_a_removed_encoder_answers_until_it_is_unloaded_and_is_then_unknown(
    registry: EncoderRegistry, models: Path
) -> None:
    registry.load("small")
    shutil.rmtree(models / "small")
    assert registry.describe("small").status == "ready"
    assert registry.submit("small", ["a cat"], "query").result(30).vectors.shape == (1, 16)
    assert registry.load("small").status == "ready", "it is loaded still"
    registry.unload("small")
    with pytest.raises(EncoderNotFound):
        registry.load("small")
    with pytest.raises(EncoderNotFound):
        registry.submit("small", ["a cat"], "query")


def test_weights_that_come_after_their_configuration_make_an_encoder(
    registry: EncoderRegistry, models: Path
) -> None:
    (models / "later").mkdir()
    for name, content in layout().items():
        (models / "later" / name).parent.mkdir(exist_ok=True)
        (models / "later" / name).write_bytes(content)
    with pytest.raises(EncoderUnavailable, match="expected an ONNX graph, found none"):
        registry.load("later")
    (models / "later" / "onnx").mkdir()
    (models / "later" / "onnx" / "model.onnx").write_bytes(b"\x0a\xff")  # half of it
    with pytest.raises(EncoderUnavailable, match="is not an ONNX graph"):
        registry.load("later")
    (models / "later" / "onnx" / "model.onnx").write_bytes(graph())
    assert registry.load("later").status == "ready"


def test_an_encoder_that_fails_on_taking_an_input_fails_that_request_only(
    registry: EncoderRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.load("tiny")
    entry = registry._installed.entry("tiny")
    assert entry.loaded is not None
    for stage in ("address", "estimate"):
        with monkeypatch.context() as broken:

            def fails(*given: object) -> None:
                raise RuntimeError("no way")

            broken.setattr(entry.loaded.encoder, stage, fails)
            with pytest.raises(EncodingFailed, match="tiny failed to take an input: RuntimeError"):
                registry.submit("tiny", ["a cat"], "query")
        assert registry.submit("tiny", ["a cat"], "query").result(30).vectors.shape == (1, 32)
    assert set(registry.statistics()[0].waiting.values()) == {0}
