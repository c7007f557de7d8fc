"""Soups and int8 copies as models: written whole, verified, loaded, and as good as they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from app.__main__ import cli
from app.encoders.derived import cook, quantise_model
from app.encoders.direct import encode
from app.encoders.manifest import read_manifest
from app.encoders.obtain import missing_files, obtain
from app.encoders.opening import open_encoder
from app.errors import InvalidRequest
from app.evaluation.devset import read_devset
from app.types import F32
from tests.encoders.models import SHAPE, TINY, safetensors_bytes, small_manifest, write_model
from tests.encoders.reference import random_tensors

TOKENIZER = (TINY / "tokenizer.json").read_bytes()
TRUE = random_tensors(7, **SHAPE)
WORDS = "the man sea red cat dog tea sky car sun day old new ice bread rain field paper music"
TEXTS = [
    f"{one} {other} {third}"
    for one in WORDS.split()[:8]
    for other in WORDS.split()[8:16]
    for third in WORDS.split()[14:]
]


def tuned(seed: int, scale: float = 0.35) -> Mapping[str, NDArray[np.float32]]:
    """The truth with errors of its own, as another fine-tune of the same start has."""
    random = np.random.default_rng(seed)
    return {
        name: (tensor + scale * tensor.std() * random.standard_normal(tensor.shape)).astype("<f4")
        for name, tensor in TRUE.items()
    }


def write(folder: Path, tensors: Mapping[str, NDArray[np.float32]], variant: str = "fp32") -> Path:
    files = {"tokenizer.json": TOKENIZER, "model.safetensors": safetensors_bytes(tensors)}
    return write_model(folder, files, small_manifest(files, name=folder.name, variant=variant))


def vectors(folder: Path, texts: list[str] = TEXTS) -> F32:
    manifest = read_manifest(folder)
    obtain(manifest, folder)
    encoder = open_encoder(manifest, folder, threads=1)
    made = encode(encoder, texts, "document").vectors
    encoder.close()
    return made


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The truth, three tunes of it, and a model of another start."""
    folder = tmp_path_factory.mktemp("models")
    write(folder / "truth", TRUE)
    for number in range(3):
        write(folder / f"tune{number}", tuned(number))
    write(folder / "stranger", random_tensors(99, **SHAPE))
    return folder


@pytest.fixture(scope="module")
def dev(models: Path) -> Path:
    """Pairs, and how close the truth finds them."""
    made = vectors(models / "truth")
    rows = [
        {"s1": TEXTS[one], "s2": TEXTS[other], "score": float(made[one] @ made[other])}
        for one, other in np.random.default_rng(1).integers(0, len(TEXTS), (150, 2)).tolist()
    ]
    path = models / "dev.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_a_soup_is_a_model_whose_weights_are_the_mean(models: Path, tmp_path: Path) -> None:
    made = cook(models, ["tune0", "tune1"], "mean", shares=[3, 1])
    assert (made.kept, made.score) == (["tune0", "tune1"], None)
    manifest = read_manifest(made.folder)
    assert missing_files(manifest, made.folder) == []
    assert (manifest.name, manifest.space, manifest.sources) == ("mean", "mean@1", ())
    one, other = tuned(0), tuned(1)
    mean = {name: (0.75 * one[name] + 0.25 * other[name]).astype("<f4") for name in one}
    expected = vectors(write(tmp_path / "expected", mean))
    np.testing.assert_allclose(vectors(made.folder), expected, atol=1e-5)


def test_the_greedy_soup_beats_every_model_in_it_and_leaves_the_stranger_out(
    models: Path, dev: Path
) -> None:
    names = ["stranger", "tune0", "tune1", "tune2"]
    made = cook(models, names, "greedy", greedily=True, devset=read_devset(dev))
    assert made.score is not None
    assert set(made.scores) == set(names)
    assert made.score > max(made.scores.values())
    assert "stranger" not in made.kept
    assert len(made.kept) >= 2
    uniform = cook(models, names, "uniform", devset=read_devset(dev))
    assert uniform.score is not None
    assert uniform.score < made.score  # what tasting is for


