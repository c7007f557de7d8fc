"""Saving, mapping and refusing the file of an index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.attributes.filter import Range, Values, parse_filter
from app.attributes.index import AttributeIndex
from app.attributes.index_file import read, write
from app.errors import CorruptFile, IncompatibleFormat
from app.kernels import bits
from tests.attributes.strategies import attributes
from tests.attributes.strategies import filters as filters_strategy
from tests.attributes.test_evaluate import passing

POINTS: list[dict[str, Any]] = [
    {"title": f"number {i}", "n": [i, i / 4], "t": "2024-05-01", "b": i > 5, "rare": None}
    if i != 3
    else {"only": 1}
    for i in range(50)
]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(attributes, max_size=20), filters_strategy)
def test_a_mapped_index_answers_like_the_one_that_was_saved(
    tmp_path: Path, points: list[dict[str, Any]], raw: dict[str, Any]
) -> None:
    built = AttributeIndex.build(points)
    for old in tmp_path.iterdir():
        old.unlink()
    built.save(tmp_path)
    mapped = AttributeIndex.open(tmp_path)
    assert mapped.slots == len(points)
    assert mapped.nbytes == built.nbytes
    numbered = list(enumerate(points))
    filter = parse_filter(raw)
    assert passing(filter, mapped, numbered, len(points)) == passing(
        filter, built, numbered, len(points)
    )


def test_save_names_its_files_and_replaces_none(tmp_path: Path) -> None:
    index = AttributeIndex.build(POINTS)
    files = index.save(tmp_path)
    assert files == sorted(tmp_path.iterdir())
    with pytest.raises(FileExistsError):
        index.save(tmp_path)


def test_what_a_mapped_index_returns_cannot_be_written_to(tmp_path: Path) -> None:
    AttributeIndex.build(POINTS).save(tmp_path)
    mapped = AttributeIndex.open(tmp_path)
    [common] = mapped.sets_equal("t", Values(strings=frozenset(("2024-05-01",))))
    assert bits.slots_of(common).tolist() == [i for i in range(50) if i != 3]
    [rare] = mapped.sets_equal("title", Values(strings=frozenset(("number 7",))))
    assert rare.tolist() == [7]
    assert not common.flags.writeable
    assert not rare.flags.writeable


def test_a_thousand_fields_cost_no_thousand_files_or_bitmaps() -> None:
    index = AttributeIndex.build({f"f{i}": i} for i in range(1000))
    assert index.nbytes < 200_000
    found = index.sets_in_range(Range("f7", "numbers", low=0))
    assert np.concatenate(found).tolist() == [7]


def test_many_distinct_strings_take_little_more_than_their_bytes() -> None:
    titles = [f"a title of some length, number {i}" for i in range(20_000)]
    index = AttributeIndex.build({"title": title} for title in titles)
    text = sum(map(len, titles))
    assert index.nbytes < text + 17 * len(titles)


def test_damage_is_refused_with_the_path(tmp_path: Path) -> None:
    [path] = AttributeIndex.build(POINTS).save(tmp_path)
    sound = path.read_bytes()
    for damaged in (
        b"",
        sound[:10],
        b"X" + sound[1:],
        sound[:40] + b"#" + sound[41:],
        sound[: len(sound) // 2],
        sound[:-64],
    ):
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile) as refused:
            AttributeIndex.open(tmp_path)
        assert refused.value.context["path"] == str(path)
    path.unlink()
    with pytest.raises(CorruptFile):
        AttributeIndex.open(tmp_path)


def test_another_format_is_refused_by_number(tmp_path: Path) -> None:
    [path] = AttributeIndex.build(POINTS).save(tmp_path)
    data = bytearray(path.read_bytes())
    data[8] += 1
    path.write_bytes(data)
    with pytest.raises(IncompatibleFormat) as refused:
        AttributeIndex.open(tmp_path)
    assert (refused.value.context["found"], refused.value.context["expected"]) == (3, 2)


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("strings.slots", 0, 50),
        ("flags.slots", -1, 2**32 - 1),
        ("ints.offsets", 1, 2**31),
        ("ints.groups", 1, -1),
        ("floats.groups", -1, 0),
        ("strings.bounds", -1, 5),
        ("instants.offsets", 0, 1),
        ("places.offsets", -1, 1),
    ],
)
def test_arrays_that_would_lead_outside_memory_are_refused(
    tmp_path: Path, name: str, at: int, value: int
) -> None:
    [path] = AttributeIndex.build(POINTS).save(tmp_path)
    slots, fields, arrays = read(path)
    changed = {key: array.copy() for key, array in arrays.items()}
    changed[name][at] = value
    path.unlink()
    write(path, slots, fields, changed)
    with pytest.raises(CorruptFile, match=name.split(".")[0]):
        AttributeIndex.open(tmp_path)


def test_an_array_of_another_dtype_is_refused(tmp_path: Path) -> None:
    [path] = AttributeIndex.build(POINTS).save(tmp_path)
    slots, fields, arrays = read(path)
    path.unlink()
    write(path, slots, fields, {**arrays, "ints.keys": arrays["ints.keys"].astype(np.int32)})
    with pytest.raises(CorruptFile, match=r"ints\.keys"):
        AttributeIndex.open(tmp_path)


def test_places_without_coordinates_are_refused(tmp_path: Path) -> None:
    [path] = AttributeIndex.build([{"at": {"lat": 1, "lon": 2}}]).save(tmp_path)
    slots, fields, arrays = read(path)
    path.unlink()
    write(path, slots, fields, {**arrays, "places.lons": arrays["places.lons"][:0]})
    with pytest.raises(CorruptFile, match="coordinates"):
        AttributeIndex.open(tmp_path)


def test_building_needs_no_compiled_kernels() -> None:
    code = (
        "import sys, app.attributes.index\n"
        "sys.exit(any(name.split('.')[0] == 'numba' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
