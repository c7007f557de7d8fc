"""The forms of inputs, and the places that errors of inputs are blamed on."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.encoders.inputs import Input, Picture
from app.errors import InvalidText, LikewiseError, LimitExceeded
from app.service.checks import placed_input
from app.service.embedding import Inputs, read_inputs
from app.service.images import ImageInputs

IMAGES = ImageInputs(max_bytes=100, max_pixels=100, max_fetched=100, fetcher=None)
DOT = b"P5 1 1 255\n\0"


def read(raw: Any, limit: int = 10) -> Inputs:
    return read_inputs(raw, "/input", limit=limit, max_chars=20, images=IMAGES)


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
ids = st.lists(st.integers(0, 2**40), min_size=1, max_size=20)
forms: st.SearchStrategy[tuple[Any, Input]] = st.one_of(
    words.map(lambda text: (text, text)),
    ids.map(lambda tokens: (tokens, tuple(tokens))),
    words.map(lambda text: ({"text": text}, text)),
    st.just(({"image": base64.b64encode(DOT).decode()}, Picture(DOT))),
)


@given(st.lists(forms, min_size=1, max_size=10))
def test_every_form_is_read_wherever_it_stands_in_a_list(given_: list[tuple[Any, Input]]) -> None:
    found = read([form for form, _ in given_])
    assert found.values == [meant for _, meant in given_]
    assert found.pointers == [f"/input/{number}" for number in range(len(given_))]


@given(st.one_of(words, ids))
def test_a_text_and_a_list_of_ids_may_stand_alone(alone: Any) -> None:
    found = read(alone)
    assert found.values == [alone if isinstance(alone, str) else tuple(alone)]
    assert found.pointers == ["/input"]


def test_the_encoders_own_faults_are_blamed_where_the_input_stands() -> None:
    assert placed_input("/1", read(["a", "b"]).pointers.__getitem__) == "/input/1"
    assert placed_input("/1/0", read(["a", [1, 2]]).pointers.__getitem__) == "/input/1/0"
    assert placed_input("/0/1", read([1, 2]).pointers.__getitem__) == "/input/1"
    assert placed_input("/0", read("a").pointers.__getitem__) == "/input"
    assert placed_input(None, read("a").pointers.__getitem__) is None


@pytest.mark.parametrize(
    ("raw", "error", "pointer"),
    [
        (["a"] * 11, LimitExceeded, "/input"),
        ([[1] * 21], InvalidText, "/input/0"),
        (["a", "b" * 21], InvalidText, "/input/1"),
        ([1, 1.0], InvalidText, "/input/1"),
        ([[1], [None]], InvalidText, "/input/1/0"),
        ([None], InvalidText, "/input/0"),
        ([{}], InvalidText, "/input/0"),
        ([{"text": "a", "image": "b"}], InvalidText, "/input/0"),
        (1.5, InvalidText, "/input"),
    ],
)
def test_what_is_no_input_is_refused_at_its_place(
    raw: Any, error: type[LikewiseError], pointer: str
) -> None:
    with pytest.raises(error) as raised:
        read(raw)
    assert raised.value.pointer == pointer
