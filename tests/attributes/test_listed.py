"""Many values in an index's order, and the kernels that put them there."""

from __future__ import annotations

import zlib
from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from app.attributes.listed import Listed
from app.kernels import texts
from tests.attributes.strategies import TWINS, numbers

strings = st.sets(st.text(max_size=20) | st.sampled_from(TWINS), max_size=40)


def packed(listed: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    bounds = np.zeros(len(listed) + 1, np.uint64)
    bounds[1:] = np.cumsum([len(one) for one in listed])
    return np.frombuffer(b"".join(listed), np.uint8), bounds


@given(st.lists(st.binary(max_size=40), max_size=20), st.randoms(use_true_random=False))
def test_the_kernels_agree_with_the_standard_library(listed: list[bytes], random: object) -> None:
    text, bounds = packed(listed)
    assert texts.crc32s(text, bounds).tolist() == [zlib.crc32(one) for one in listed]
    order = sorted(range(len(listed)), key=lambda number: listed[number][::-1])
    moved = texts.reordered(text, bounds, np.array(order, np.int64))
    assert moved.tobytes() == b"".join(listed[number] for number in order)


@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=20))
@example([(b"same", b"same"), (b"", b""), (b"a", b"b"), (b"a", b"aa"), (b"\0", b"")])
def test_equal_texts_are_equal_in_every_byte(pairs: list[tuple[bytes, bytes]]) -> None:
    (one, starts), (two, others) = packed([a for a, _ in pairs]), packed([b for _, b in pairs])
    found = texts.equal(one, starts[:-1], starts[1:], two, others[:-1], others[1:])
    assert found.tolist() == [a == b for a, b in pairs]


@given(strings, st.sets(numbers))
@example({*TWINS, "é", ""}, {0.5, 1, 2**63 - 1, 2.0**64})
def test_values_stand_in_the_order_of_an_index(words: set[str], given: set[float]) -> None:
    listed = Listed(frozenset(words), frozenset(given))
    bounds = listed.bounds.tolist()
    found = [listed.text[start:end].tobytes() for start, end in pairwise(bounds)]
    assert found == sorted((w.encode() for w in words), key=lambda b: (zlib.crc32(b), b))
    assert listed.hashes.tolist() == [zlib.crc32(one) for one in found]
    assert listed.ints.tolist() == sorted(n for n in given if isinstance(n, int))
    assert listed.floats.tolist() == sorted(n for n in given if isinstance(n, float))


@given(strings, st.sets(numbers), strings, st.sets(numbers))
@example({"ab", "c"}, set(), {"a", "bc"}, set())
@example(set(), {4607182418800017408}, set(), {1.5})
@example({"\0" * 8}, set(), set(), {0})
def test_a_digest_names_the_values_and_nothing_else(
    words: set[str], given: set[float], others: set[str], more: set[float]
) -> None:
    one = Listed(words, given)
    assert one.digest() == Listed(sorted(words, reverse=True), sorted(given)).digest()
    kinds = {(type(number), number) for number in given}
    same = words == others and kinds == {(type(number), number) for number in more}
    assert (one.digest() == Listed(others, more).digest()) == same
