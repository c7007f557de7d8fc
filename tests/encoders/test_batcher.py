"""Whatever happens to a batch, every waiter hears of it, and the worker lives on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import pytest

from app.encoders.base import Encoded, OutputKind, Prepared, TextKind
from app.encoders.batcher import Batcher
from app.encoders.inputs import Input
from app.errors import EncodingFailed, InvalidText, LikewiseError, Overloaded, ShuttingDown
from app.types import F32

PATIENCE_S = 10.0


class SpellingEncoder:
    """An encoder whose vectors spell out the text's length and first letter; it can be held up.

    batches   the batches that ran, as lists of token ids
    """

    name = "spelling"
    dimension = 2

    def __init__(self) -> None:
        self.batches: list[list[Sequence[int]]] = []
        self.running = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.meanwhile: Callable[[], object] = lambda: None  # called while a batch runs

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        return list(inputs)

    def estimate(self, given: Input) -> int:
        assert isinstance(given, str)
        return 1 + len(given) // 4

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        if "untokenizable" in inputs:
            raise RuntimeError("the tokenizer gave up")
        return [self._prepared(given) for given in inputs if isinstance(given, str)]

    def _prepared(self, text: str) -> Prepared | LikewiseError:
        if text.startswith("#"):
            return InvalidText("cannot be read")
        return Prepared([ord(letter) for letter in text], len(text), len(text))

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32 | list[Any]:
        tokens = [one.value for one in batch]
        self.batches.append(tokens)
        self.running.set()
        assert self.gate.wait(PATIENCE_S)
        self.meanwhile()
        if any(ids[0] == ord("!") for ids in tokens):
            raise MemoryError("no room")
        if any(ids[0] == ord("?") for ids in tokens):
            return np.zeros((1, 7), np.float32)
        if output == "tokens":
            return [np.array([[place] for place in ids], np.float32) for ids in tokens]
        return np.array([[len(ids), ids[0]] for ids in tokens], np.float32)

    def close(self) -> None:
        """It has no threads."""

    def seen(self) -> list[str]:
        return ["".join(map(chr, ids)) for batch in self.batches for ids in batch]


@pytest.fixture
def encoder() -> SpellingEncoder:
    return SpellingEncoder()


Open = Callable[..., Batcher]


@pytest.fixture
def open_batcher(encoder: SpellingEncoder) -> Iterator[Open]:
    opened: list[Batcher] = []

    def open_one(queue: int = 100, batch_tokens: int = 100) -> Batcher:
        opened.append(Batcher(encoder, queue=queue, batch_tokens=batch_tokens))
        return opened[-1]

    yield open_one
    encoder.gate.set()
    for batcher in opened:
        batcher.close()


def hold(encoder: SpellingEncoder, batcher: Batcher) -> Future[Encoded]:
    """Keep the worker busy with one text until `encoder.gate` is set."""
    encoder.gate.clear()
    encoder.running.clear()
    held = batcher.submit(["held"])
    assert encoder.running.wait(PATIENCE_S)
    return held


def result(future: Future[Encoded]) -> Encoded:
    return future.result(PATIENCE_S)


def test_vectors_and_token_counts_come_in_the_order_of_the_texts(open_batcher: Open) -> None:
    encoded = result(open_batcher().submit(["ccc", "a", "bb"]))
    np.testing.assert_array_equal(encoded.vectors, [[3, ord("c")], [1, ord("a")], [2, ord("b")]])
    assert encoded.tokens == [3, 1, 2]


def test_no_text_is_done_at_once(open_batcher: Open) -> None:
    encoded = result(open_batcher().submit([]))
    assert encoded.vectors.shape == (0, 2)
    assert encoded.tokens == []


def test_texts_that_wait_are_batched_by_length_across_callers(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(batch_tokens=8)
    held = hold(encoder, batcher)
    futures = [batcher.submit(["aaaa", "b"]), batcher.submit(["c", "dddd"])]
    encoder.gate.set()
    wait([held, *futures], PATIENCE_S)
    spelled = [["".join(map(chr, ids)) for ids in batch] for batch in encoder.batches]
    assert spelled == [["held"], ["b", "c"], ["aaaa", "dddd"]]


def test_equal_texts_of_one_round_run_once_and_all_get_the_vector(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    hold(encoder, batcher)
    futures = [batcher.submit(["same", "same"]), batcher.submit(["same"])]
    encoder.gate.set()
    assert [len(result(future).tokens) for future in futures] == [2, 1]
    for future in futures:
        np.testing.assert_array_equal(result(future).vectors[-1], [4, ord("s")])
    assert encoder.seen() == ["held", "same"]


def test_a_job_larger_than_a_round_is_completed_over_several(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    texts = [f"{number:04}" for number in range(90)]
    encoded = result(open_batcher(batch_tokens=4).submit(texts))
    assert encoded.vectors[:, 0].tolist() == [4] * 90
    assert [len(batch) for batch in encoder.batches] == [1] * 90


def test_a_full_queue_refuses_and_says_how_full_it_is(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(queue=3)
    hold(encoder, batcher)
    first = batcher.submit(["a", "b"])
    with pytest.raises(Overloaded, match="2 texts wait for spelling and at most 3 may"):
        batcher.submit(["c", "d"])
    second = batcher.submit(["c"])
    encoder.gate.set()
    assert len(result(first).tokens) + len(result(second).tokens) == 3


def test_one_submission_over_the_bound_is_taken_when_nothing_waits(open_batcher: Open) -> None:
    assert len(result(open_batcher(queue=2).submit(["a"] * 5)).tokens) == 5


@pytest.mark.parametrize("bad", ["!", "?"])
def test_a_failed_batch_fails_its_waiters_only_and_the_worker_survives(
    encoder: SpellingEncoder, open_batcher: Open, bad: str
) -> None:
    batcher = open_batcher(batch_tokens=4)
    hold(encoder, batcher)
    doomed = [batcher.submit([bad + "aaa"]), batcher.submit(["fine", bad + "aaa"])]
    innocent = batcher.submit(["good"])
    encoder.gate.set()
    for future in doomed:
        error = future.exception(PATIENCE_S)
        assert isinstance(error, EncodingFailed)
        assert error.__cause__ is not None
        assert "aaa" not in error.detail
    assert doomed[0].exception() is not doomed[1].exception()
    assert result(innocent).tokens == [4]
    assert result(batcher.submit(["later"])).tokens == [5]


def test_a_failing_tokenizer_fails_its_round_and_the_worker_survives(open_batcher: Open) -> None:
    batcher = open_batcher()
    assert isinstance(batcher.submit(["untokenizable"]).exception(PATIENCE_S), EncodingFailed)
    assert result(batcher.submit(["later"])).tokens == [5]


def test_an_input_that_cannot_be_read_fails_its_own_job_and_says_which_it_was(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    hold(encoder, batcher)
    futures = [batcher.submit(["fine", "#"]), batcher.submit(["#"]), batcher.submit(["good"])]
    encoder.gate.set()
    errors = [future.exception(PATIENCE_S) for future in futures[:2]]
    assert [getattr(error, "pointer", None) for error in errors] == ["/1", "/0"]
    assert {type(error) for error in errors} == {InvalidText}
    assert result(futures[2]).tokens == [4]


def test_outputs_of_another_kind_come_as_a_list_beside_dense_ones(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    hold(encoder, batcher)
    dense, tokens = batcher.submit(["ab"]), batcher.submit(["ab", "c"], "tokens")
    encoder.gate.set()
    np.testing.assert_array_equal(result(dense).vectors, [[2, ord("a")]])
    assert [one.tolist() for one in result(tokens).outputs] == [[[97], [98]], [[99]]]


def test_cancelled_texts_are_not_run(encoder: SpellingEncoder, open_batcher: Open) -> None:
    batcher = open_batcher()
    held = hold(encoder, batcher)
    dropped, kept = batcher.submit(["dropped"]), batcher.submit(["kept"])
    assert dropped.cancel()
    assert held.cancel()  # its batch runs, and the result is thrown away
    encoder.gate.set()
    assert result(kept).tokens == [4]
    assert encoder.seen() == ["held", "kept"]


def test_who_cancels_while_the_batch_runs_takes_nothing_from_the_others(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    hold(encoder, batcher)
    dropped, kept = batcher.submit(["a"]), batcher.submit(["b"])
    encoder.meanwhile = dropped.cancel
    encoder.gate.set()
    assert result(kept).tokens == [1]
    assert dropped.cancelled()


def test_close_completes_what_was_accepted(encoder: SpellingEncoder, open_batcher: Open) -> None:
    batcher = open_batcher(batch_tokens=4)
    hold(encoder, batcher)
    futures = [batcher.submit([f"{number:04}"]) for number in range(40)]
    threading.Timer(0.01, encoder.gate.set).start()
    batcher.close(grace_s=PATIENCE_S)
    assert [future.result(0).tokens for future in futures] == [[4]] * 40
    with pytest.raises(ShuttingDown):
        batcher.submit(["late"])


def test_close_without_grace_fails_the_rest_but_not_the_running_batch(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(batch_tokens=4)
    held = hold(encoder, batcher)
    futures = [batcher.submit([f"{number:04}"]) for number in range(40)]
    threading.Timer(0.01, encoder.gate.set).start()
    batcher.close(grace_s=0)
    assert held.result(0).tokens == [4]
    assert {type(future.exception(0)) for future in futures} == {ShuttingDown}


def test_close_without_grace_ends_between_two_batches_of_one_round(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(batch_tokens=4)
    encoder.gate.clear()
    future = batcher.submit(["aaaa", "bbbb", "cccc"])
    assert encoder.running.wait(PATIENCE_S)
    threading.Timer(0.01, encoder.gate.set).start()
    batcher.close(grace_s=0)
    assert isinstance(future.exception(0), ShuttingDown)
    assert encoder.seen() == ["aaaa"]


def test_every_one_of_many_callers_gets_an_answer_of_its_own(open_batcher: Open) -> None:
    batcher = open_batcher(queue=10_000, batch_tokens=64)

    def call(caller: int) -> bool:
        texts = [chr(97 + (caller * 7 + text) % 26) * (1 + text % 9) for text in range(20)]
        encoded = batcher.submit(texts).result(PATIENCE_S)
        expected = [[len(text), ord(text[0])] for text in texts]
        return bool(np.array_equal(encoded.vectors, expected))

    with ThreadPoolExecutor(8) as callers:
        assert all(callers.map(call, range(100)))
