"""Cross-encoders: how pairs are cut, what becomes of labels, and what the tiny one thinks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from app.encoders.base import Encoder, Prepared
from app.encoders.inputs import Pair
from app.encoders.manifest import read_manifest
from app.encoders.opening import open_encoder
from app.encoders.pair import PairEncoder
from app.encoders.tiny_cross import write_tiny_cross
from app.encoders.tokenizer import PairTokenizer, Truncate, cut_pair
from app.errors import InvalidText, StoredDataError
from tests.encoders.models import ROOT, TINY, small_manifest, write_model

CROSS = ROOT / "models" / "tiny-cross"
LONG = "the quick red fox jumps over a lazy dog near the sea " * 12
PAIRS = [
    ("the red fox", "a sick dog"),
    ("the red fox", "cats and dogs"),
    ("the red fox", "the quick brown fox jumps"),
    ("the red fox", "red fox"),
    ("the red fox", ""),
    ("", "the red fox"),
    ("the red fox", LONG),
    (LONG, "the red fox"),
    (LONG, LONG),
]


@pytest.fixture(scope="module")
def cross() -> Iterator[PairEncoder]:
    encoder = open_encoder(read_manifest(CROSS), CROSS, threads=1)
    assert isinstance(encoder, PairEncoder)
    yield encoder
    encoder.close()


def prepared(encoder: Encoder, pairs: list[tuple[str, str]], most: int | None = None) -> list[Any]:
    inputs = [Pair(first, second, most) for first, second in pairs]
    return encoder.prepare(encoder.address(inputs, "query"))


def scores(encoder: Encoder, pairs: list[tuple[str, str]]) -> list[float]:
    return list(encoder.run(prepared(encoder, pairs), "score"))


# ── the tiny cross-encoder ───────────────────────────────────────────────────────────────────


def test_the_committed_files_are_what_the_script_makes(tmp_path: Path) -> None:
    write_tiny_cross(tmp_path / "tiny-cross")
    made = tmp_path / "tiny-cross" / "tokenizer.json"
    assert made.read_bytes() == (CROSS / "tokenizer.json").read_bytes()
    one, other = (onnx.load(at / "model.onnx").graph for at in (made.parent, CROSS))
    assert list(one.node) == list(other.node)
    for mine, theirs in zip(one.initializer, other.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(mine), numpy_helper.to_array(theirs))
    assert sum(path.stat().st_size for path in CROSS.iterdir()) < 120_000


def test_scores_are_the_ones_that_they_were(cross: PairEncoder) -> None:
    golden = [0.0962544, 0.1478850, 0.9427256, 0.9191167, 0.0179862]
    assert scores(cross, PAIRS[:5]) == pytest.approx(golden, abs=1e-5)


def test_the_more_of_a_query_a_document_has_the_higher_it_is_ranked(cross: PairEncoder) -> None:
    query = "old man and the sea"
    documents = ["tea", "the sea", "a man and the sea", "the sea and an old man at noon"]
    found = scores(cross, [(query, document) for document in documents])
    assert found == sorted(found)
    assert found[-1] > 0.9 > 0.2 > found[0]


# ── what every cross-encoder promises ────────────────────────────────────────────────────────


def test_a_score_does_not_depend_on_the_pairs_beside_it(cross: PairEncoder) -> None:
    alone = [scores(cross, [pair])[0] for pair in PAIRS]
    assert scores(cross, PAIRS) == pytest.approx(alone, abs=1e-6)
    assert scores(cross, PAIRS[::-1]) == pytest.approx(alone[::-1], abs=1e-6)


def test_only_pairs_are_read_and_half_characters_are_blamed_on_their_text(
    cross: PairEncoder,
) -> None:
    with pytest.raises(InvalidText) as refused:
        cross.address([Pair("a", "b"), "text"], "query")
    assert refused.value.pointer == "/1"
    with pytest.raises(InvalidText) as refused:
        cross.address([Pair("a", "\ud800")], "query")
    assert refused.value.pointer == "/0/second"


def test_a_pair_has_types_and_its_tokens_are_counted(cross: PairEncoder) -> None:
    (one,) = prepared(cross, [("red fox", "tea")])
    ids, types = one.value
    assert len(ids) == len(types) == one.cost == one.tokens
    assert types == sorted(types)
    assert set(types) == {0, 1}
    (cut,) = prepared(cross, [("red fox", LONG)], most=3)
    (whole,) = prepared(cross, [("red fox", LONG)])
    assert (whole.tokens, sum(cut.value[1])) == (256, 3 + 1)


@pytest.mark.parametrize(
    ("activation", "label", "expected"),
    [
        ("sigmoid", 0, lambda z: 1 / (1 + np.exp(-z[:, 0]))),
        ("identity", 1, lambda z: z[:, 1]),
        ("softmax", 1, lambda z: np.exp(z[:, 1]) / np.exp(z).sum(axis=1)),
    ],
)
@pytest.mark.parametrize("batch", ["together", "alone"])
def test_labels_become_a_score_as_the_manifest_says(
    tmp_path: Path, activation: str, label: int, expected: Any, batch: str
) -> None:
    encoder = labelled(tmp_path, activation=activation, label=label, batch=batch)
    # The graph answers with the number of tokens of type 1, and with minus the tokens in all.
    ready: list[Prepared] = prepared(encoder, PAIRS)
    logits = np.array([[sum(one.value[1]) / 8, -len(one.value[0]) / 8] for one in ready])
    np.testing.assert_allclose(encoder.run(ready, "score"), expected(logits), rtol=1e-5)
    encoder.close()


def test_another_number_of_labels_than_promised_is_found_when_the_model_is_opened(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="expected 3 labels for each pair, got"):
        labelled(tmp_path, activation="identity", label=0, batch="together", labels=3)


def labelled(
    tmp_path: Path, *, activation: str, label: int, batch: str, labels: int = 2
) -> Encoder:
    nodes = [
        helper.make_node("ReduceSum", ["token_type_ids", "axis"], ["second"], keepdims=1),
        helper.make_node("ReduceSum", ["attention_mask", "axis"], ["all"], keepdims=1),
        helper.make_node("Mul", ["all", "minus"], ["less"]),
        helper.make_node("Concat", ["second", "less"], ["both"], axis=1),
        helper.make_node("Cast", ["both"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["numbers", "eight"], ["logits"]),
    ]
    constants = {
        "axis": np.array([1], np.int64),
        "minus": np.array(-1, np.int64),
        "eight": np.array(8, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "labels",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["pair", "token"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["pair", 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    files = {
        "tokenizer.json": (CROSS / "tokenizer.json").read_bytes(),
        "model.onnx": model.SerializeToString(),
    }
    folder = write_model(
        tmp_path / "small",
        files,
        pair_manifest(files, activation=activation, label=label, labels=labels, batch=batch),
    )
    return open_encoder(read_manifest(folder), folder, threads=2)


def pair_manifest(
    files: dict[str, bytes],
    *,
    activation: str = "identity",
    label: int = 0,
    labels: int = 1,
    batch: str = "together",
    more: str = "",
) -> str:
    before, _, rest = small_manifest(files).partition("[text]")
    listed = "[[files]]" + rest.partition("[[files]]")[2]
    return (
        before.replace("modality", 'kind = "pair"\nmodality')
        + f'[pair]\ntokenizer = "tokenizer.json"\nmax_tokens = 64\ntruncate = "longest"\n'
        f'labels = {labels}\nlabel = {label}\nactivation = "{activation}"\n{more}'
        f'[graph]\nfile = "model.onnx"\nbatch = "{batch}"\n{listed}'
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label = 0", "label = 1", "pair.label: expected a number below labels = 1, found 1"),
        ('"identity"', '"softmax"', 'pair.activation: expected "sigmoid" or "identity"'),
        ('"longest"', '"first"', "pair.truncate: expected one of 'second', 'longest'"),
        ("max_tokens = 64", "max_tokns = 64", "pair.max_tokens: expected an integer"),
        ('file = "model.onnx"', 'file = "other.onnx"', r"graph.file: expected a path that \[\["),
        ('tokenizer = "tok', 'tokenizer = "tik', r"pair.tokenizer: expected a path that \[\[f"),
    ],
)
def test_a_wrong_manifest_of_a_cross_encoder_says_what_is_wrong_where(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    files = {"tokenizer.json": b"{}", "model.onnx": b"graph"}
    wrong = pair_manifest(files).replace(old, new, 1)
    folder = write_model(tmp_path / "small", files, wrong)
    with pytest.raises(StoredDataError, match=message):
        read_manifest(folder)


# ── cutting ──────────────────────────────────────────────────────────────────────────────────

lengths = st.integers(0, 60)


@given(first=lengths, second=lengths, room=st.integers(2, 50))
def test_a_pair_is_cut_to_its_room_and_no_shorter(first: int, second: int, room: int) -> None:
    for truncate in ("second", "longest"):
        one, other = cut_pair(first, second, room, truncate)
        assert one + other == min(room, first + second)
        assert 0 <= one <= first
        assert 0 <= other <= second
    one, _ = cut_pair(first, second, room, "second")
    assert one == first or one >= room // 2


def words(count: int) -> str:
    return " ".join("the" for _ in range(count))


@settings(max_examples=25)
@given(first=lengths, second=lengths, most=st.integers(6, 50))
def test_the_longest_text_is_cut_as_the_tokenizers_own_truncation_does(
    first: int, second: int, most: int
) -> None:
    own = tokenizers.Tokenizer.from_file(str(CROSS / "tokenizer.json"))
    own.enable_truncation(most, strategy="longest_first")
    expected = own.encode(words(first), words(second))
    ours = PairTokenizer(CROSS / "tokenizer.json", most, "longest")
    assert ours.ids([(words(first), words(second))], [None]) == [(expected.ids, expected.type_ids)]


@settings(max_examples=25)
@given(first=st.integers(0, 10), second=lengths, most=st.integers(40, 60))
def test_the_second_text_is_cut_as_the_tokenizers_own_truncation_does(
    first: int, second: int, most: int
) -> None:
    own = tokenizers.Tokenizer.from_file(str(CROSS / "tokenizer.json"))
    own.enable_truncation(most, strategy="only_second")
    expected = own.encode(words(first), words(second))
    ours = PairTokenizer(CROSS / "tokenizer.json", most, "second")
    assert ours.ids([(words(first), words(second))], [None]) == [(expected.ids, expected.type_ids)]


def test_a_tokenizer_that_makes_no_pairs_is_refused() -> None:
    truncate: Truncate = "second"
    with pytest.raises(ValueError, match="makes no pairs"):
        PairTokenizer(TINY / "tokenizer.json", 32, truncate)