def test_what_does_not_belong_together_is_refused_and_nothing_is_left(
    models: Path, tmp_path: Path
) -> None:
    write(tmp_path / "a", TRUE)
    write(tmp_path / "wide", random_tensors(1, **(SHAPE | {"wide": 8})))
    prompted = (tmp_path / "a" / "encoder.toml").read_text().replace('name = "a"', 'name = "b"')
    write(tmp_path / "b", TRUE)
    (tmp_path / "b" / "encoder.toml").write_text(
        prompted.replace("max_tokens", 'query_prompt = "q: "\nmax_tokens')
    )
    before = sorted(tmp_path.rglob("*"))
    for names, message in (
        (["a"], "at least two"),
        (["a", "a"], "at least two"),
        (["a", "none"], "no encoder.toml"),
        (["a", "../a"], "no encoder.toml"),
        (["a", "b"], "differ in more than names"),
        (["a", "wide"], "cannot be averaged: tensor"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            cook(tmp_path, names, "soup")
    with pytest.raises(InvalidRequest, match="exists"):
        cook(models, ["tune0", "tune1"], "truth")
    with pytest.raises(InvalidRequest, match="is no name"):
        cook(models, ["tune0", "tune1"], "../out")
    with pytest.raises(InvalidRequest, match="needs a development set"):
        cook(models, ["tune0", "tune1"], "soup", greedily=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_int8_copy_of_a_built_model_is_as_faithful_as_reported(models: Path, dev: Path) -> None:
    made = quantise_model(models, "truth", "truth-int8", TEXTS, devset=read_devset(dev))
    assert made.before == pytest.approx(1)  # it wrote the scores
    assert made.after is not None
    assert 0.9 < made.after < 1
    cosines = np.einsum("nd,nd->n", vectors(models / "truth"), vectors(made.folder))
    assert made.fidelity.least == pytest.approx(float(cosines.min()), abs=1e-5)
    assert made.fidelity.texts == len(TEXTS)
    assert read_manifest(made.folder).space == read_manifest(models / "truth").space


def test_an_int8_copy_of_a_published_graph_runs_without_its_neighbours(tmp_path: Path) -> None:
    folder = write(tmp_path / "built", TRUE)
    obtain(read_manifest(folder), folder)
    graph = (folder / "model.onnx").read_bytes()
    files = {"tokenizer.json": TOKENIZER, "model.onnx": graph}
    text = small_manifest(files, name="ready")
    start, end = text.index("[graph]"), text.index("[[files]]")
    ready = '[graph]\nfile = "model.onnx"\nbatch = "together"\n[output]\npool = "graph"\n'
    manifest = text[:start] + ready + "normalise = true\n" + text[end:]
    write_model(tmp_path / "ready", files, manifest)
    made = quantise_model(tmp_path, "ready", "small", TEXTS)
    assert made.bytes_after < made.bytes_before
    assert made.fidelity.mean > 0.98
    assert made.fidelity.least < 1 - 1e-6, "it is another graph"
    together, alone = vectors(made.folder), vectors(made.folder, TEXTS[:1])
    np.testing.assert_allclose(together[0], alone[0], atol=1e-6)


def test_what_cannot_be_quantised_is_refused(models: Path) -> None:
    with pytest.raises(InvalidRequest, match="expected texts"):
        quantise_model(models, "truth", "copy", [])
    with pytest.raises(InvalidRequest, match=r"no encoder\.toml"):
        quantise_model(models, "nobody", "copy", TEXTS)
    assert not (models / "copy").exists()


# ── the commands ─────────────────────────────────────────────────────────────────────────────


def run(models: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setenv("LIKEWISE_MODELS_DIR", str(models))
    return CliRunner().invoke(cli, ["models", *arguments])


def test_the_commands_print_what_they_made(
    models: Path, dev: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["tune0", "tune1", "tune2"]
    told = run(models, monkeypatch, "soup", "best", *names, "--greedy", "--dev", str(dev), "--json")
    assert told.exit_code == 0, told.output
    made = json.loads(told.stdout)
    assert made["name"] == "best"
    assert made["score"] >= max(made["scores"].values())
    told = run(models, monkeypatch, "quantise", "best", "--dev", str(dev))
    assert told.exit_code == 0, told.output
    assert "best-int8: " in told.stdout
    assert "cosine to float32 over" in told.stdout
    assert "Spearman's correlation: " in told.stdout
    assert (models / "best-int8" / "encoder.toml").is_file()


def test_the_commands_refuse_in_one_line(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, message in (
        (("quantise", "truth"), "--texts or --dev"),
        (("soup", "x", "tune0", "tune1", "--weights", "1,two"), "numbers with commas"),
        (("soup", "x", "tune0", "tune1", "--weights", "1"), "one weight for each"),
        (("soup", "x", "tune0", "nobody"), "no encoder.toml"),
        (("quantise", "truth", "--texts", "nowhere.txt"), "nowhere.txt cannot be used"),
    ):
        told = run(models, monkeypatch, *arguments)
        assert told.exit_code == 1, told.output
        # What the service's errors say is printed by `main`, in one line.
        assert message in f"{told.output} {told.exception}".replace("\n", " ")
