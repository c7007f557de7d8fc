"""What every encoder promises, whatever its kind: one suite for all of `contracts.CASES`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from app.encoders.base import Encoder, OutputKind, Prepared
from app.encoders.direct import encode
from app.encoders.manifest import FILE_NAME, Manifest, read_manifest
from app.encoders.manifest.writing import toml_from_manifest
from app.encoders.pipeline.groups import pixel_orbit
from app.encoders.views import measure_invariance
from tests.encoders.contracts import CASES, Case, made, numbers, shown
from tests.encoders.golden import PATH, SHOWN, named
from tests.encoders.pipelines import opened

Opened = tuple[Case, OutputKind, Manifest, Encoder]
EVERY = [(case, output) for case in CASES for output in case.outputs]


@pytest.fixture(scope="module", params=EVERY, ids=lambda one: named(*one))
def one(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opened]:
    case, output = request.param
    manifest, encoder = opened(case.write(tmp_path_factory.mktemp("models") / "subject"))
    yield case, output, manifest, encoder
    encoder.close()


def test_the_manifest_promises_what_is_tested(one: Opened) -> None:
    case, _, manifest, _ = one
    assert manifest.outputs == tuple(case.outputs)


def test_outputs_are_finite_and_of_the_declared_shape_and_length(one: Opened) -> None:
    case, output, manifest, encoder = one
    assert encoder.dimension == manifest.dimension
    every = made(encoder, case.inputs, output)
    assert len(every) == len(case.inputs)
    for each in every:
        assert np.isfinite(numbers(output, each)).all()
        if output == "score":
            assert isinstance(each, float)
        elif output == "sparse":
            assert (each.indices.dtype, each.values.dtype) == (np.int64, np.float32)
            assert len(each.indices) == len(each.values) >= 1
            assert (np.diff(each.indices) > 0).all()
            assert (each.values > 0).all()
        else:
            assert each.dtype == np.float32
            rows = each if output == "tokens" else each[None]
            assert rows.ndim == 2
            assert len(rows) >= 1
            assert rows.shape[1] == _width(manifest, output)
            if case.unit:
                np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def _width(manifest: Manifest, output: OutputKind) -> int:
    """Numbers of a vector; those of tokens are the manifest's own where it has them."""
    tokens = getattr(manifest.spec, "tokens", None)
    if output == "tokens" and not isinstance(tokens, (str, type(None))):
        return int(tokens.dimension)
    return manifest.dimension


def test_different_inputs_have_different_outputs(one: Opened) -> None:
    case, output, _, encoder = one
    every = [numbers(output, each) for each in made(encoder, case.inputs, output)]
    for first, second in combinations(every, 2):
        assert first.shape != second.shape or np.linalg.norm(first - second) > 1e-3


def test_the_same_call_gives_the_same_outputs(one: Opened) -> None:
    case, output, _, encoder = one
    first, second = (made(encoder, case.inputs, output, "query") for _ in range(2))
    for left, right in zip(first, second, strict=True):
        np.testing.assert_allclose(numbers(output, left), numbers(output, right), atol=1e-6)


def test_an_output_depends_neither_on_company_nor_on_padding(one: Opened) -> None:
    """One batch pads short inputs to long ones; alone nothing is padded."""
    case, output, _, encoder = one
    together = made(encoder, case.inputs, output)
    backwards = made(encoder, case.inputs[::-1], output)[::-1]
    alone = [made(encoder, [given], output)[0] for given in case.inputs]
    for each, others in zip(together, zip(backwards, alone, strict=True), strict=True):
        for other in others:
            np.testing.assert_allclose(
                numbers(output, each), numbers(output, other), atol=case.company
            )


@pytest.mark.parametrize(
    "one",
    [(case, output) for case, output in EVERY if len(case.outputs) > 1],
    ids=lambda one: named(*one),
    indirect=True,
)
def test_all_outputs_at_once_are_what_each_is_alone(one: Opened) -> None:
    case, output, _, encoder = one
    alone = made(encoder, case.inputs, output)
    for several, each in zip(made(encoder, case.inputs, "all"), alone, strict=True):
        found = getattr(several, output)
        np.testing.assert_allclose(numbers(output, found), numbers(output, each), atol=1e-6)


def test_no_input_gives_no_vector(one: Opened) -> None:
    _, output, manifest, encoder = one
    if output == "dense":
        assert encode(encoder, [], "document").vectors.shape == (0, manifest.dimension)
    assert encoder.prepare([]) == []


def test_costs_are_positive_and_estimated(one: Opened) -> None:
    case, _, _, encoder = one
    addressed = encoder.address(case.inputs, "document")
    for given, each in zip(addressed, encoder.prepare(addressed), strict=True):
        assert isinstance(each, Prepared)
        assert each.cost >= 1
        assert encoder.estimate(given) >= 1


def test_a_space_has_an_id_and_a_version(one: Opened) -> None:
    _, _, manifest, _ = one
    name, _, version = manifest.space.rpartition("@")
    assert name
    assert int(version) >= 1


def test_a_manifest_is_written_and_read_back_as_it_was(one: Opened, tmp_path: Path) -> None:
    _, _, manifest, _ = one
    folder = tmp_path / manifest.name
    folder.mkdir()
    (folder / FILE_NAME).write_text(toml_from_manifest(manifest), encoding="utf-8")
    assert read_manifest(folder) == manifest


def test_outputs_are_those_that_were_written_down(one: Opened) -> None:
    case, output, _, encoder = one
    golden = json.loads(PATH.read_text())
    assert named(case, output) in golden, "python -m tests.encoders.golden"
    every = made(encoder, case.inputs, output)
    for each, written in zip(every, golden[named(case, output)], strict=True):
        np.testing.assert_allclose(shown(output, each, SHOWN), written, atol=case.golden)


def test_a_vector_is_invariant_to_what_its_encoder_declares(one: Opened) -> None:
    case, output, manifest, encoder = one
    actions, tolerance = list(case.unmoved), 1e-5
    if manifest.views is not None and manifest.views.group:
        actions += pixel_orbit(manifest.views.group)
    if manifest.invariance is not None:
        actions += pixel_orbit(manifest.invariance.group)
        tolerance = manifest.invariance.tolerance
    if not actions or output != "dense":
        pytest.skip("it declares no group")
    assert measure_invariance(encoder, case.inputs, actions).farthest <= tolerance


def test_every_golden_vector_belongs_to_a_case() -> None:
    assert set(json.loads(PATH.read_text())) == {named(*one) for one in EVERY}
