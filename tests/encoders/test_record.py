"""The encoder of records: inner products are overlaps, and nothing is ever refitted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.encoders.base import Encoder
from app.encoders.direct import encode
from app.encoders.inputs import Record
from app.encoders.record import canonical
from app.errors import CorruptFile, InvalidField
from app.types import F32
from tests.encoders.pipelines import array_bytes, opened, seeded, write_folder, write_record

ROOT = Path(__file__).parents[2]


def write(
    folder: Path, features: str, *, width: int = 256, rows: int = 8192, unit: bool = False
) -> Path:
    body = f"[record]\nrows = {rows}\nwidth = {width}\nseed = 3\n"
    output = f"[output]\nnormalise = {str(unit).lower()}\n"
    return write_folder(
        folder, body + features + output, {}, kind="record", modality="record", dimension=width
    )


def feature(name: str, more: str = "", kind: str = "category") -> str:
    return f'[[record.features]]\nname = "{name}"\nkind = "{kind}"\n{more}\n'


def vectors(encoder: Encoder, *records: dict[str, Any]) -> F32:
    inputs = [Record(canonical(record)) for record in records]
    return encode(encoder, inputs, "document").vectors


def random_pairs(count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of records with anything from nothing to everything in common."""
    random = np.random.RandomState(4)

    def record() -> dict[str, Any]:
        return {
            "brand": f"b{random.randint(1000)}",
            "colour": f"c{random.randint(1000)}",
            "tags": [f"t{tag}" for tag in random.choice(1000, 4, False)],
        }

    pairs = []
    for _ in range(count):
        one, other = record(), record()
        alike = random.uniform()
        for name in ("brand", "colour"):
            if random.uniform() < alike:
                other[name] = one[name]
        shared = random.binomial(4, alike)
        other["tags"][:shared] = one["tags"][:shared]
        pairs.append((one, other))
    return pairs


def overlap(one: dict[str, Any], other: dict[str, Any], weights: dict[str, float]) -> float:
    total = 0.0
    for name, weight in weights.items():
        a, b = (
            set(value if isinstance(value, list) else [value]) for value in (one[name], other[name])
        )
        total += weight * len(a & b) / np.sqrt(len(a) * len(b))
    return total


WEIGHTS = {"brand": 1.0, "colour": 2.0, "tags": 3.0}
FEATURES = "".join(
    feature(name, f"weight = {weight}\nlookups = {lookups}")
    for (name, weight), lookups in zip(WEIGHTS.items(), (1, 2, 4), strict=True)
)


def test_inner_products_are_weighted_overlaps_with_errors_that_shrink_with_width(
    tmp_path: Path,
) -> None:
    pairs = random_pairs(400)
    exact = np.array([overlap(one, other, WEIGHTS) for one, other in pairs])
    spreads = {}
    for width in (64, 256, 1024):
        _, encoder = opened(write(tmp_path / f"w{width}", FEATURES, width=width))
        first, second = (vectors(encoder, *side) for side in zip(*pairs, strict=True))
        found = np.einsum("nd,nd->n", first, second)
        spreads[width] = float((found - exact).std())
        assert abs(float((found - exact).mean())) < 4 * spreads[width] / np.sqrt(len(pairs))
        if width == 256:
            assert np.corrcoef(found, exact)[0, 1] > 0.97
    # 1/√d: four times as wide halves the error.
    assert spreads[64] / spreads[256] == pytest.approx(2.0, rel=0.3)
    assert spreads[256] / spreads[1024] == pytest.approx(2.0, rel=0.3)


def test_the_same_value_in_different_features_has_nothing_in_common(tmp_path: Path) -> None:
    _, encoder = opened(write(tmp_path / "r", feature("home") + feature("away"), unit=True))
    teams = [f"team {number}" for number in range(40)]
    home = vectors(encoder, *({"home": team} for team in teams))
    away = vectors(encoder, *({"away": team} for team in teams))
    same = np.einsum("nd,nd->n", home, away)
    assert abs(float(same.mean())) < 0.05
    assert float(np.abs(same).max()) < 0.3


def test_memory_does_not_grow_with_the_vocabulary_and_new_values_need_no_fit(
    tmp_path: Path,
) -> None:
    """A one-hot vector would grow with every value; a table of 512 rows reads them all."""
    _, encoder = opened(write(tmp_path / "r", feature("id", "lookups = 4"), rows=512, unit=True))
    table_bytes = encoder._table.nbytes  # type: ignore[attr-defined]  # of RecordEncoder
    first = vectors(encoder, *({"id": f"v{number}"} for number in range(1000)))
    later = vectors(encoder, *({"id": f"v{10**7 + number}"} for number in range(1000)))
    assert encoder._table.nbytes == table_bytes == 512 * 256 * 4  # type: ignore[attr-defined]
    near = np.abs(first @ later.T)
    # Four look-ups make four chances of a collision, each worth a quarter.
    assert float(near.max()) < 0.95
    assert float(near.mean()) < 0.1


