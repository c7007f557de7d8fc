"""What every encoder promises, whatever its kind: one suite for all of `contracts.CASES`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from app.encoders.base import Encoder, Prepared
from app.encoders.direct import encode
from app.encoders.manifest import Manifest
from app.encoders.pipeline.groups import pixel_orbit
from app.encoders.views import measure_invariance
from tests.encoders.contracts import CASES, Case
from tests.encoders.golden import PATH, SHOWN
from tests.encoders.pipelines import opened

Opened = tuple[Case, Manifest, Encoder]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def one(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opened]:
    case: Case = request.param
    manifest, encoder = opened(case.write(tmp_path_factory.mktemp("models") / "subject"))
    yield case, manifest, encoder
    encoder.close()


def test_vectors_are_finite_float32_of_the_declared_dimension_and_length(one: Opened) -> None:
    case, manifest, encoder = one
    vectors = encode(encoder, case.inputs, "document").vectors
    assert vectors.shape == (len(case.inputs), manifest.dimension)
    assert encoder.dimension == manifest.dimension
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    if case.unit:
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_different_inputs_have_different_vectors(one: Opened) -> None:
    case, _, encoder = one
    vectors = encode(encoder, case.inputs, "document").vectors
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    assert distances[~np.eye(len(vectors), dtype=bool)].min() > 1e-3


def test_the_same_call_gives_the_same_vectors(one: Opened) -> None:
    case, _, encoder = one
    first, second = (encode(encoder, case.inputs, "query").vectors for _ in range(2))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_a_vector_depends_neither_on_company_nor_on_padding(one: Opened) -> None:
    """One batch pads short inputs to long ones; alone nothing is padded."""
    case, _, encoder = one
    prepared = [
        each
        for each in encoder.prepare(encoder.address(case.inputs, "document"))
        if isinstance(each, Prepared)
    ]
    together = np.asarray(encoder.run(prepared, "dense"))
    backwards = np.asarray(encoder.run(prepared[::-1], "dense"))[::-1]
    alone = np.concatenate([np.asarray(encoder.run([each], "dense")) for each in prepared])
    np.testing.assert_allclose(together, alone, atol=case.company)
    np.testing.assert_allclose(together, backwards, atol=case.company)


def test_no_input_gives_no_vector(one: Opened) -> None:
    _, manifest, encoder = one
    assert encode(encoder, [], "document").vectors.shape == (0, manifest.dimension)


def test_costs_are_positive_and_estimated(one: Opened) -> None:
    case, _, encoder = one
    addressed = encoder.address(case.inputs, "document")
    for given, each in zip(addressed, encoder.prepare(addressed), strict=True):
        assert isinstance(each, Prepared)
        assert each.cost >= 1
        assert encoder.estimate(given) >= 1


def test_a_space_has_an_id_and_a_version(one: Opened) -> None:
    _, manifest, _ = one
    name, _, version = manifest.space.rpartition("@")
    assert name
    assert int(version) >= 1


def test_vectors_are_those_that_were_written_down(one: Opened) -> None:
    case, _, encoder = one
    golden = json.loads(PATH.read_text())
    assert case.name in golden, "python -m tests.encoders.golden"
    vectors = encode(encoder, case.inputs, "document").vectors[:, :SHOWN]
    np.testing.assert_allclose(vectors, np.array(golden[case.name]), atol=case.golden)


def test_a_vector_is_invariant_to_what_its_encoder_declares(one: Opened) -> None:
    case, manifest, encoder = one
    actions, tolerance = list(case.unmoved), 1e-5
    if manifest.views is not None and manifest.views.group:
        actions += pixel_orbit(manifest.views.group)
    if manifest.invariance is not None:
        actions += pixel_orbit(manifest.invariance.group)
        tolerance = manifest.invariance.tolerance
    if not actions:
        pytest.skip("it declares no group")
    assert measure_invariance(encoder, case.inputs, actions).farthest <= tolerance


def test_every_golden_vector_belongs_to_a_case() -> None:
    assert set(json.loads(PATH.read_text())) == {case.name for case in CASES}
