from __future__ import annotations

import numpy as np
import pytest

from app.encoders.base import Encoded, EncoderInfo
from app.errors import EncodingFailed, InvalidText
from app.service.images import ImageInputs
from app.service.readers import Readers
from app.service.requests import NewPoint
from app.service.writing import Draft, draft_points
from app.types import F32, Definition, Metric, VectorField

TWO_ENCODERS = Definition(
    {
        "a": VectorField("a", 2, Metric.COSINE, "one"),
        "b": VectorField("b", 2, Metric.L2, "one"),
        "c": VectorField("c", 3, Metric.IP, "two"),
    }
)


def encoder(dimension: int, dimensions: tuple[int, ...] = ()) -> EncoderInfo:
    return EncoderInfo(
        "one", dimension, 9, "text", "ready", "", 0, "tests", "one@1", dimensions=dimensions
    )


def installed(name: str, modality: str, space: str, dimension: int) -> EncoderInfo:
    return EncoderInfo(name, dimension, 9, modality, "ready", "", 0, "tests", space)


INSTALLED = {
    one.name: one
    for one in (
        installed("one", "text", "a@1", 2),
        installed("two", "text", "b@1", 3),
    )
}


def made(vectors: F32) -> Encoded:
    return Encoded(vectors, [1] * len(vectors))


def draft(*points: NewPoint) -> Draft:
    return draft_points(
        TWO_ENCODERS,
        points,
        max_batch=10,
        max_text_chars=10,
        max_attributes_bytes=100,
        images=ImageInputs(max_bytes=100, max_pixels=100, max_fetched=100, fetcher=None),
        readers=Readers(INSTALLED.__getitem__, lambda: list(INSTALLED.values())),
    )


def test_a_text_is_encoded_once_by_each_encoder_that_has_a_vector_to_make() -> None:
    drafted = draft(
        NewPoint(1, text="x"),
        NewPoint(2, vectors={"c": [1, 2, 3]}),
        NewPoint(3, text="y", vectors={"c": [1, 2, 3], "a": [5, 5]}),
        NewPoint(4, text="z", vectors={"a": [1, 1], "b": [0, 0]}),
    )
    found = {name: [gap.point for gap in gaps] for name, gaps in drafted.missing.items()}
    assert found == {"one": [0, 2], "two": [0, 3]}
    assert drafted.given_for("one") == ["x", "y"]
    assert [gap.at for gap in drafted.missing["two"]] == ["/points/0/text", "/points/3/text"]
    drafted.fill("one", made(np.array([[1, 2], [3, 4]], dtype=np.float32)), encoder(2))
    drafted.fill("two", made(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)), encoder(3))
    points = drafted.points()
    assert [sorted(point.vectors) for point in points] == [
        ["a", "b", "c"],
        ["c"],
        ["a", "b", "c"],
        ["a", "b", "c"],
    ]
    assert points[2].vectors["a"].tolist() == [5, 5], "what was given is not overwritten"
    assert points[2].vectors["b"].tolist() == [3, 4]
    assert points[3].vectors["c"].tolist() == [4, 5, 6]


def test_an_encoder_of_another_dimension_is_a_fault_of_the_service() -> None:
    drafted = draft(NewPoint(1, text="x", vectors={"c": [1, 2, 3]}))
    with pytest.raises(EncodingFailed):
        drafted.fill("one", made(np.zeros((1, 5), dtype=np.float32)), encoder(5))


def test_a_field_may_be_shorter_than_its_encoder_where_the_encoder_allows_it() -> None:
    drafted = draft(NewPoint(1, text="x", vectors={"c": [1, 2, 3]}))
    encoded = np.array([[0.36, 0.48, 0.8, 0.0]], dtype=np.float32)
    with pytest.raises(EncodingFailed, match="now makes 3, 4 numbers"):
        drafted.fill("one", made(encoded), encoder(4, (3,)))
    drafted.fill("one", made(encoded), encoder(4, (2, 3)))
    (point,) = drafted.points()
    np.testing.assert_allclose(point.vectors["a"], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(point.vectors["b"], [0.6, 0.8], rtol=1e-6)


def test_a_text_has_a_longest_length() -> None:
    draft(NewPoint(1, text="x" * 10))
    with pytest.raises(InvalidText) as caught:
        draft(NewPoint(1, text="x" * 11))
    assert caught.value.pointer == "/points/0/text"
