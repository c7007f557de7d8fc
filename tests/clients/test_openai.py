"""The official OpenAI client, unchanged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import openai
import pytest
from numpy.typing import NDArray

from app import errors
from app.encoders.registry import EncoderRegistry
from tests.api.harness import MODELS, settings
from tests.reference_backend import ReferenceBackend
from tests.served import served

from .conftest import KEY, TEXTS, token_ids


@pytest.fixture
def client(service: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def rows(answer: openai.types.CreateEmbeddingResponse) -> NDArray[np.float32]:
    assert [one.index for one in answer.data] == list(range(len(answer.data)))
    return np.array([one.embedding for one in answer.data], np.float32)


def test_its_default_form_and_numbers_are_the_same_vectors(
    client: openai.OpenAI, vectors: NDArray[np.float32]
) -> None:
    # Without `encoding_format` it asks for base64, and decodes it itself.
    for answer in (
        client.embeddings.create(model="tiny", input=TEXTS),
        client.embeddings.create(model="tiny", input=TEXTS, encoding_format="float"),
        client.embeddings.create(model="tiny", input=TEXTS, user="me", dimensions=32),
    ):
        np.testing.assert_allclose(rows(answer), vectors, atol=1e-6)
        assert answer.model == "tiny"


def test_shorter_vectors_are_the_first_numbers_at_length_one(
    client: openai.OpenAI, vectors: NDArray[np.float32]
) -> None:
    found = rows(client.embeddings.create(model="tiny", input=TEXTS, dimensions=8))
    expected = vectors[:, :8] / np.linalg.norm(vectors[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_usage_counts_the_tokens_that_the_model_read(client: openai.OpenAI) -> None:
    usage = client.embeddings.create(model="tiny", input=[*TEXTS, "sea " * 500]).usage
    tokens = sum(map(len, token_ids([*TEXTS, "sea " * 500])))
    assert usage.prompt_tokens == usage.total_tokens == tokens


def test_token_ids_make_what_their_text_makes(
    client: openai.OpenAI, vectors: NDArray[np.float32]
) -> None:
    ids = token_ids(TEXTS)
    many = client.embeddings.create(model="tiny", input=ids)
    np.testing.assert_allclose(rows(many), vectors, atol=1e-5)
    assert many.usage.prompt_tokens == sum(map(len, ids))
    one = client.embeddings.create(model="tiny", input=ids[1])
    np.testing.assert_allclose(rows(one), vectors[1:2], atol=1e-5)


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert listed["tiny"] == client.models.retrieve("tiny")
    assert listed["tiny"].object == "model"
    with pytest.raises(openai.NotFoundError, match="no encoder named 'tinny'"):
        client.models.retrieve("tinny")


def test_the_raw_response_has_the_id_that_the_log_has(client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(
        model="tiny", input="tea", extra_headers={"X-Request-Id": "of-mine"}
    )
    assert raw.headers["x-request-id"] == "of-mine"
    assert len(raw.parse().data[0].embedding) == 32


def test_the_async_client_gets_the_same(service: str, vectors: NDArray[np.float32]) -> None:
    async def asked() -> list[openai.types.CreateEmbeddingResponse]:
        async with openai.AsyncOpenAI(base_url=f"{service}/v1", api_key=KEY) as client:
            every = [client.embeddings.create(model="tiny", input=text) for text in TEXTS]
            return await asyncio.gather(*every)

    found = np.concatenate([rows(answer) for answer in asyncio.run(asked())])
    np.testing.assert_allclose(found, vectors, atol=1e-6)


def test_a_wrong_key_is_an_authentication_error(service: str) -> None:
    with (
        openai.OpenAI(base_url=f"{service}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        client.embeddings.create(model="tiny", input="tea")
    assert (raised.value.code, raised.value.type) == ("unauthenticated", "authentication_error")


@pytest.mark.parametrize(
    ("wrong", "kind", "code", "param", "message"),
    [
        ({"input": ""}, openai.UnprocessableEntityError, "invalid-text", "input", "character"),
        ({"input": []}, openai.UnprocessableEntityError, "invalid-field", "input", "at least one"),
        (
            {"input": [[2, 3], [2, 100_000]]},
            openai.UnprocessableEntityError,
            "invalid-text",
            "input",
            r"ids below \d+; a text that another tokenizer .*\(at /input/1/1\)",
        ),
        (
            {"dimensions": 33},
            openai.UnprocessableEntityError,
            "invalid-field",
            "dimensions",
            "32 numbers",
        ),
        ({"model": "gpt"}, openai.NotFoundError, "encoder-not-found", "model", "named 'gpt'"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(
    client: openai.OpenAI,
    wrong: dict[str, Any],
    kind: type[openai.APIStatusError],
    code: str,
    param: str,
    message: str,
) -> None:
    with pytest.raises(kind, match=message) as raised:
        client.embeddings.create(**{"model": "tiny", "input": "tea"} | wrong)
    assert (raised.value.code, raised.value.param) == (code, param)
    assert raised.value.request_id


class Failing(EncoderRegistry):
    """Encoders that fail as they are told, so many times."""

    fault: errors.LikewiseError | None = None
    times = 0

    def submit(self, name: str, inputs: Sequence[Any], *how: Any, **more: Any) -> Any:
        if self.fault is not None and self.times > 0:
            self.times -= 1
            raise self.fault
        return super().submit(name, inputs, *how, **more)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Failing]]:
    registry = Failing(MODELS, threads=1, queue=100, batch_tokens=512)
    chosen = settings(tmp_path_factory.mktemp("failing"))
    with served(chosen, ReferenceBackend(), registry) as server:
        registry.load("tiny")
        yield server.url, registry


def test_it_waits_as_long_as_it_is_told_and_tries_again(failing: tuple[str, Failing]) -> None:
    url, registry = failing
    registry.fault, registry.times = errors.Overloaded("full", retry_after_s=1), 1
    begun_s = time.monotonic()
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=2) as client:
        assert len(client.embeddings.create(model="tiny", input="tea").data) == 1
    assert time.monotonic() - begun_s >= 1
    assert registry.times == 0


@pytest.mark.parametrize(
    ("fault", "kind", "type_"),
    [
        (errors.Overloaded("full", retry_after_s=1), openai.RateLimitError, "rate_limit_error"),
        (errors.EncoderUnavailable("loading"), openai.InternalServerError, "server_error"),
        (errors.DeadlineExceeded("late"), openai.InternalServerError, "server_error"),
        (errors.EncodingFailed("it broke"), openai.InternalServerError, "server_error"),
    ],
)
def test_a_failure_of_the_service_is_the_right_exception(
    failing: tuple[str, Failing],
    fault: errors.LikewiseError,
    kind: type[openai.APIStatusError],
    type_: str,
) -> None:
    url, registry = failing
    registry.fault, registry.times = fault, 1
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(kind, match=fault.detail) as raised,
    ):
        client.embeddings.create(model="tiny", input="tea")
    assert (raised.value.code, raised.value.type) == (fault.code, type_)
