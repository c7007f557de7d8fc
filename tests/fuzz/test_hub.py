"""What a hub answers is believed only in the shape of a hub's answer."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.encoders.hub.answers import (
    HubError,
    HubFile,
    completed,
    length_of,
    part_of,
    refusal,
    repository_from_json,
)

from .cases import EXAMPLES

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("a/../b")
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
entries = st.fixed_dictionaries(
    {"rfilename": st.one_of(st.text(max_size=8), anything)},
    optional={
        "size": anything,
        "blobId": anything,
        "lfs": st.one_of(anything, st.fixed_dictionaries({"size": anything, "sha256": anything})),
    },
)
answers = st.one_of(
    anything,
    st.fixed_dictionaries(
        {
            "siblings": st.one_of(st.lists(entries, max_size=4), anything),
            "sha": st.one_of(st.just("abc1"), st.text(max_size=14), anything),
        },
        optional={"cardData": anything, "createdAt": anything},
    ),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(answers)
def test_a_description_names_files_inside_of_its_folder_or_is_none(body: object) -> None:
    try:
        found = repository_from_json("some/model", body)
    except ValueError:
        return
    # The commit is part of a folder's name, the paths are below it.
    assert found.commit.isalnum()
    assert found.commit.isascii()
    for file in found.files:
        assert ".." not in file.path
        assert not file.path.startswith("/")
        assert "\0" not in file.path


numbers = st.one_of(
    st.integers(-5, 1 << 70).map(str),
    st.text(st.characters(codec="latin-1"), max_size=6),
    st.just("²"),
    st.just("9" * 5000),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(numbers, numbers, st.integers(200, 599))
def test_no_header_of_a_hub_is_more_than_a_number(one: str, other: str, status: int) -> None:
    headers = {
        "content-length": one,
        "content-range": f"bytes {one}-{one}/{other}",
        "retry-after": one,
        "x-linked-size": other,
        "etag": one,
    }
    response = httpx.Response(
        status,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    )
    assert length_of(response) < 10**18
    assert completed(HubFile("a"), response).size_bytes < 10**18
    assert isinstance(refusal(response, "a"), HubError)
    try:
        begin, whole = part_of(response, "a")
    except HubError:
        return
    assert 0 <= begin < 10**18
    assert whole < 10**18


@pytest.mark.parametrize("commit", ["", "/../../../x", "..", "a" * 65, "a/b", "ä", 7, None])
def test_a_commit_that_would_lead_out_of_its_folder_is_none(commit: object) -> None:
    with pytest.raises(ValueError, match=r"commit|shape"):
        repository_from_json("some/model", {"siblings": [], "sha": commit})
