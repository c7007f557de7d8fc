"""Reranking: order documents by how well each answers a query, better than vectors could alone.

A **reranker** is any encoder. A cross-encoder reads query and document together and makes a score.
Of others it is the likeness of what they make of the two texts, so that reranking works wherever
there is an encoder: the cosine of vectors; the mean, over the query's tokens, of the best inner
product with one of the document's (MaxSim, Khattab & Zaharia 2020, arXiv 2004.12832, divided by the
number of tokens); the inner product of sparse weights.

Documents come with the request (`Reranking.rerank`), or are what a search recalled
(`Reranking.reorder`): then each query says how many candidates are recalled, which bounds the cost,
and which text of theirs is read (`PointText`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from app.backends.base import Answer
from app.encoders.base import EncoderInfo, OutputKind
from app.encoders.inputs import Pair, check_unicode
from app.errors import InvalidField, InvalidQuery, InvalidText, LikewiseError, LimitExceeded
from app.service.checks import check_batch, check_text, place
from app.service.encoding import Encoding, lane_of
from app.service.lanes import Lane
from app.service.point_text import PointText, point_text_from
from app.service.requests import Query, Rerank
from app.types import F32, Hit, Projection, Sparse

CANDIDATES = 100
"""Recalled where a query does not say how many."""

PORTION = 512
"""Documents whose vectors are held at once: those of all tokens take a hundred kilobytes each."""

BATCH_PAGES = 10
"""Most candidates of one `query:batch`, in multiples of the most documents of a request."""


@dataclass(frozen=True, slots=True)
class ToRerank:
    """Documents to order by a query; `model` None is the default reranker.

    documents    texts, or objects with texts in them
    top_n        how many of the best are returned; None is all
    fields       members of the objects that are read, in this order; None is "text"
    most_tokens  that are read of each document; None leaves it to the model
    """

    query: str
    documents: Sequence[object]
    model: str | None = None
    top_n: int | None = None
    fields: Sequence[str] | None = None
    most_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reranked:
    """Documents in their new order.

    ranking    index and score of each document that is returned, best first
    documents  their texts, in the order of the request
    tokens     that the reranker read
    """

    model: str
    ranking: list[tuple[int, float]]
    documents: list[str]
    tokens: int


@dataclass(frozen=True, slots=True)
class Order:
    """How the candidates of one query are to be ordered: by what, on which of their texts."""

    model: str
    query: str
    text: PointText
    candidates: int


class Reranking:
    """The rerankers behind two awaitable calls.

    default        name of the reranker where a request names none
    max_documents  most documents, or candidates, of one request
    lane           where likenesses are computed
    """

    def __init__(
        self,
        encoding: Encoding,
        *,
        default: str,
        max_documents: int,
        max_text_chars: int,
        quick: Lane,
        lane: Lane,
    ) -> None:
        self._encoding = encoding
        self._default = default
        self._max_documents = max_documents
        self._max_text_chars = max_text_chars
        self._quick = quick
        self._lane = lane

    async def rerank(self, wanted: ToRerank) -> Reranked:
        """Order the documents of a request.

        Raises InvalidText, InvalidField or LimitExceeded, and what encoding raises.
        """

        def prepare() -> tuple[EncoderInfo, list[str]]:
            info = self._usable(wanted.model, "/model")
            self._check_query(wanted.query, "/query")
            documents = self._documents(wanted)
            most = wanted.most_tokens
            if most is not None and "score" not in info.outputs and most < info.max_tokens:
                raise InvalidField(
                    f"{info.name} is no cross-encoder and reads {info.max_tokens} tokens of each "
                    "document: leave the member out",
                    pointer="/max_tokens_per_doc",
                )
            return info, documents

        info, documents = await self._quick.run(prepare)
        pairs = [(wanted.query, document) for document in documents]
        scores, tokens = await self._scores(info, pairs, wanted.most_tokens)
        ranking = sorted(enumerate(scores), key=lambda one: -one[1])
        return Reranked(info.name, ranking[: wanted.top_n], documents, sum(tokens))

    # ── candidates of queries ────────────────────────────────────────────────────────────────

    def orders(self, queries: Sequence[Query]) -> list[Order | None]:
        """Check how the queries of a request want their candidates ordered; None: as recalled.

        Raises InvalidQuery, InvalidText, LimitExceeded, EncoderNotFound or EncoderUnavailable with
        the pointer of what is wrong.
        """
        orders = [
            None if query.rerank is None else self._order(query, query.rerank) for query in queries
        ]
        most = BATCH_PAGES * self._max_documents
        if sum(order.candidates for order in orders if order is not None) > most:
            raise LimitExceeded(
                f"all candidates of a batch add up to at most {most}",
                pointer="/queries",
                limit=most,
            )
        return orders

    async def reorder(
        self,
        asked: Sequence[tuple[Query, Order | None]],
        answers: Sequence[Answer],
    ) -> list[Answer]:
        """Order the candidates of those queries that want it, and keep of each what it asked for.

        answers   of each query; where it has an order, with all candidates and their texts

        Candidates with nothing to read come last, as they were recalled.
        """
        texts = await self._lane.run(lambda: _texts(asked, answers, self._max_text_chars))
        by_model: dict[str, list[int]] = defaultdict(list)
        for number, (_, order) in enumerate(asked):
            if order is not None:
                by_model[order.model].append(number)
        ordered = list(answers)
        for model, numbers in by_model.items():
            begun_s = time.perf_counter()
            info = self._encoding.usable(model)
            pairs = [
                (order.query, text)
                for number in numbers
                if (order := asked[number][1]) is not None
                for text in texts[number]
                if text
            ]
            scores, tokens = await self._scores(info, pairs)
            took_ms = round((time.perf_counter() - begun_s) * 1e3, 3)
            start = 0
            for number in numbers:
                end = start + sum(1 for text in texts[number] if text)
                facts = {
                    "model": model,
                    "candidates": len(texts[number]),
                    "scored": end - start,
                    "tokens": sum(tokens[start:end]),
                    "took_ms": took_ms,
                }
                found = iter(scores[start:end])
                own = [next(found) if text else None for text in texts[number]]
                ordered[number] = _reordered(asked[number][0], answers[number], own, facts)
                start = end
        return ordered

    # ── scores ───────────────────────────────────────────────────────────────────────────────

    async def _scores(
        self, info: EncoderInfo, pairs: Sequence[tuple[str, str]], most: int | None = None
    ) -> tuple[list[float], list[int]]:
        """Scores of pairs of a query and a document, and the tokens that were read of each."""
        if not pairs:
            return [], []
        # Somebody waits for the answer, so documents too are of a query.
        lane = lane_of("query", len(pairs))
        if "score" in info.outputs:
            inputs = [Pair(query, document, most) for query, document in pairs]
            encoded = await self._encoding.encode(info.name, inputs, "query", "score", lane=lane)
            return list(encoded.outputs), encoded.tokens
        output = info.outputs[0]
        scores: list[float] = []
        counts: list[int] = []
        asked = list(dict.fromkeys(query for query, _ in pairs))
        queries = await self._encoding.encode(info.name, asked, "query", output, lane=lane)
        made = dict(zip(asked, queries.outputs, strict=True))
        for start in range(0, len(pairs), PORTION):
            portion = pairs[start : start + PORTION]
            texts = [document for _, document in portion]
            documents = await self._encoding.encode(info.name, texts, "document", output, lane=lane)
            firsts = [made[query] for query, _ in portion]
            like = partial(_likenesses, output, firsts, documents.outputs)
            scores += await self._lane.run(like)
            counts += documents.tokens
        counts[0] += sum(queries.tokens)
        return scores, counts

    def _order(self, query: Query, rerank: Rerank) -> Order:
        at = place(query.at, "rerank")
        text = query.text if rerank.query is None else rerank.query
        if text is None:
            raise InvalidQuery(
                "a query without text says in `query` what its candidates are compared with",
                pointer=place(at, "query"),
            )
        self._check_query(
            text, place(query.at, "text") if rerank.query is None else place(at, "query")
        )
        wanted, most = query.k + query.offset, self._max_documents
        candidates = rerank.candidates
        if candidates is None:
            candidates = max(wanted, min(CANDIDATES, most))
        elif candidates < wanted:
            raise InvalidQuery(
                f"offset + k is {wanted}: expected as many candidates at least, "
                f"received {candidates}",
                pointer=place(at, "candidates"),
            )
        if candidates > most:
            raise LimitExceeded(
                f"at most {most} candidates are reranked",
                pointer=place(at, "candidates") if rerank.candidates else place(query.at, "k"),
                limit=most,
                received=candidates,
            )
        read = point_text_from(rerank.field, rerank.template, at)
        model = self._usable(rerank.model, place(at, "model")).name
        return Order(model, text, read, candidates)

    def _usable(self, named: str | None, pointer: str) -> EncoderInfo:
        try:
            info = self._encoding.usable(named or self._default)
            if info.modality != "text":
                raise InvalidField(f"{info.name} reads no texts: it reranks nothing")
            return info
        except LikewiseError as error:
            if named is not None:
                error.pointer = pointer
            raise

    def _check_query(self, query: str, pointer: str) -> None:
        check_text(query, limit=self._max_text_chars, pointer=pointer)
        check_unicode(query, pointer)

    def _documents(self, wanted: ToRerank) -> list[str]:
        check_batch(
            len(wanted.documents),
            what="documents",
            limit=self._max_documents,
            pointer="/documents",
        )
        documents: list[str] = []
        for index, given in enumerate(wanted.documents):
            pointer = place("/documents", index)
            text = _text_of(given, wanted.fields, pointer)
            check_text(text, limit=self._max_text_chars, pointer=pointer)
            check_unicode(text, pointer)
            documents.append(text)
        return documents


def _text_of(given: object, fields: Sequence[str] | None, pointer: str) -> str:
    """The text of a document as it came: itself, or its fields, a line for each."""
    if isinstance(given, str):
        return given
    if not isinstance(given, Mapping):
        raise InvalidText("expected a text or an object with one", pointer=pointer)
    parts: list[str] = []
    for field in fields or ("text",):
        value = given.get(field)
        if value is None:
            continue
        if not isinstance(value, str):
            raise InvalidText("expected a text", pointer=place(pointer, field))
        parts.append(value)
    if not parts:
        raise InvalidText(
            'expected a member "text", or one of those that rank_fields names', pointer=pointer
        )
    return "\n".join(parts)


def _texts(
    asked: Sequence[tuple[Query, Order | None]], answers: Sequence[Answer], most_chars: int
) -> list[list[str]]:
    """What is to be read of each candidate of each query; "" where there is nothing."""
    return [
        []
        if order is None
        else [order.text.of(hit.record, most_chars).strip() for hit in answer.hits]
        for (_, order), answer in zip(asked, answers, strict=True)
    ]


def _reordered(
    query: Query, answer: Answer, scores: Sequence[float | None], facts: Mapping[str, object]
) -> Answer:
    hits = [
        hit._replace(rerank_score=score) for hit, score in zip(answer.hits, scores, strict=True)
    ]
    # The sort is stable: equal ones, and those without a score, stay as they were recalled.
    hits.sort(key=lambda hit: np.inf if hit.rerank_score is None else -hit.rerank_score)
    page = [_projected(hit, query.projection) for hit in hits[query.offset :][: query.k]]
    explanation = answer.explanation
    if explanation is not None:
        explanation = {**explanation, "rerank": dict(facts)}
        if "stages" in explanation:
            _add_stage(explanation, query, len(hits), len(page), facts)
    return answer._replace(hits=page, explanation=explanation)


def _add_stage(
    explanation: dict[str, Any], query: Query, taken: int, out: int, facts: Mapping[str, Any]
) -> None:
    """Account for the reranker as the last stage of a plan; its time is that of all it read."""
    told = {name: facts[name] for name in ("model", "scored", "tokens")}
    entry = {"stage": "rerank", "at": place(query.at, "rerank"), "in": taken, "out": out, **told}
    explanation["stages"] = [*explanation["stages"], {**entry, "ms": facts["took_ms"]}]
    explanation["total_ms"] = round(explanation["total_ms"] + facts["took_ms"], 3)


def _projected(hit: Hit, wanted: Projection) -> Hit:
    """Take away what was recalled for the reranker only."""
    record = hit.record
    if wanted.fields is not None:
        kept = {
            name: record.attributes[name] for name in record.attributes if name in wanted.fields
        }
        record = record._replace(attributes=kept)
    if not wanted.with_text:
        record = record._replace(text=None)
    return hit._replace(record=record)


# ── likeness of what two texts became ────────────────────────────────────────────────────────


def cosine(query: F32, document: F32) -> float:
    """Cosine of two vectors [dim]; 0 if one of them is zero."""
    lengths = float(np.linalg.norm(query) * np.linalg.norm(document))
    return float(query @ document) / lengths if lengths else 0.0


def max_sim(query: F32, document: F32) -> float:
    """Mean over the query's tokens [token, dim] of the best inner product with the document's."""
    if not len(query) or not len(document):
        return 0.0
    return float((query @ document.T).max(axis=1).mean())


def overlap(query: Sparse, document: Sparse) -> float:
    """Inner product of two sparse vectors."""
    _, here, there = np.intersect1d(
        query.indices, document.indices, assume_unique=True, return_indices=True
    )
    return float(query.values[here] @ document.values[there])


def _likenesses(
    output: OutputKind, queries: Sequence[Any], documents: Iterable[Any]
) -> list[float]:
    return list(map(LIKENESS[output], queries, documents))


LIKENESS: dict[str, Callable[..., float]] = {
    "dense": cosine,
    "tokens": max_sim,
    "sparse": overlap,
}
