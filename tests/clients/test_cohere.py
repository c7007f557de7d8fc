"""The official Cohere client, both versions of its API, unchanged."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import cohere
import numpy as np
import pytest
from numpy.typing import NDArray

from app.service.quantised import quantise

from .conftest import KEY, TEXTS, token_ids

LONG = "the sea and the old man " * 40


@pytest.fixture
def first(service: str) -> Iterator[cohere.Client]:
    with cohere.Client(KEY, base_url=service) as client:
        yield client


@pytest.fixture
def second(service: str) -> Iterator[cohere.ClientV2]:
    with cohere.ClientV2(KEY, base_url=service) as client:
        yield client


def test_version_one_returns_floats_in_order(
    first: cohere.Client, vectors: NDArray[np.float32]
) -> None:
    # The client cuts lists into requests of 96 and joins the answers.
    answer = first.embed(texts=TEXTS * 40, model="tiny", input_type="search_document")
    assert answer.response_type == "embeddings_floats"
    np.testing.assert_allclose(answer.embeddings, np.tile(vectors, (40, 1)), atol=1e-5)
    assert answer.texts == TEXTS * 40
    assert answer.meta is not None
    assert answer.meta.billed_units is not None
    assert answer.meta.billed_units.input_tokens == 40 * sum(map(len, token_ids(TEXTS)))


def test_every_kind_of_number_is_made_of_the_same_vectors(
    second: cohere.ClientV2, vectors: NDArray[np.float32]
) -> None:
    kinds = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    answer = second.embed(
        model="tiny", input_type="search_document", texts=TEXTS, embedding_types=kinds
    )
    found = answer.embeddings
    np.testing.assert_allclose(found.float_, vectors, atol=1e-6)
    made = np.array(found.float_, np.float32)
    np.testing.assert_array_equal(found.int8, quantise(made, "int8"))
    np.testing.assert_array_equal(found.uint8, quantise(made, "uint8"))
    np.testing.assert_array_equal(found.binary, quantise(made, "binary"))
    np.testing.assert_array_equal(found.ubinary, quantise(made, "ubinary"))
    decoded = [np.frombuffer(base64.b64decode(one), "<f4") for one in found.base64 or ()]
    np.testing.assert_array_equal(decoded, made)
    assert answer.meta is not None
    assert answer.meta.billed_units is not None
    assert answer.meta.billed_units.input_tokens == sum(map(len, token_ids(TEXTS)))


def test_shorter_vectors_are_asked_for_in_its_words(
    second: cohere.ClientV2, vectors: NDArray[np.float32]
) -> None:
    answer = second.embed(
        model="tiny",
        input_type="search_document",
        texts=TEXTS,
        output_dimension=16,
        embedding_types=["float"],
    )
    expected = vectors[:, :16] / np.linalg.norm(vectors[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(answer.embeddings.float_, expected, atol=1e-5)
    with pytest.raises(cohere.UnprocessableEntityError) as raised:
        second.embed(model="tiny", input_type="classification", texts=TEXTS, output_dimension=9)
    assert raised.value.body["pointer"] == "/output_dimension"


def test_a_long_text_is_cut_where_it_says_or_refused(second: cohere.ClientV2) -> None:
    def embed(text: str, truncate: str) -> list[float]:
        answer = second.embed(
            model="tiny",
            input_type="clustering",
            texts=["tea", text],
            truncate=truncate,
            embedding_types=["float"],
        )
        assert answer.embeddings.float_ is not None
        return answer.embeddings.float_[1]

    begins, ends = f"fox dog cat {LONG}", f"{LONG} fox dog cat"
    assert embed(begins, "END") != pytest.approx(embed(LONG, "END"), abs=1e-3)
    assert embed(ends, "END") == pytest.approx(embed(LONG, "END"), abs=1e-5)
    assert embed(ends, "START") != pytest.approx(embed(LONG, "START"), abs=1e-3)
    assert embed(begins, "START") == pytest.approx(embed(LONG, "START"), abs=1e-5)
    assert embed("tea", "NONE") == pytest.approx(embed("tea", "END"), abs=1e-5)
    with pytest.raises(cohere.UnprocessableEntityError) as raised:
        embed(LONG, "NONE")
    assert raised.value.body["pointer"] == "/texts/1"
    assert raised.value.body["context"]["limit"] == 64


def test_errors_are_its_own_classes(service: str, second: cohere.ClientV2) -> None:
    with pytest.raises(cohere.NotFoundError, match="no encoder named"):
        second.embed(model="nobody", input_type="search_query", texts=["tea"])
    with pytest.raises(cohere.UnprocessableEntityError, match="at least one character"):
        second.embed(model="tiny", input_type="search_query", texts=["tea", ""])
    with (
        cohere.ClientV2("wrong", base_url=service) as stranger,
        pytest.raises(cohere.UnauthorizedError),
    ):
        stranger.embed(model="tiny", input_type="search_query", texts=["tea"])
