"""The clients that people have, unchanged, against a service in a process of its own."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.launched import launched

DOCUMENTS = ["a sick dog", "cats and dogs", "the quick red fox jumps", "fox hunting", "tea"]
QUERY = "the red fox"
BEST = [2, 3]

cohere = pytest.importorskip("cohere")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    encoders = {"LIKEWISE_ENCODERS": "tiny,tiny-cross"}
    with launched(tmp_path_factory.mktemp("clients"), **encoders) as service:
        while httpx.get(f"{service.url}/readyz").json()["status"] != "ready":
            time.sleep(0.02)
        yield service.url


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """Connections that are closed, which the clients leave to the collector."""
    with httpx.Client() as client:
        yield client


def test_coheres_first_client_reranks_texts_and_objects(url: str, http: httpx.Client) -> None:
    client = cohere.Client(api_key="none", base_url=url, httpx_client=http)
    found = client.rerank(
        query=QUERY, documents=DOCUMENTS, model="tiny-cross", top_n=2, return_documents=True
    )
    assert [one.index for one in found.results] == BEST
    assert [one.document.text for one in found.results] == [DOCUMENTS[place] for place in BEST]
    assert 1 > found.results[0].relevance_score > found.results[1].relevance_score > 0
    assert found.id
    assert found.meta.api_version.version == "1"
    assert found.meta.billed_units.search_units == 1
    objects = [{"title": text, "text": "-"} for text in DOCUMENTS]
    again = client.rerank(
        query=QUERY, documents=objects, model="tiny-cross", rank_fields=["title"], top_n=2
    )
    assert [one.index for one in again.results] == BEST
    assert again.results[0].document is None


def test_coheres_second_client_reranks_and_reads_errors(url: str, http: httpx.Client) -> None:
    client = cohere.ClientV2(api_key="none", base_url=url, httpx_client=http)
    found = client.rerank(
        query=QUERY, documents=DOCUMENTS, model="tiny-cross", top_n=2, max_tokens_per_doc=4096
    )
    assert [one.index for one in found.results] == BEST
    assert found.meta.api_version.version == "2"
    with pytest.raises(cohere.errors.NotFoundError) as missing:
        client.rerank(query=QUERY, documents=DOCUMENTS, model="nobody")
    assert missing.value.body["pointer"] == "/model"
    with pytest.raises(cohere.errors.UnprocessableEntityError) as wrong:
        client.rerank(query=QUERY, documents=[""], model="tiny-cross")
    assert wrong.value.body["pointer"] == "/documents/0"


def test_coheres_asynchronous_client_reranks(url: str) -> None:
    async def ask() -> Any:
        async with cohere.AsyncClientV2(api_key="none", base_url=url) as client:
            return await client.rerank(query=QUERY, documents=DOCUMENTS, model="tiny-cross")

    assert [one.index for one in asyncio.run(ask()).results][:2] == BEST


def quietly(module: str) -> Any:
    """Import a module of LangChain's, whose warnings are its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(module)


def test_langchain_compresses_documents_with_cohere(url: str) -> None:
    rerank = quietly("langchain_cohere").CohereRerank
    document = quietly("langchain_core.documents").Document
    compressor = rerank(model="tiny-cross", cohere_api_key="none", base_url=url, top_n=2)
    documents = [document(page_content=text, metadata={"n": n}) for n, text in enumerate(DOCUMENTS)]
    kept = compressor.compress_documents(documents, QUERY)
    compressor.client._client_wrapper.httpx_client.httpx_client.close()
    assert [one.metadata["n"] for one in kept] == BEST
    assert kept[0].metadata["relevance_score"] > 0.5


def test_langchain_compresses_documents_with_jina(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = quietly("langchain_community.document_compressors.jina_rerank")
    document = quietly("langchain_core.documents").Document
    monkeypatch.setattr(module, "JINA_API_URL", f"{url}/v1/rerank")
    compressor = module.JinaRerank(model="tiny-cross", jina_api_key="none", top_n=2)
    documents = [document(page_content=text, metadata={"n": n}) for n, text in enumerate(DOCUMENTS)]
    kept = compressor.compress_documents(documents, QUERY)
    compressor.session.close()
    assert [one.metadata["n"] for one in kept] == BEST


def test_jinas_shape_without_a_client(url: str) -> None:
    body = {
        "model": "tiny-cross",
        "query": QUERY,
        "documents": [{"text": text} for text in DOCUMENTS],
        "top_n": 1,
        "return_documents": True,
    }
    answer = httpx.post(f"{url}/v1/rerank", json=body).json()
    assert answer["results"][0]["document"] == {"text": DOCUMENTS[2]}
    assert answer["usage"]["total_tokens"] > 0
