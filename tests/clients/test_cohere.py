"""The official Cohere client, both versions of its API, unchanged."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import cohere
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from app.service.quantised import quantise
from tests.encoders.pictures import plain

from .conftest import DESCRIPTOR, KEY, TEXTS, token_ids

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


def test_images_are_data_urls_in_both_versions(
    first: cohere.Client, second: cohere.ClientV2, service: str
) -> None:
    files = [plain("red"), plain("navy", 30, 30)]
    urls = [f"data:image/png;base64,{base64.b64encode(file).decode()}" for file in files]
    old = first.embed(images=urls, model=DESCRIPTOR, input_type="image")
    assert old.response_type == "embeddings_floats"
    new = second.embed(
        images=urls, model=DESCRIPTOR, input_type="image", embedding_types=["float", "int8"]
    )
    assert new.embeddings.float_ is not None
    assert len(new.embeddings.int8 or ()) == 2
    np.testing.assert_allclose(old.embeddings, new.embeddings.float_, atol=1e-6)
    ours = httpx.post(
        f"{service}/v1/embeddings",
        json={"input": [{"image": url} for url in urls], "model": DESCRIPTOR},
        headers={"authorization": f"Bearer {KEY}"},
    ).json()
    expected = [one["embedding"] for one in ours["data"]]
    np.testing.assert_allclose(new.embeddings.float_, expected, atol=1e-6)
    assert new.meta is not None
    assert new.meta.billed_units is not None
    assert new.meta.billed_units.images == 2


@pytest.mark.parametrize(
    ("given", "pointer", "said"),
    [
        ({"images": ["data:image/png;base64,AAAA"]}, "/images/0", "image"),
        ({"images": ["no image"]}, "/images/0", "base64"),
        ({"images": []}, "/images", "at least one"),
        ({"images": ["AAAA"], "texts": ["tea"]}, "/images", "either texts or images"),
        ({}, "/texts", "expected a text"),
        ({"texts": ["tea"]}, "/texts/0", "reads images"),
    ],
)
def test_wrong_images_are_blamed_at_their_place(
    second: cohere.ClientV2, given: dict[str, Any], pointer: str, said: str
) -> None:
    with pytest.raises(cohere.UnprocessableEntityError, match=said) as raised:
        second.embed(model=DESCRIPTOR, input_type="image", **given)
    assert raised.value.body["pointer"] == pointer


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
