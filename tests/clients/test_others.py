"""LangChain's classes, Jina's and Hugging Face's clients, unchanged."""

from __future__ import annotations

import asyncio
import base64
import importlib
import warnings
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.encoders.pictures import plain

from .conftest import DESCRIPTOR, KEY, TEXTS


def imported(module: str) -> Any:
    """A module whose own import warns of its future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def test_langchains_openai_embeddings(service: str, vectors: NDArray[np.float32]) -> None:
    embeddings = imported("langchain_openai").OpenAIEmbeddings(
        base_url=f"{service}/v1",
        api_key=KEY,
        model="tiny",
        dimensions=32,
        # Otherwise it sends the ids of OpenAI's own tokens, which no other model knows.
        check_embedding_ctx_length=False,
    )
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), vectors, atol=1e-5)
    np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), vectors[0], atol=1e-5)

    async def asked() -> Any:
        found = await embeddings.aembed_documents(TEXTS)
        await embeddings.async_client._client.close()
        return found

    np.testing.assert_allclose(asyncio.run(asked()), vectors, atol=1e-5)
    embeddings.client._client.close()  # they leave it open, which is a warning and so an error


# The client joins answers by what pydantic wants to be rid of.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_langchains_cohere_embeddings(service: str, vectors: NDArray[np.float32]) -> None:
    embeddings = imported("langchain_cohere").CohereEmbeddings(
        base_url=service, cohere_api_key=KEY, model="tiny"
    )
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), vectors, atol=1e-5)
    np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), vectors[0], atol=1e-5)
    embeddings.client.__exit__(None, None, None)


def test_langchains_jina_embeddings(
    service: str, vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    jina = imported("langchain_community.embeddings.jina")
    monkeypatch.setattr(jina, "JINA_API_URL", f"{service}/v1/embeddings")  # it has no setting
    embeddings = jina.JinaEmbeddings(jina_api_key=KEY, model_name="tiny")
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), vectors, atol=1e-5)
    np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), vectors[0], atol=1e-5)
    with pytest.raises(RuntimeError, match="at least one character"):
        embeddings.embed_query("")
    embeddings.session.close()


def test_langchains_jina_embeddings_of_images(
    service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jina = imported("langchain_community.embeddings.jina")
    monkeypatch.setattr(jina, "JINA_API_URL", f"{service}/v1/embeddings")
    embeddings = jina.JinaEmbeddings(jina_api_key=KEY, model_name=DESCRIPTOR)
    # It sends files as {"bytes"}, and whatever is no file as {"url"}.
    (tmp_path / "red.png").write_bytes(plain("red"))
    data = f"data:image/png;base64,{base64.b64encode(plain('navy')).decode()}"
    red, navy = np.array(embeddings.embed_images([str(tmp_path / "red.png"), data]))
    assert np.linalg.norm(red) == pytest.approx(1, abs=1e-5)
    assert red @ navy < 0.99
    (again,) = embeddings.embed_images([str(tmp_path / "red.png")])
    np.testing.assert_allclose(red, again, atol=1e-6)
    with pytest.raises(RuntimeError, match="LIKEWISE_IMAGE_URLS"):
        embeddings.embed_images(["https://example.org/a.png"])
    embeddings.session.close()


def test_jinas_members_mean_what_they_mean_there(
    service: str, vectors: NDArray[np.float32]
) -> None:
    def embed(**more: Any) -> Any:
        answer = httpx.post(
            f"{service}/v1/embeddings",
            json={"model": "tiny", "input": [{"text": text} for text in TEXTS], **more},
            headers={"authorization": f"Bearer {KEY}"},
        )
        assert answer.status_code == 200, answer.text
        return [one["embedding"] for one in answer.json()["data"]]

    everything = {"task": "retrieval.passage", "normalized": True, "late_chunking": False}
    np.testing.assert_allclose(embed(**everything, truncate=True), vectors, atol=1e-5)
    bits = np.array(embed(embedding_type="ubinary"), np.uint8)
    np.testing.assert_array_equal(np.unpackbits(bits, axis=1), vectors > 0)


def test_hugging_faces_client(service: str, vectors: NDArray[np.float32]) -> None:
    hub = imported("huggingface_hub")
    client = hub.InferenceClient(f"{service}/embed", token=KEY)
    found = client.feature_extraction(TEXTS, normalize=True, truncate=True)
    np.testing.assert_allclose(found, vectors, atol=1e-5)
    alone = client.feature_extraction(TEXTS[0], truncation_direction="left")
    np.testing.assert_allclose(np.squeeze(alone), vectors[0], atol=1e-5)
    with pytest.raises(imported("huggingface_hub.errors").HfHubHTTPError, match="422"):
        client.feature_extraction("sea " * 500, truncate=False)
