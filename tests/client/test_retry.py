"""Which failures are worth another try, and how long to wait before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from likewise import Retries
from likewise._requests import retry_after_from_headers
from likewise._retry import Failure, wait_before_retry

jitters = st.floats(0, 1, exclude_max=True)
REPEATED = [Failure.UNREACHED, Failure.REFUSED, Failure.BROKEN]


def _wait(failure: Failure, retries: Retries = Retries(), **given: object) -> float | None:  # noqa: B008
    settings = {"attempt": 0, "repeatable": True, "retry_after_s": None, "jitter": 0.5}
    return wait_before_retry(retries, failure, **{**settings, **given})  # type: ignore[arg-type]


@given(st.sampled_from(REPEATED), st.integers(0, 2000), st.floats(0, 60) | st.none(), jitters)
def test_a_wait_is_never_shorter_than_asked_nor_longer_than_allowed(
    failure: Failure, attempt: int, asked: float | None, jitter: float
) -> None:
    retries = Retries(attempts=5000, longest_wait_s=30)
    wait = _wait(failure, retries, attempt=attempt, retry_after_s=asked, jitter=jitter)
    if asked is not None and asked > 30:
        assert wait is None
    else:
        assert wait is not None
        assert (asked or 0) <= wait <= 30


@given(st.integers(0, 5), jitters)
def test_the_ceiling_doubles_and_the_wait_is_a_uniform_share_of_it(
    attempt: int, jitter: float
) -> None:
    retries = Retries(attempts=10, first_wait_s=0.5, longest_wait_s=100)
    wait = _wait(Failure.UNREACHED, retries, attempt=attempt, jitter=jitter)
    assert wait == pytest.approx(jitter * 0.5 * 2**attempt)


@pytest.mark.parametrize("failure", REPEATED)
def test_attempts_run_out(failure: Failure) -> None:
    retries = Retries(attempts=2)
    waits = [_wait(failure, retries, attempt=attempt) for attempt in range(4)]
    assert [wait is None for wait in waits] == [False, False, True, True]


def test_final_failures_are_never_repeated() -> None:
    assert _wait(Failure.FINAL) is None


def test_what_may_have_been_done_is_repeated_only_where_that_is_harmless() -> None:
    assert _wait(Failure.BROKEN, repeatable=False) is None
    assert _wait(Failure.UNREACHED, repeatable=False) is not None
    assert _wait(Failure.REFUSED, repeatable=False) is not None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "²"}, None),  # a digit to str.isdigit, not to HTTP
        (
            {
                "retry-after": "Wed, 21 Oct 2015 07:28:30 GMT",
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            30.0,
        ),
        (
            {
                "retry-after": "Wed, 21 Oct 2015 07:27:00 GMT",
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            0.0,
        ),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_from_headers(headers) == seconds