def test_vectors_agree_between_processes_with_other_hash_seeds(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "r")
    program = (
        "import sys, pathlib; from tests.encoders.pipelines import opened; "
        "from tests.encoders.test_record import vectors; "
        "_, encoder = opened(pathlib.Path(sys.argv[1])); "
        "made = vectors(encoder, {'brand': 'acme', 'tags': ['a', 'b', 'c'], 'price': 3}); "
        "print(made.tobytes().hex())"
    )
    outputs = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", program, str(folder)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_near_numbers_are_alike_and_far_ones_are_not(tmp_path: Path) -> None:
    number = feature("price", "low = 0.0\nhigh = 100.0\nbuckets = 11", "number")
    _, encoder = opened(write(tmp_path / "r", number, unit=True))
    prices = [50, 52, 55, 60, 75, 100, 1000, -4.5, 0]
    made = vectors(encoder, *({"price": price} for price in prices))
    products = made @ made[0]
    assert products[0] == pytest.approx(1.0, abs=1e-5)
    assert products[0] > products[1] > products[2] > products[3]
    assert abs(float(products[4])) < 0.2
    # Outside counts as the border.
    np.testing.assert_allclose(made[5], made[6], atol=1e-6)
    np.testing.assert_allclose(made[7], made[8], atol=1e-6)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"brand": "a", "price": 3}, {"price": 3.0, "brand": "a"}),
        ({"tags": ["x", "y"]}, {"tags": ["y", "x", "x"]}),
        ({"tags": "x"}, {"tags": ["x", None]}),
        ({"maker": {"country": "pt"}}, {"maker.country": "pt"}),
        ({"brand": "a", "unknown": 4}, {"brand": "a", "price": None}),
    ],
)
def test_spellings_of_one_record_have_one_vector(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any]
) -> None:
    _, encoder = opened(write_record(tmp_path / "r"))
    first, second = vectors(encoder, one, other)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("one", "other"), [(1, "1"), (True, 1), (True, "true"), ("a", "A"), (1, 1.5)]
)
def test_values_of_other_kinds_are_other_values(tmp_path: Path, one: Any, other: Any) -> None:
    _, encoder = opened(write(tmp_path / "r", feature("x"), unit=True))
    first, second = vectors(encoder, {"x": one}, {"x": other})
    assert abs(float(first @ second)) < 0.5


@pytest.mark.parametrize(
    ("record", "pointer"),
    [
        ({}, "/record"),
        ({"else": 1}, "/record"),
        ({"price": "12"}, "/record/price"),
        ({"price": True}, "/record/price"),
        ({"brand": {"name": "a"}}, "/record/brand"),
        ({"tags": [["a"]]}, "/record/tags"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_with_its_place(
    tmp_path: Path, record: dict[str, Any], pointer: str
) -> None:
    _, encoder = opened(write_record(tmp_path / "r"))
    (error,) = encoder.prepare([Record(canonical(record))])
    assert isinstance(error, InvalidField)
    assert error.pointer == pointer
    with pytest.raises(InvalidField, match="reads records only"):
        encoder.address(["a text"], "document")


@pytest.mark.parametrize("columns", [64, 16])
def test_a_trained_table_is_read_as_wide_as_a_vector_or_as_one_look_up(
    tmp_path: Path, columns: int
) -> None:
    table = seeded(1, 100, columns)
    body = (
        '[record]\nrows = 100\nwidth = 64\nseed = 3\ntable = "e.npy"\n'
        + feature("x", "lookups = 4")
        + "[output]\nnormalise = false\n"
    )
    folder = write_folder(
        tmp_path / "r",
        body,
        {"e.npy": array_bytes(table)},
        kind="record",
        modality="record",
        dimension=64,
    )
    _, encoder = opened(folder)
    (made,) = vectors(encoder, {"x": "value"})
    for place, part in enumerate(made.reshape(4, 16)):
        start = place * 16 % columns
        assert (table[:, start : start + 16] == part).all(axis=1).any()


def test_a_table_of_another_shape_is_refused(tmp_path: Path) -> None:
    body = (
        '[record]\nrows = 100\nwidth = 64\nseed = 3\ntable = "e.npy"\n'
        + feature("x")
        + "[output]\nnormalise = false\n"
    )
    folder = write_folder(
        tmp_path / "r",
        body,
        {"e.npy": array_bytes(seeded(1, 100, 32))},
        kind="record",
        modality="record",
        dimension=64,
    )
    with pytest.raises(CorruptFile, match="expected 100 rows"):
        opened(folder)
