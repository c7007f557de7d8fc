"""Point sets: shapes are found however they lie, mirrored ones told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.encoders.base import Encoder
from app.encoders.direct import encode
from app.encoders.inputs import Points
from app.encoders.pipeline.arrays import unit
from app.encoders.pointset import soft_histogram
from app.errors import InvalidField
from tests.encoders.contracts import motion
from tests.encoders.pipelines import opened, write_points

Shape = np.ndarray


def shapes() -> dict[str, Shape]:
    """Ten shapes of 60 points, among them two that are each other's mirror image."""
    random = np.random.RandomState(1)
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    around, tube = np.meshgrid(turn[::6], turn[::10])
    sphere = unit(random.standard_normal((60, 3)))
    rise = np.linspace(-1, 1, 60)
    helix = np.column_stack([np.cos(3 * turn), np.sin(3 * turn), 1.5 * rise])
    return {
        "sphere": sphere,
        "cube": sphere / np.abs(sphere).max(axis=1, keepdims=True),
        "ball": sphere * random.uniform(0, 1, (60, 1)),
        "torus": np.column_stack(
            [
                ((2 + 0.5 * np.cos(tube)) * np.cos(around)).ravel(),
                ((2 + 0.5 * np.cos(tube)) * np.sin(around)).ravel(),
                (0.5 * np.sin(tube)).ravel(),
            ]
        ),
        "ring": np.column_stack([np.cos(turn), np.sin(turn), 0 * turn]),
        "line": np.column_stack([rise, 0 * rise, 0 * rise]),
        "cross": np.concatenate([np.outer(rise[::3], axis) for axis in np.eye(3)]),
        "two": np.concatenate([sphere[:30] * 0.3 - [1, 0, 0], sphere[30:] * 0.3 + [1, 0, 0]]),
        "right helix": helix,
        "left helix": helix * [1, 1, -1],
    }


def points(shape: Shape) -> Points:
    return Points(3, False, np.ascontiguousarray(shape, "<f8").tobytes())


def moved(shape: Shape, seed: int, noise: float = 0.01) -> Shape:
    random = np.random.RandomState(seed)
    noisy = shape + noise * random.standard_normal(shape.shape)
    return random.permutation(motion(seed, 3)(noisy))


def found(one: np.ndarray, other: np.ndarray) -> float:
    return float(((unit(other) @ unit(one).T).argmax(axis=1) == np.arange(len(one))).mean())


def raw_coordinates(given: list[Shape]) -> np.ndarray:
    """The baseline: centred coordinates, each axis sorted so that order does not matter."""
    return np.stack([np.sort(shape - shape.mean(axis=0), axis=0).ravel() for shape in given])


def encoded(encoder: Encoder, given: list[Shape]) -> np.ndarray:
    return encode(encoder, [points(shape) for shape in given], "document").vectors


def test_turned_shapes_are_found_where_raw_coordinates_are_not(tmp_path: Path) -> None:
    known = list(shapes().values())
    _, encoder = opened(write_points(tmp_path / "p"))
    stored = encoded(encoder, known)
    scores, raw = [], []
    for seed in range(5):
        seen = [moved(shape, 10 * seed + place) for place, shape in enumerate(known)]
        scores.append(found(stored, encoded(encoder, seen)))
        raw.append(found(raw_coordinates(known), raw_coordinates(seen)))
    assert np.mean(scores) >= 0.98
    assert np.mean(raw) < 0.6


def test_mirror_images_are_told_apart_if_and_only_if_chirality_counts(tmp_path: Path) -> None:
    one, other = shapes()["right helix"], shapes()["left helix"]
    for chirality in (False, True):
        _, encoder = opened(write_points(tmp_path / f"c{chirality}", chirality=chirality))
        right, left = encoded(encoder, [one, other])
        if chirality:
            turned = [moved(one, seed) for seed in range(20)]
            assert (encoded(encoder, turned) @ (right - left) > 0.001).all()
        else:
            np.testing.assert_allclose(right, left, atol=1e-6)


@pytest.mark.parametrize("axes", [2, 3])
def test_normals_tell_apart_what_places_cannot(tmp_path: Path, axes: int) -> None:
    random = np.random.RandomState(3)
    places = random.standard_normal((20, axes))
    outward, other = unit(places), unit(random.standard_normal((20, axes)))
    _, encoder = opened(
        write_points(tmp_path / "p", axes=axes, normals=True, bins=4, chirality=True)
    )
    sets = [
        Points(axes, True, np.hstack([places, normals]).astype("<f8").tobytes())
        for normals in (outward, other)
    ]
    first, second = encode(encoder, sets, "document").vectors
    assert float(first @ second) < 0.95


def test_size_counts_only_if_a_unit_is_given(tmp_path: Path) -> None:
    cross = shapes()["cross"]
    folder = write_points(tmp_path / "free")
    _, free = opened(folder)
    np.testing.assert_allclose(*encoded(free, [cross, 3 * cross]), atol=1e-6)
    fixed_folder = write_points(tmp_path / "fixed")
    manifest = fixed_folder / "encoder.toml"
    manifest.write_text(manifest.read_text().replace("bins =", "unit = 2.0\nbins ="))
    _, fixed = opened(fixed_folder)
    small, large = encoded(fixed, [cross, 3 * cross])
    assert float(small @ large) < 0.9


def test_symmetric_shapes_have_no_chirality_but_noise(tmp_path: Path) -> None:
    """Volumes that are zero are noise in floats, and their histogram must not be."""
    _, encoder = opened(write_points(tmp_path / "p"))
    cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    made = encoded(encoder, [cube, *(motion(seed, 3)(cube) for seed in range(8))])
    np.testing.assert_allclose(made[1:], np.broadcast_to(made[0], (8, len(made[0]))), atol=1e-5)


def test_a_histogram_shares_each_value_between_its_neighbours() -> None:
    np.testing.assert_allclose(soft_histogram(np.array([[0.25]]), 3), [0.5, 0.5, 0])
    np.testing.assert_allclose(soft_histogram(np.array([[7.0]]), 3), [0, 0, 1])
    values = np.random.RandomState(1).uniform(size=(50, 3))
    assert soft_histogram(values, 4).sum() == pytest.approx(50)
    assert soft_histogram(values, 4, np.full(50, 2.0)).sum() == pytest.approx(100)


@pytest.mark.parametrize(
    "given",
    [
        "a text",
        Points(2, False, bytes(64)),
        Points(3, True, bytes(480)),
        Points(3, False, bytes(48)),
    ],
)
def test_sets_of_another_form_are_refused(tmp_path: Path, given: str | Points) -> None:
    _, encoder = opened(write_points(tmp_path / "p"))
    with pytest.raises(InvalidField) as refused:
        encoder.address([points(shapes()["ring"]), given], "document")
    assert refused.value.pointer == "/1"


def test_points_that_are_all_one_have_a_vector(tmp_path: Path) -> None:
    _, encoder = opened(write_points(tmp_path / "p"))
    assert np.isfinite(encoded(encoder, [np.ones((5, 3))])).all()
