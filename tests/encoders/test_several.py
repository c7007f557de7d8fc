"""Token vectors and sparse weights: against plain NumPy, whatever stands beside a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.encoders.base import Cutting, Encoder, OutputKind, Several, TextKind
from app.encoders.inputs import Input
from app.encoders.manifest import read_manifest
from app.encoders.opening import open_encoder
from app.encoders.pipeline.pools import gem, regions, with_context
from app.encoders.registry import EncoderRegistry
from app.encoders.sparse import pruned, sparse_from_words, words_from_logits, words_from_tokens
from app.encoders.tokenizer import Tokenizer
from app.errors import InvalidText, LikewiseError, StoredDataError
from app.service.reranking import max_sim, overlap
from app.types import Sparse
from tests.encoders import several as model
from tests.encoders.several import (
    DENSE,
    LOGITS,
    MASK,
    MOST,
    OWN,
    PIECES,
    TOKENS,
    D,
    Q,
    write_several,
)

TEXTS = ["red fox", "a", "the old man and the sea.", "tea; sun, ice!", "fox " * 50]

Open = Callable[..., Encoder]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    encoders: list[Encoder] = []

    def open_(tables: str, **more: str) -> Encoder:
        folder = write_several(tmp_path / f"m{len(encoders)}", tables, **more)
        encoders.append(open_encoder(read_manifest(folder), folder, threads=2))
        return encoders[-1]

    yield open_
    for encoder in encoders:
        encoder.close()


def made(
    encoder: Encoder, inputs: list[Any], output: OutputKind, kind: TextKind = "document"
) -> Any:
    given_: list[Input] = inputs
    ready = list(encoder.prepare(encoder.address(given_, kind)))
    errors = [one for one in ready if isinstance(one, LikewiseError)]
    if errors:
        raise errors[0]
    return encoder.run([one for one in ready if not isinstance(one, LikewiseError)], output)


@pytest.fixture
def ids(tmp_path: Path) -> Callable[[str], list[int]]:
    folder = write_several(tmp_path / "ids", DENSE)
    tokenizer = Tokenizer(folder / "tokenizer.json", MOST)
    return lambda text: tokenizer.ids([text])[0]


# ── token vectors ────────────────────────────────────────────────────────────────────────────


def test_every_token_has_the_vector_that_the_graph_gives_it(
    opened: Open, ids: Callable[[str], list[int]]
) -> None:
    vectors = made(opened(TOKENS), TEXTS, "tokens")
    for text, found in zip(TEXTS, vectors, strict=True):
        expected = model.unit(model.hidden(ids(text)))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_projection_comes_before_the_length_is_made_one(
    opened: Open, ids: Callable[[str], list[int]]
) -> None:
    tables = TOKENS.replace("16", "6") + 'projection = "projection.safetensors"\n'
    (found,) = made(opened(tables), ["red fox"], "tokens")
    expected = model.unit(model.hidden(ids("red fox")) @ model.PROJECTION.T)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_special_tokens_and_punctuation_are_left_out_as_the_manifest_says(
    opened: Open, ids: Callable[[str], list[int]]
) -> None:
    encoder = opened(TOKENS + "skip_special = true\nskip_punctuation = true\n")
    text = "tea; sun!"
    whole = model.unit(model.hidden(ids(text)))
    pieces = [PIECES[one] for one in ids(text)]
    words = [place for place, piece in enumerate(pieces) if piece[-1].isalnum()]
    inner = list(range(1, len(whole) - 1))
    assert len(words) < len(inner) < len(whole)
    (document,) = made(encoder, [text], "tokens")
    (query,) = made(encoder, [text], "tokens", "query")
    np.testing.assert_allclose(document, whole[words], atol=1e-5)
    np.testing.assert_allclose(query, whole[inner], atol=1e-5)


COLBERT = (
    TOKENS
    + 'query_marker = "[Q]"\ndocument_marker = "[D]"\nquery_tokens = 12\nskip_punctuation = true\n'
)


@pytest.mark.parametrize("attend", [False, True])
def test_a_query_is_marked_and_filled_with_masks_and_a_document_is_marked_only(
    opened: Open, ids: Callable[[str], list[int]], attend: bool
) -> None:
    encoder = opened(COLBERT + f"attend_to_mask = {str(attend).lower()}\n")
    first, *rest = ids("red fox")
    query = [first, Q, *rest]
    masks = 12 - len(query)
    expected = model.hidden(query + [MASK] * masks, [1] * len(query) + [int(attend)] * masks)
    (found,) = made(encoder, ["red fox"], "tokens", "query")
    np.testing.assert_allclose(found, model.unit(expected), atol=1e-5)
    (found,) = made(encoder, ["red fox"], "tokens", "document")
    np.testing.assert_allclose(found, model.unit(model.hidden([first, D, *rest])), atol=1e-5)


def test_long_texts_keep_their_marker_and_their_last_token(opened: Open) -> None:
    encoder = opened(COLBERT)
    (query,) = made(encoder, ["fox " * 60], "tokens", "query")
    (document,) = made(encoder, ["fox " * 60], "tokens")
    assert (len(query), len(document)) == (12, MOST)


@pytest.mark.parametrize(("kind", "most"), [("query", 12), ("document", MOST)])
def test_texts_are_cut_at_their_start_or_refused_beside_their_marker(
    opened: Open, ids: Callable[[str], list[int]], kind: Any, most: int
) -> None:
    encoder = opened(COLBERT)
    assert isinstance(encoder, Cutting)
    long, marker = "cat " * 60 + "fox", Q if kind == "query" else D
    (ended,) = encoder.fitted([long], kind, "start")
    first, *fox = ids("fox")
    (cat,) = ids("cat")[1:-1]
    assert ended == (first, *[cat] * (most - 2 - len(fox)), *fox)
    (found,) = made(encoder, [ended], "tokens", kind)
    assert isinstance(ended, tuple)
    whole = [ended[0], marker, *ended[1:]]
    assert len(whole) == most
    np.testing.assert_allclose(found, model.unit(model.hidden(whole)), atol=1e-5)
    fits = "cat " * (most - 3)  # the marker and two special tokens
    assert encoder.fitted([fits], kind, "never")
    with pytest.raises(InvalidText, match=f"reads at most {most - 1} tokens, received {most}"):
        encoder.fitted([fits + "cat"], kind, "never")


def test_the_document_with_the_querys_words_has_the_highest_max_sim(opened: Open) -> None:
    encoder = opened(COLBERT)
    documents = ["dogs and cats", "ice tea at sea", "the red fox sat in the sun", "an old car"]
    vectors = made(encoder, documents, "tokens")
    for query, best in (("red fox sun", 2), ("cats dogs", 0), ("an old car", 3), ("tea at sea", 1)):
        (asked,) = made(encoder, [query], "tokens", "query")
        scores = [max_sim(asked, vectors[place]) for place in range(len(documents))]
        assert int(np.argmax(scores)) == best, (query, scores)
        for place, document in enumerate(vectors):
            slow = np.mean([max(float(q @ d) for d in document) for q in asked])
            assert scores[place] == pytest.approx(slow, abs=1e-5)


# ── sparse weights ───────────────────────────────────────────────────────────────────────────


def dense_of(sparse: Sparse) -> Any:
    full = np.zeros(len(PIECES), np.float32)
    full[sparse.indices] = sparse.values
    return full


def test_logits_become_word_weights(opened: Open, ids: Callable[[str], list[int]]) -> None:
    for text, found in zip(TEXTS, made(opened(LOGITS), TEXTS, "sparse"), strict=True):
        logits = model.hidden(ids(text)) @ model.WORDS
        expected = np.log1p(np.maximum(logits, 0)).max(axis=0)
        np.testing.assert_allclose(dense_of(found), expected, atol=1e-4)
        assert (np.diff(found.indices) > 0).all()
        assert (found.values > 0).all()


def test_a_texts_own_tokens_are_weighed_each_by_its_heaviest_occurrence(
    opened: Open, ids: Callable[[str], list[int]]
) -> None:
    (found,) = made(opened(OWN), ["the cat and the dog"], "sparse")
    expected = np.zeros(len(PIECES))
    read = ids("the cat and the dog")
    for one, weight in zip(read, (model.hidden(read) @ model.WEIGHTS)[:, 0], strict=True):
        if one >= 4:  # not a special token
            expected[one] = max(expected[one], weight)
    np.testing.assert_allclose(dense_of(found), expected, atol=1e-5)


def test_small_weights_and_all_but_the_largest_are_left_out(opened: Open) -> None:
    (whole,) = made(opened(LOGITS), ["red fox"], "sparse")
    (found,) = made(opened(LOGITS + "most = 5\nmin_weight = 0.5\n"), ["red fox"], "sparse")
    largest = sorted(whole.values, reverse=True)[:5]
    np.testing.assert_allclose(sorted(found.values, reverse=True), largest, atol=1e-6)
    assert set(found.indices) <= set(whole.indices)


weights = arrays.arrays(np.float32, st.integers(0, 30), elements=st.integers(-3, 9).map(float))


@given(weights, st.integers(0, 12), st.sampled_from([0.0, 2.0, 4.0]))
def test_pruning_keeps_the_largest_and_of_equal_ones_the_first(
    words: Any, most: int, least: float
) -> None:
    found = pruned(sparse_from_words(words), most=most, min_weight=least)
    kept = [(-value, word) for word, value in enumerate(words) if value > 0 and value >= least]
    expected = sorted(word for _, word in sorted(kept)[: most or None])
    assert found.indices.tolist() == expected
    assert found.values.tolist() == [words[word] for word in expected]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-2, 3)), max_size=12))
def test_words_of_tokens_are_their_maxima(tokens: list[tuple[int, int]]) -> None:
    expected: dict[int, int] = {}
    for word, weight in tokens:
        expected[word] = max(weight, expected.get(word, 0))
    found = words_from_tokens(
        np.array([weight for _, weight in tokens], np.float32),
        np.array([word for word, _ in tokens], np.int64),
    )
    assert dict(zip(found.indices.tolist(), found.values.tolist(), strict=True)) == {
        word: weight for word, weight in expected.items() if weight > 0
    }


def test_the_maximum_of_logits_may_come_first() -> None:
    logits = np.random.RandomState(3).standard_normal((7, 50)).astype(np.float32)
    slow = np.log1p(np.maximum(logits, 0)).max(axis=0)
    np.testing.assert_allclose(words_from_logits(logits), slow, atol=1e-6)


def test_overlap_is_the_inner_product(opened: Open) -> None:
    one, other = made(opened(LOGITS), ["red fox", "the sea"], "sparse")
    assert overlap(one, other) == pytest.approx(float(dense_of(one) @ dense_of(other)), rel=1e-5)


# ── all outputs ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("batch", ["together", "alone"])
def test_all_outputs_of_one_run_are_those_of_their_own_runs(opened: Open, batch: str) -> None:
    encoder = opened(DENSE + TOKENS + LOGITS, batch=batch)
    dense = made(encoder, TEXTS, "dense")
    tokens = made(encoder, TEXTS, "tokens")
    sparse = made(encoder, TEXTS, "sparse")
    for place, one in enumerate(made(encoder, TEXTS, "all")):
        assert isinstance(one, Several)
        assert one.tokens is not None
        assert one.sparse is not None
        np.testing.assert_allclose(one.dense, dense[place], atol=1e-6)
        np.testing.assert_allclose(one.tokens, tokens[place], atol=1e-6)
        np.testing.assert_allclose(dense_of(one.sparse), dense_of(sparse[place]), atol=1e-5)


def test_outputs_do_not_depend_on_the_texts_beside_them(opened: Open) -> None:
    encoder = opened(DENSE + TOKENS + LOGITS)
    together = made(encoder, TEXTS, "all")
    for text, one in zip(TEXTS, together, strict=True):
        (alone,) = made(encoder, [text], "all")
        np.testing.assert_allclose(one.dense, alone.dense, atol=1e-6)
        np.testing.assert_allclose(one.tokens, alone.tokens, atol=1e-6)
        np.testing.assert_allclose(dense_of(one.sparse), dense_of(alone.sparse), atol=1e-5)


def test_ids_of_tokens_make_what_their_text_makes(
    opened: Open, ids: Callable[[str], list[int]]
) -> None:
    encoder = opened(TOKENS)
    (text,) = made(encoder, ["red fox"], "tokens")
    (tokens,) = made(encoder, [tuple(ids("red fox"))], "tokens")
    np.testing.assert_array_equal(text, tokens)
    with pytest.raises(InvalidText):
        made(encoder, [(1, len(PIECES))], "tokens")


def test_prompts_stand_before_texts(opened: Open, ids: Callable[[str], list[int]]) -> None:
    encoder = opened(TOKENS, text='query_prompt = "ask: "')
    (found,) = made(encoder, ["fox"], "tokens", "query")
    np.testing.assert_allclose(found, model.unit(model.hidden(ids("ask: fox"))), atol=1e-5)


def test_the_registry_says_what_an_encoder_makes_and_makes_it(tmp_path: Path) -> None:
    write_several(tmp_path / "several", DENSE + TOKENS + OWN)
    registry = EncoderRegistry(tmp_path, threads=1, queue=100, batch_tokens=512)
    assert registry.describe("several").outputs == ("dense", "tokens", "sparse")
    registry.load("several")
    encoded = registry.submit("several", TEXTS, "document", "tokens").result()
    assert [len(one) for one in encoded.outputs] == encoded.tokens
    assert registry.submit("several", TEXTS, "document", "dense").result().vectors.shape == (5, 16)
    registry.close()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ("", "output: expected a table, found nothing"),
        (DENSE + COLBERT, "tokens: expected neither markers nor query_tokens beside another"),
        (TOKENS.replace("16", "0"), "tokens.dimension: expected a number of at least 1"),
        (TOKENS + 'projection = "p"\n', r"tokens.projection: expected a path that \[\[files"),
        (LOGITS.replace('"logits"\n', '"logit"\n'), "sparse.form: expected one of 'logits'"),
        (LOGITS + "min_weight = -1.0\n", "sparse.min_weight: expected a weight of 0.0 or more"),
        (LOGITS + "top = 3\n", "sparse.top: expected no such key"),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong_where(
    tmp_path: Path, tables: str, message: str
) -> None:
    folder = write_several(tmp_path / "wrong", tables)
    with pytest.raises(StoredDataError, match=message):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (TOKENS.replace("16", "17"), "expected 17 numbers a token"),
        (TOKENS.replace("16", "5") + 'projection = "projection.safetensors"\n', "projection to 5"),
        (TOKENS + 'query_marker = "[R]"\n', r"no piece '\[R\]'"),
        (DENSE.replace('"mean"', '"graph"'), "expected vectors of 16 numbers"),
    ],
)
def test_a_graph_that_does_not_fit_its_manifest_is_found_when_it_is_opened(
    opened: Open, tables: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        opened(tables + ("" if "[tokens]" in tables else LOGITS))


# ── context ──────────────────────────────────────────────────────────────────────────────────

GEM = (
    '[output]\npool = "gem"\nnormalise = true\n[output.gem]\np = 1.0\n'
    "[output.context]\nk = 3\nlambda = 0.5\n"
)


def test_tokens_come_in_the_context_of_their_regions_or_as_these(
    opened: Open, ids: Callable[[str], list[int]]
) -> None:
    text = "the old man and the sea"
    own = model.hidden(ids(text))
    found = regions(own, 3, 0.1)
    in_context = with_context(own, found, 0.5, 0.1)
    (tokens,) = made(opened(GEM + TOKENS), [text], "tokens")
    np.testing.assert_allclose(tokens, model.unit(in_context), atol=1e-4)
    for more, matrix in (("", None), ('projection = "projection.safetensors"\n', model.PROJECTION)):
        tables = TOKENS if matrix is None else TOKENS.replace("16", "6") + more
        encoder = opened(GEM + 'emit = "regions"\n' + tables)
        expected = found if matrix is None else found @ matrix.T
        (several, short) = made(encoder, [text, "tea"], "tokens")
        assert (len(several), len(short)) == (3, 3)  # [CLS] tea [SEP]
        np.testing.assert_allclose(several, model.unit(expected), atol=1e-4)
        (both,) = made(encoder, [text], "all")
        np.testing.assert_allclose(both.tokens, several, atol=1e-5)
        np.testing.assert_allclose(both.dense, model.unit(gem(in_context, 1.0)), atol=1e-4)
