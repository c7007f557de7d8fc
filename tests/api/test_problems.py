from __future__ import annotations

import inspect
import json

import pytest

from app import errors
from app.api.problems import STATUS, response_to
from app.errors import LikewiseError

TREE = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, LikewiseError)
]
LEAVES = [kind for kind in TREE if not kind.__subclasses__()]


def example(kind: type[LikewiseError]) -> LikewiseError:
    if kind is errors.DimensionMismatch:
        return errors.DimensionMismatch(expected=3, received=2, pointer="/vector")
    if kind is errors.CollectionNotFound:
        return errors.CollectionNotFound("a")
    return kind("what was expected", pointer="/a", limit=3)


def test_every_error_class_has_a_row_in_the_table_and_no_row_is_left_over() -> None:
    assert set(STATUS) == set(TREE)


def test_every_leaf_has_a_code_and_a_title_of_its_own() -> None:
    for attribute in ("code", "title"):
        values = [getattr(kind, attribute) for kind in LEAVES]
        assert len(set(values)) == len(values)


def test_the_first_fork_of_the_tree_decides_the_hundreds() -> None:
    for kind in TREE:
        ours = issubclass(kind, (errors.ServerFault, errors.Unavailable)) or kind is LikewiseError
        busy = kind is errors.Overloaded
        assert STATUS[kind] // 100 == (5 if ours and not busy else 4), kind


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_a_problem_document_says_what_the_error_says(kind: type[LikewiseError]) -> None:
    error = example(kind)
    response = response_to(error)
    problem = json.loads(bytes(response.body))
    assert response.status_code == problem["status"] == STATUS[kind]
    assert response.media_type == "application/problem+json"
    assert problem["type"] == f"urn:likewise:problem:{kind.code}"
    assert (problem["title"], problem["detail"]) == (kind.title, error.detail)
    assert problem.get("pointer") == error.pointer
    assert problem.get("context", {}) == error.context


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_whatever_may_succeed_later_says_when_to_try(kind: type[LikewiseError]) -> None:
    header = response_to(example(kind)).headers.get("retry-after")
    if STATUS[kind] in (429, 503, 507):
        assert header is not None
        assert int(header) >= 1
    else:
        assert header is None


def test_integers_of_any_size_can_be_context() -> None:
    problem = json.loads(bytes(response_to(LikewiseError("x", huge=10**30, small=-1)).body))
    assert problem["context"] == {"huge": str(10**30), "small": -1}
