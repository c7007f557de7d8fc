"""Models made of installed ones: soups of their weights, and copies in int8.

What comes out is a folder like any other, with a manifest of its own, which is loaded, verified and
removed like any other. It is written beside its place and moved there when it is whole.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import onnx

from app.encoders.base import Encoder, Progress, no_progress
from app.encoders.build import graph_path
from app.encoders.calibration import random_rows
from app.encoders.direct import encode
from app.encoders.fidelity import Fidelity, compare
from app.encoders.files import sha256_of
from app.encoders.manifest import (
    FILE_NAME,
    BuiltGraph,
    Manifest,
    ModelFile,
    ReadyGraph,
    TextSpec,
    read_manifest,
)
from app.encoders.manifest.writing import toml_from_manifest
from app.encoders.obtain import missing_files, obtain, with_variant
from app.encoders.opening import open_encoder
from app.encoders.pipeline.arrays import unit
from app.encoders.quantise import quantise
from app.encoders.soup import (
    Ingredient,
    Tasted,
    Tensors,
    average,
    greedy,
    read_ingredient,
    soup_bytes,
)
from app.encoders.tokenizer import Tokenizer
from app.errors import InvalidRequest
from app.evaluation.devset import Pairs, Search
from app.types import F32, NAME

Devset = Pairs | Search


@dataclass(frozen=True, slots=True)
class Souped:
    """A soup that was written.

    kept    the models in it
    tasted  what the greedy recipe found; None for a uniform soup
    score   of the soup on the development set, if there was one
    scores  of each model alone, likewise
    """

    folder: Path
    kept: list[str]
    tasted: Tasted | None
    score: float | None
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Quantised:
    """An int8 copy that was written, and how faithful it is.

    before, after  scores on the development set, if there was one
    """

    folder: Path
    fidelity: Fidelity
    before: float | None
    after: float | None
    bytes_before: int
    bytes_after: int


def cook(
    models: Path,
    names: Sequence[str],
    into: str,
    *,
    shares: Sequence[float] | None = None,
    greedily: bool = False,
    devset: Devset | None = None,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Souped:
    """Average the weights of installed models and write the result as a model.

    shares    weight of each model; equal ones if None
    greedily  keep only what does not make the soup worse on the development set

    Raises InvalidRequest if the models do not belong together, or no place is free for the result;
    CorruptFile and EncoderUnavailable for models that cannot be used.
    """
    if len(set(names)) != len(names) or len(names) < 2:
        raise InvalidRequest("a soup needs at least two different models")
    if greedily and (devset is None or shares is not None):
        raise InvalidRequest("the greedy recipe needs a development set, and weighs models equally")
    manifests = [_whole(models / name) for name in names]
    _check_alike(manifests)
    paths = [_weights_of(one, models / one.name) for one in manifests]
    ingredients = [read_ingredient(path) for path in paths]
    average(ingredients, shares)  # before anything is written or run
    with _new_folder(models, into) as folder:

        def write(some: Sequence[int], place: Path, shares: Sequence[float] | None) -> Manifest:
            like = manifests[0]
            soup = average([ingredients[one] for one in some], shares)
            return _write_soup(like, models / like.name, paths[0], ingredients[0], soup, place)

        def taste(some: Sequence[int]) -> float:
            assert devset is not None
            progress(f"taste {' + '.join(names[one] for one in some)}", 0, 1)
            with tempfile.TemporaryDirectory(dir=models, prefix=".taste-") as scratch:
                place = Path(scratch) / into
                place.mkdir()
                return _score(
                    with_variant(write(some, place, None), "fp32"), place, devset, threads
                )

        everyone = list(range(len(names)))
        tasted = greedy(len(names), taste) if greedily else None
        kept = everyone if tasted is None else tasted.kept
        scores: dict[str, float] = {}
        score: float | None = None
        if tasted is not None:
            scores, score = dict(zip(names, tasted.scores, strict=True)), tasted.score
        manifest = write(kept, folder, shares)
        if tasted is None and devset is not None:
            scores = {names[one]: taste([one]) for one in everyone}
            score = _score(with_variant(manifest, "fp32"), folder, devset, threads)
    return Souped(models / into, [names[one] for one in kept], tasted, score, scores)


def quantise_model(
    models: Path,
    name: str,
    into: str,
    texts: Sequence[str],
    *,
    devset: Devset | None = None,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Quantised:
    """Write an int8 copy of an installed model of texts, and compare the two.

    texts  to compare their vectors by

    The copy keeps the space: its vectors compare with the model's, as well as the report says.
    Raises InvalidRequest if the model is int8 already or makes no dense vectors; CorruptFile and
    EncoderUnavailable for a model that cannot be used.
    """
    if not texts:
        raise InvalidRequest("expected texts to compare the two models by")
    manifest = _whole(models / name)
    source = models / name
    if not isinstance(manifest.spec, TextSpec) or manifest.spec.output is None:
        raise InvalidRequest(f"{name} makes no dense vectors of texts")
    graph = manifest.graph
    assert graph is not None
    with _new_folder(models, into) as folder:
        progress(f"quantise {name}", 0, 1)
        if isinstance(graph, BuiltGraph):
            copy = with_variant(replace(manifest, name=into), "int8")
            _copy_files(manifest.files, source, folder)
        else:
            copy = _quantised_copy(manifest, graph, source, folder, into)
        (folder / FILE_NAME).write_text(
            toml_from_manifest(copy, (f"{name}, its products in int8.",)), encoding="utf-8"
        )
        copy = replace(copy, name=into)
        original = with_variant(manifest, "fp32")
        with _opened(original, source, threads) as reference, _opened(copy, folder, threads) as own:
            fidelity = compare(_vectors(reference, texts), _vectors(own, texts))
            before, after = (
                None if devset is None else devset.score(_Encoding(one)) for one in (reference, own)
            )
        sizes = [_graph_bytes(one, place) for one, place in ((original, source), (copy, folder))]
        progress(f"quantise {name}", 1, 1)
    return Quantised(models / into, fidelity, before, after, *sizes)


def _write_soup(
    like: Manifest, source: Path, weights: Path, kind: Ingredient, soup: Tensors, into: Path
) -> Manifest:
    own = weights.relative_to(source).as_posix()
    _copy_files([file for file in like.files if file.path != own], source, into)
    (into / own).parent.mkdir(parents=True, exist_ok=True)
    (into / own).write_bytes(soup_bytes(kind, soup))
    manifest = replace(
        like,
        name=into.name,
        space=f"{into.name}@1",
        files=tuple(_listed(into, file.path) if file.path == own else file for file in like.files),
        sources=(),
    )
    (into / FILE_NAME).write_text(
        toml_from_manifest(manifest, ("The mean of several models' weights.",)), encoding="utf-8"
    )
    return manifest


def _quantised_copy(
    manifest: Manifest, graph: ReadyGraph, source: Path, folder: Path, into: str
) -> Manifest:
    """Copy a published graph with its products in int8."""
    path = source / graph.file
    if graph.batch == "alone":
        raise InvalidRequest(f"{path} is quantised already")
    assert isinstance(manifest.spec, TextSpec)
    text = manifest.spec.text
    tokenizer = Tokenizer(source / text.tokenizer, text.max_tokens)
    model = onnx.load(path)
    taken = {entry.name for entry in model.graph.input}
    rows = random_rows(tokenizer.ids([""])[0], tokenizer.vocabulary, text.max_tokens)
    feeds = ({name: row[name] for name in taken & row.keys()} for row in rows)
    kept = [file for file in manifest.files if file.path != graph.file]
    _copy_files(kept, source, folder)
    (folder / graph.file).parent.mkdir(parents=True, exist_ok=True)
    (folder / graph.file).write_bytes(quantise(model, feeds).SerializeToString())
    files = (*kept, _listed(folder, graph.file))
    return replace(manifest, name=into, files=files, sources=())


def _check_alike(manifests: Sequence[Manifest]) -> None:
    """Raise InvalidRequest unless models differ in nothing but their weights."""
    first = manifests[0]
    for other in manifests[1:]:
        if (other.kind, other.spec, other.dimension) != (
            first.kind,
            first.spec,
            first.dimension,
        ) or _shape(other) != _shape(first):
            raise InvalidRequest(
                f"{first.name} and {other.name} are not of one kind: their manifests differ in "
                "more than names and weights"
            )
        if _tokenizer_hash(first) != _tokenizer_hash(other):
            raise InvalidRequest(f"{first.name} and {other.name} have different tokenizers")


def _shape(manifest: Manifest) -> object:
    graph = manifest.graph
    return replace(graph, variant="fp32") if isinstance(graph, BuiltGraph) else graph


def _tokenizer_hash(manifest: Manifest) -> str:
    spec = manifest.spec
    return manifest.file(spec.text.tokenizer).sha256 if isinstance(spec, TextSpec) else ""


def _weights_of(manifest: Manifest, folder: Path) -> Path:
    graph = manifest.graph
    if isinstance(graph, BuiltGraph):
        return folder / graph.weights
    if graph is None:
        raise InvalidRequest(f"{manifest.name} has no weights")
    return folder / graph.file


def _whole(folder: Path) -> Manifest:
    """The manifest of an installed model whose files are all there."""
    if not NAME.fullmatch(folder.name) or not (folder / FILE_NAME).is_file():
        raise InvalidRequest(f"there is no {FILE_NAME} in {folder}: pull or load the model first")
    manifest = read_manifest(folder)
    missing = [file.path for file in missing_files(manifest, folder)]
    if isinstance(manifest.graph, BuiltGraph) and not (folder / manifest.graph.weights).is_file():
        missing.append(manifest.graph.weights)
    if missing:
        raise InvalidRequest(f"{folder.name} lacks {', '.join(dict.fromkeys(missing))}")
    return manifest


@contextmanager
def _new_folder(models: Path, name: str) -> Iterator[Path]:
    """Lend a folder to write a model into, and put it in place if all went well."""
    if not NAME.fullmatch(name):
        raise InvalidRequest(f"{name!r} is no name for a model")
    if (models / name).exists():
        raise InvalidRequest(f"{models / name} exists: remove it, or take another name")
    with tempfile.TemporaryDirectory(dir=models, prefix=".new-") as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        yield folder
        folder.replace(models / name)


def _copy_files(files: Sequence[ModelFile], source: Path, folder: Path) -> None:
    for file in files:
        place = folder / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / file.path, place)  # model files are replaced, never written to
        except OSError:
            shutil.copyfile(source / file.path, place)


def _listed(folder: Path, path: str) -> ModelFile:
    place = folder / path
    return ModelFile(path, sha256_of(place), place.stat().st_size)


@contextmanager
def _opened(manifest: Manifest, folder: Path, threads: int) -> Iterator[Encoder]:
    obtain(manifest, folder)
    encoder = open_encoder(manifest, folder, threads=threads)
    try:
        yield encoder
    finally:
        encoder.close()


def _score(manifest: Manifest, folder: Path, devset: Devset, threads: int) -> float:
    with _opened(manifest, folder, threads) as encoder:
        return devset.score(_Encoding(encoder))


@dataclass(frozen=True, slots=True)
class _Encoding:
    """An encoder as development sets ask it: unit vectors."""

    encoder: Encoder

    def __call__(self, texts: list[str], kind: Literal["query", "document"]) -> F32:
        return unit(encode(self.encoder, texts, kind).vectors)


def _vectors(encoder: Encoder, texts: Sequence[str]) -> F32:
    return _Encoding(encoder)(list(texts), "document")


def _graph_bytes(manifest: Manifest, folder: Path) -> int:
    return graph_path(manifest, folder).stat().st_size
