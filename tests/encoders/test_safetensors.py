"""Reading safetensors files, whole and broken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.encoders.safetensors import read_safetensors
from app.errors import CorruptFile
from tests.encoders.models import safetensors_bytes

ARRAYS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))


@given(tensors=st.dictionaries(st.text(min_size=1, max_size=8), ARRAYS, max_size=4))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, np.ndarray]
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "m.safetensors"
    path.write_bytes(safetensors_bytes(tensors))
    read = read_safetensors(path)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor)


@given(values=ARRAYS)
def test_bfloat16_is_read_as_float32_of_the_same_numbers(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray
) -> None:
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    entry = {"dtype": "BF16", "shape": values.shape, "data_offsets": [0, upper.nbytes]}
    path = tmp_path_factory.mktemp("tensors") / "m.safetensors"
    path.write_bytes(header(entry) + upper.tobytes())
    (read,) = read_safetensors(path).values()
    assert read.dtype == np.float32
    # The lower half of a float32 is what bfloat16 leaves out.
    np.testing.assert_array_equal(read.view(np.uint32), values.view(np.uint32) & 0xFFFF0000)


def header(entry: object) -> bytes:
    encoded = json.dumps({"t": entry}).encode()
    return len(encoded).to_bytes(8, "little") + encoded


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "too few"),
        (b"\xff" * 16, "leaves the file"),
        ((3).to_bytes(8, "little") + b"{]}", "not JSON"),
        ((2).to_bytes(8, "little") + b"[]", "not a JSON object"),
        (header(5), "no known dtype"),
        (
            header({"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 2]}) + b"xx",
            "no known dtype",
        ),
        (header({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}) + b"xxxx", "does not fit"),
        (header({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}) + b"xxxx", "does not fit"),
        (header({"dtype": "F32", "shape": [2**80], "data_offsets": [0, 4]}) + b"xxxx", "does not"),
        (header({"dtype": "F32", "shape": [2**32] * 2, "data_offsets": [0, 0]}), "does not fit"),
        (header({"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}) + b"xxxx", "does not fit"),
    ],
)
def test_a_broken_file_is_refused_with_its_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=reason):
        read_safetensors(path)
