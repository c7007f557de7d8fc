"""Whatever happens to a batch, every waiter hears of it, and the worker lives on."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import pytest

from app.encoders.base import Encoded, LaneName, OutputKind, Prepared, TextKind
from app.encoders.batcher import LEAST_BATCH_TOKENS, ROUND_BATCHES, STEP_S, Batcher
from app.encoders.inputs import Input
from app.encoders.turns import LANES
from app.errors import (
    DeadlineExceeded,
    EncodingFailed,
    InvalidText,
    LikewiseError,
    Overloaded,
    ShuttingDown,
)
from app.types import F32

PATIENCE_S = 10.0
CHARS_PER_TOKEN = 4


class SpellingEncoder:
    """An encoder whose vectors spell out the text's length and first letter; it can be held up.

    batches   the batches that ran, as lists of token ids
    """

    name = "spelling"
    dimension = 2
    parallel = 1

    def __init__(self) -> None:
        self.batches: list[list[Sequence[int]]] = []
        self.running = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.prepared: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None  # called while a batch runs

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        return list(inputs)

    def estimate(self, given: Input) -> int:
        assert isinstance(given, str)
        return 1 + len(given) // CHARS_PER_TOKEN

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        if "untokenizable" in inputs:
            raise RuntimeError("the tokenizer gave up")
        self.prepared += [given for given in inputs if isinstance(given, str)]
        return [self._prepared(given) for given in inputs if isinstance(given, str)]

    def _prepared(self, text: str) -> Prepared | LikewiseError:
        if text.startswith("#"):
            return InvalidText("cannot be read")
        return Prepared([ord(letter) for letter in text], len(text), len(text))

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32 | list[Any]:
        tokens = [one.value for one in batch]
        self.batches.append(tokens)
        self.running.set()
        if not all(ids[0] == ord("q") for ids in tokens):
            assert self.gate.wait(PATIENCE_S)
        self.meanwhile()
        if any(ids[0] == ord("~") for ids in tokens):
            raise SystemExit("no way to end a worker")
        if any(ids[0] == ord("!") for ids in tokens):
            raise MemoryError("no room")
        if any(ids[0] == ord("?") for ids in tokens):
            return np.zeros((1, 7), np.float32)
        if output == "tokens":
            return [np.array([[place] for place in ids], np.float32) for ids in tokens]
        return np.array([[len(ids), ids[0]] for ids in tokens], np.float32)

    def close(self) -> None:
        """It has no threads."""

    def lengths(self) -> list[int]:
        """Tokens of each batch."""
        return [sum(map(len, batch)) for batch in self.batches]

    def seen(self) -> list[str]:
        return ["".join(map(chr, ids)) for batch in self.batches for ids in batch]


@pytest.fixture
def encoder() -> SpellingEncoder:
    return SpellingEncoder()


Open = Callable[..., Batcher]


@pytest.fixture
def open_batcher(encoder: SpellingEncoder) -> Iterator[Open]:
    opened: list[Batcher] = []

    def open_one(queue: int = 100, batch_tokens: int = 100, **more: int) -> Batcher:
        opened.append(Batcher(encoder, queue=queue, batch_tokens=batch_tokens, **more))
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
    spelled = [sorted("".join(map(chr, ids)) for ids in batch) for batch in encoder.batches]
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


@pytest.mark.parametrize("bad", ["!", "?", "~"])
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


@pytest.mark.parametrize("bad", ["!aaa", "?aaa", "~aaa", "untokenizable"])
def test_what_the_encoder_fails_on_fails_nobody_that_stood_beside_it(
    encoder: SpellingEncoder, open_batcher: Open, bad: str
) -> None:
    batcher = open_batcher()
    hold(encoder, batcher)
    innocent = [batcher.submit([f"good{number}", "fine"]) for number in range(9)]
    doomed = batcher.submit([bad, "fine"])
    innocent += [batcher.submit([f"more{number}"]) for number in range(9)]
    encoder.gate.set()
    assert isinstance(doomed.exception(PATIENCE_S), EncodingFailed)
    assert [result(future).tokens[0] for future in innocent] == [5] * 18


def test_a_failing_tokenizer_fails_its_round_and_the_worker_survives(open_batcher: Open) -> None:
    batcher = open_batcher()
    assert isinstance(batcher.submit(["untokenizable"]).exception(PATIENCE_S), EncodingFailed)
    assert result(batcher.submit(["later"])).tokens == [5]


def test_a_guess_that_fails_enters_nothing_and_the_next_is_served(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    encoder.gate.clear()
    first = batcher.submit(["first"])
    for lane in LANES:
        with pytest.raises(AssertionError):
            batcher.submit(["first", "second", (1, 2)], lane=lane)  # no text: `estimate` fails
    assert sum(batcher.statistics().waiting.values()) <= 1
    encoder.gate.set()
    assert first.result(PATIENCE_S).tokens == [5]
    assert batcher.submit(["second"]).result(PATIENCE_S).tokens == [6]
    assert encoder.seen() == ["first", "second"]


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


def test_a_query_waits_for_no_batch_that_is_running(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    held = hold(encoder, batcher)
    assert result(batcher.submit(["q"], lane="query")).tokens == [1]
    assert not held.done()


def test_a_write_waits_for_no_batch_of_an_import(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    encoder.gate.clear()
    bulk = batcher.submit(["held"], lane="bulk")
    assert encoder.running.wait(PATIENCE_S)
    assert result(batcher.submit(["q"], lane="write")).tokens == [1]
    assert not bulk.done()


def test_a_round_is_left_between_two_batches_for_a_higher_lane_and_nothing_of_it_is_lost(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(batch_tokens=4)
    encoder.gate.clear()
    write = batcher.submit(["aaaa", "bbbb", "cccc", "dddd"])
    assert encoder.running.wait(PATIENCE_S)
    encoder.running.clear()
    express = batcher.submit(["held"], lane="query")
    assert encoder.running.wait(PATIENCE_S)
    query = batcher.submit(["last"], lane="query")
    encoder.gate.set()
    wait([write, express, query], PATIENCE_S)
    assert encoder.seen()[:3] == ["aaaa", "held", "last"]
    assert sorted(encoder.seen()) == ["aaaa", "bbbb", "cccc", "dddd", "held", "last"]
    assert sorted(encoder.prepared) == sorted(encoder.seen())


def test_an_import_goes_on_below_a_steady_stream_of_queries(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(queue=1000, batch_tokens=8)
    encoder.gate.clear()
    batcher.submit(["held"], lane="bulk")  # and with it the background
    assert encoder.running.wait(PATIENCE_S)
    encoder.meanwhile = lambda: threading.Event().wait(0.002)  # what a batch takes
    queries = [batcher.submit([f"q{number:07}"], lane="query") for number in range(400)]
    assert result(batcher.submit(["q import"], lane="bulk")).tokens == [8]
    assert not all(query.done() for query in queries)


def test_a_small_job_waits_for_two_rounds_of_a_large_one_of_its_lane_at_most(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(queue=1000, batch_tokens=8)
    encoder.gate.clear()
    large = batcher.submit([f"{number:08}" for number in range(300)])
    assert encoder.running.wait(PATIENCE_S)
    small = batcher.submit(["small"])
    encoder.gate.set()
    wait([large, small], PATIENCE_S)
    # A round is four batches in characters a token; the first is drawn already.
    assert encoder.seen().index("small") <= 2 * ROUND_BATCHES["write"] * CHARS_PER_TOKEN


def test_equal_texts_that_wait_or_run_are_run_once_whatever_their_lanes(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    held = hold(encoder, batcher)
    futures = [
        batcher.submit(["held"]),  # runs
        batcher.submit(["waits", "other"], lane="bulk"),
        batcher.submit(["waits"], lane="write"),
    ]
    encoder.gate.set()
    assert [result(one).tokens for one in [held, *futures]] == [[4], [4], [5, 5], [5]]
    assert sorted(encoder.seen()) == ["held", "other", "waits"]
    assert batcher.statistics().spared["coalesced"] == 2


def test_what_an_import_waits_for_goes_with_the_query_that_wants_it_too(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    hold(encoder, batcher)
    bulk = batcher.submit(["q", "rest"], lane="bulk")
    assert result(batcher.submit(["q"], lane="query")).tokens == [1]
    assert not bulk.done()
    encoder.gate.set()
    assert result(bulk).tokens == [1, 4]
    assert sorted(encoder.seen()) == ["held", "q", "rest"]


def test_what_is_prepared_for_an_import_goes_with_the_query_that_wants_it_too(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(batch_tokens=4)
    encoder.gate.clear()
    bulk = batcher.submit(["aaaa", "bbbb", "qqqq"], lane="bulk")
    assert encoder.running.wait(PATIENCE_S)
    assert result(batcher.submit(["qqqq"], lane="query")).tokens == [4]
    encoder.gate.set()
    assert result(bulk).tokens == [4, 4, 4]
    assert sorted(encoder.seen()) == sorted(encoder.prepared) == ["aaaa", "bbbb", "qqqq"]


def test_batches_get_as_short_as_a_slow_machine_demands(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(queue=1000, batch_tokens=1000)

    def compute() -> None:
        until_s = time.thread_time() + 2 * STEP_S
        while time.thread_time() < until_s:
            pass

    encoder.meanwhile = compute
    result(batcher.submit(["a" * 100]))
    result(batcher.submit([f"{number:08}" for number in range(20)]))
    assert max(encoder.lengths()[1:]) <= LEAST_BATCH_TOKENS


def test_batches_stay_as_long_where_other_programs_have_the_cores(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(queue=1000, batch_tokens=1000)
    encoder.meanwhile = lambda: threading.Event().wait(2 * STEP_S)
    result(batcher.submit(["a" * 100]))
    result(batcher.submit([f"{number:08}" for number in range(100)]))
    assert max(encoder.lengths()[1:]) > LEAST_BATCH_TOKENS


def test_batches_of_a_fast_machine_use_the_whole_budget(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(queue=1000, batch_tokens=400)
    result(batcher.submit(["warm up, with enough letters to tell how fast it is"]))
    result(batcher.submit([f"{number:08}" for number in range(100)]))
    assert max(encoder.lengths()) == 400


def test_a_short_round_is_shared_by_the_workers(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    encoder.parallel = 2
    batcher = open_batcher(batch_tokens=400)
    result(batcher.submit(["a" * 70, "b" * 70]))
    assert encoder.lengths() == [70, 70]


@pytest.mark.parametrize("lane", LANES)
def test_as_many_batches_run_at_once_as_the_encoder_wants(
    encoder: SpellingEncoder, open_batcher: Open, lane: LaneName
) -> None:
    encoder.parallel = 2
    batcher = open_batcher(batch_tokens=100)
    together = threading.Barrier(2)
    encoder.meanwhile = lambda: together.wait(PATIENCE_S)
    encoded = result(batcher.submit(["a" * 90, "b" * 90, "c" * 90, "d" * 90], lane=lane))
    assert encoded.tokens == [90] * 4


def test_each_lane_has_room_of_its_own(encoder: SpellingEncoder, open_batcher: Open) -> None:
    batcher = open_batcher(queue=2)
    hold(encoder, batcher)
    futures = [batcher.submit(["a", "b"], lane="bulk"), batcher.submit(["c", "d"], lane="write")]
    with pytest.raises(Overloaded):
        batcher.submit(["e"], lane="bulk")
    assert result(batcher.submit(["q"], lane="query")).tokens == [1]
    encoder.gate.set()
    wait(futures, PATIENCE_S)


def test_the_queue_is_bounded_in_characters_too(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher(queue_chars=10)
    hold(encoder, batcher)
    first = batcher.submit(["a" * 8])
    with pytest.raises(Overloaded, match="8 characters wait for spelling and at most 10 may"):
        batcher.submit(["b" * 8])
    encoder.gate.set()
    assert result(first).tokens == [8]


def test_what_is_cancelled_makes_room_at_once(encoder: SpellingEncoder, open_batcher: Open) -> None:
    batcher = open_batcher(queue=2)
    hold(encoder, batcher)
    assert batcher.submit(["a", "b"]).cancel()
    assert batcher.statistics().waiting["write"] == 0
    kept = batcher.submit(["c", "d"])
    encoder.gate.set()
    assert result(kept).tokens == [1, 1]
    assert encoder.seen() == ["held", "c", "d"]
    assert batcher.statistics().spared["cancelled"] == 2


def test_who_cancels_leaves_equal_texts_to_the_others(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    hold(encoder, batcher)
    first, second = batcher.submit(["same"]), batcher.submit(["same"])
    assert first.cancel()
    encoder.gate.set()
    assert result(second).tokens == [4]


def test_what_is_late_is_not_run(encoder: SpellingEncoder, open_batcher: Open) -> None:
    batcher = open_batcher()
    hold(encoder, batcher)
    late = batcher.submit(["late"], due=time.monotonic())
    kept = batcher.submit(["kept"], due=time.monotonic() + PATIENCE_S)
    encoder.gate.set()
    assert isinstance(late.exception(PATIENCE_S), DeadlineExceeded)
    assert result(kept).tokens == [4]
    assert encoder.seen() == ["held", "kept"]
    assert batcher.statistics().spared["expired"] == 1


def test_waits_are_told_by_lane(encoder: SpellingEncoder, open_batcher: Open) -> None:
    batcher = open_batcher()
    result(batcher.submit(["q"], lane="query"))
    result(batcher.submit(["a", "b"], lane="bulk"))
    waits = batcher.statistics().waits
    assert {lane: one.count for lane, one in waits.items()} == {"query": 1, "write": 0, "bulk": 1}


def test_close_fails_what_waits_even_while_a_batch_never_ends(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    held = hold(encoder, batcher)
    rest = batcher.submit(["rest"])
    closing = threading.Thread(target=batcher.close, args=[0])
    closing.start()
    assert isinstance(rest.exception(PATIENCE_S), ShuttingDown)
    encoder.gate.set()
    closing.join(PATIENCE_S)
    assert held.result(0).tokens == [4]


def test_nothing_of_a_job_is_kept_when_it_is_over(
    encoder: SpellingEncoder, open_batcher: Open
) -> None:
    batcher = open_batcher()
    hold(encoder, batcher)
    futures = [batcher.submit(["done"]), batcher.submit(["!"]), batcher.submit(["cancelled"])]
    futures[2].cancel()
    kept = [weakref.ref(future) for future in futures]
    encoder.gate.set()
    wait(futures, PATIENCE_S)
    result(batcher.submit(["next"]))
    gc.collect()
    gc.disable()
    try:
        del futures
        assert not any(one() for one in kept)
    finally:
        gc.enable()


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


@pytest.mark.skipif(sys.platform != "linux", reason="nice values of threads are Linux's")
def test_only_what_encodes_imports_steps_back(encoder: SpellingEncoder, open_batcher: Open) -> None:
    batcher = open_batcher(niceness=3)
    found: list[int] = []

    def note() -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    encoder.meanwhile = note
    for lane in LANES:
        result(batcher.submit(["a"], lane=lane))
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert found == [own, own, min(19, own + 3)]
