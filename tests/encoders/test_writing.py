"""A manifest that is written is read back as it was: every kind, with every table."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.encoders.manifest import FILE_NAME, Manifest, read_manifest
from app.encoders.manifest.files import PackageSource
from app.encoders.manifest.manifest import KINDS
from app.encoders.manifest.writing import toml_from_manifest
from tests.encoders.contracts import CASES
from tests.encoders.models import ROOT, small_files, small_manifest, write_model
from tests.encoders.pipelines import array_bytes, seeded, write_folder
from tests.encoders.several import DENSE, LOGITS, OWN, TOKENS, write_several
from tests.encoders.test_pipeline_docs import blocks

COLBERT = (
    '[tokens]\ndimension = 6\nnormalise = true\nprojection = "projection.safetensors"\n'
    'skip_punctuation = true\nquery_marker = "[Q]"\ndocument_marker = "[D]"\nquery_tokens = 12\n'
    'query_fill = ""\nattend_to_mask = true\n'
)
FRAMED = (
    '[image]\nresize = "shortest_edge"\nsize = [8, 9]\nresample = "bicubic"\ncrop = [4, 5]\n'
    'rescale = 0.5\nmean = [0.0, 0.5, 1e-9]\nstd = [1.0, 0.25, 3.0]\nchannels = "bgr"\n'
    '[views]\nscales = [1.0, 1.5]\npool = "max"\n[invariance]\ngroup = "D4"\ntolerance = 1e-3\n'
    '[graph]\nfile = "model.onnx"\nbatch = "alone"\n'
    '[output]\npool = "cls"\nnormalise = false\ntokens = "patches"\n'
)
NAMED = (
    '[router]\nexperts = ["law", "art"]\nby = "name"\ndefault = "art"\nmax_tokens = 9\n'
    "[output]\nnormalise = false\n"
)
TRAINED = (
    '[record]\nrows = 8\nwidth = 4\nseed = 0\ntable = "table.npy"\n[[record.features]]\n'
    'name = "a"\nkind = "category"\n[output]\nnormalise = true\n'
    '[[output.maps]]\nop = "linear"\nmatrix = "table.npy"\nmean = "table.npy"\nbias = "table.npy"\n'
)


def document(folder: Path, block: str) -> Path:
    """The folder of a manifest of the documentation."""
    names = set(re.findall(r'"(\w+\.(?:npy|json))"', block))
    files = {name: array_bytes(seeded(1, 2, 2)) for name in names}
    kind = re.search(r'^kind = "(\w+)"\nmodality = "(\w+)"\n', block)
    if kind is None:
        text = '[text]\ntokenizer = "t"\nmax_tokens = 9\n[graph]\nfile = "g"\nbatch = "together"\n'
        return write_folder(folder, text + block, {**files, "t": b"t", "g": b"g"})
    return write_folder(
        folder, block[kind.end() :], files, kind=kind[1], modality=kind[2], dimension=7
    )


def every_manifest(folder: Path) -> list[Manifest]:
    """One manifest at least of every kind, and of everything that a kind may have."""
    small = small_files()
    auto = small_manifest(small).replace('build = "bert"', 'build = "auto"').replace(
        "heads = 4\nlayer_norm_eps = 1e-12", 'config = "tokenizer.json"\nmodules = []'
    )  # fmt: skip
    folders = [
        *(case.write(folder / str(place) / f"case{place}") for place, case in enumerate(CASES)),
        *(document(folder / f"doc{place}", block) for place, block in enumerate(blocks())),
        *(
            write_several(folder / f"several{place}", tables)
            for place, tables in enumerate([TOKENS, COLBERT, DENSE + TOKENS + LOGITS, OWN])
        ),
        *(path.parent for path in sorted(ROOT.glob(f"models/*/{FILE_NAME}"))),
        write_model(folder / "small", small, auto),
        write_folder(
            folder / "image", FRAMED, {"model.onnx": b"g"}, kind="image", modality="image"
        ),
        write_folder(folder / "named", NAMED, {}, kind="router"),
        write_folder(
            folder / "trained", TRAINED, {"table.npy": b"t"}, kind="record", modality="record"
        ),
    ]
    return [read_manifest(one) for one in folders]


def written(folder: Path, manifest: Manifest, *comments: str) -> Manifest:
    """What is read of what was written."""
    (folder / manifest.name).mkdir(parents=True, exist_ok=True)
    (folder / manifest.name / FILE_NAME).write_text(
        toml_from_manifest(manifest, comments), encoding="utf-8"
    )
    return read_manifest(folder / manifest.name)


def test_every_manifest_is_read_back_as_it_was(tmp_path: Path) -> None:
    manifests = every_manifest(tmp_path / "models")
    assert {manifest.kind for manifest in manifests} == set(KINDS)
    for manifest in manifests:
        assert written(tmp_path / "written", manifest, "a comment") == manifest


@pytest.fixture(scope="module")
def any_manifest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("models")
    return folder / "written", read_manifest(CASES[0].write(folder / "any"))


@given(
    text=st.text(min_size=1, max_size=20),
    dimensions=st.one_of(
        st.just("any"), st.sets(st.integers(1, 7)).map(lambda lengths: tuple(sorted(lengths)))
    ),
    day=st.integers(0, 20_000),
)
def test_whatever_texts_hold_they_are_read_back(
    any_manifest: tuple[Path, Manifest], text: str, dimensions: object, day: int
) -> None:
    folder, manifest = any_manifest
    changed = replace(
        manifest,
        owned_by=text,
        license=text[::-1],
        dimensions=dimensions,
        released=day * 86_400,
        space=f"{text}@3",
        sources=(PackageSource(text, "1", "0" * 64),),
    )
    assert written(folder, changed) == changed
