"""Files of points through the SDK: cut, sent, sent again; fetched, broken off, picked up."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from likewise import InvalidRequestError, Point, Retries, TransportError
from likewise import _flows as flows
from likewise._errors import LikewiseError
from likewise._flows import Outcome, Session, Sleep
from likewise._lines import Lines, opened_target, pieces
from likewise._requests import Request, Response

BROKEN = TransportError("it broke")


# ── cutting ──────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.text("ab\r ", max_size=9), max_size=20),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(1, 9),
)
def test_pieces_are_the_lines_of_the_source_in_order(
    lines: list[str], most_lines: int, most_bytes: int, from_line: int
) -> None:
    found = list(pieces(lines, from_line=from_line, most_lines=most_lines, most_bytes=most_bytes))
    wanted = [line.encode() for line in lines[from_line - 1 :]]
    assert b"".join(piece.body for piece in found) == b"".join(line + b"\n" for line in wanted)
    at = from_line
    for piece in found:
        assert (piece.first, piece.body.count(b"\n")) == (at, piece.lines)
        assert piece.lines == 1 or (piece.lines <= most_lines and len(piece.body) <= most_bytes)
        at += piece.lines


def test_a_source_is_a_path_a_file_lines_or_points(tmp_path: Path) -> None:
    body = b'{"id":1}\n{"id":2}'
    path, packed = tmp_path / "points.ndjson", tmp_path / "packed"
    path.write_bytes(body)
    packed.write_bytes(gzip.compress(body))
    sources: list[Any] = [
        path,
        str(path),
        packed,
        io.BytesIO(body),
        io.BytesIO(gzip.compress(body)),
        body.decode().splitlines(),
        iter(body.splitlines(keepends=True)),
        [Point(1), {"id": 2}],
    ]
    for source in sources:
        (piece,) = pieces(source, from_line=1, most_lines=9, most_bytes=99)
        assert (piece.lines, piece.body) == (2, body + b"\n")
    for wrong in (Point(1), {"id": 1}, b"{}", io.StringIO("")):
        with pytest.raises(TypeError):
            list(pieces(wrong, from_line=1, most_lines=9, most_bytes=99))  # type: ignore[arg-type]


# ── sending ──────────────────────────────────────────────────────────────────────────────────


def play(flow: Any, outcomes: Iterable[Response | TransportError]) -> tuple[list[Request], Any]:
    """The requests of a flow and its result or error; an outcome may be a function of a request."""
    asked: list[Request] = []
    waiting: Iterator[Any] = iter(outcomes)
    outcome: Outcome = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as done:
            return asked, done.value
        except LikewiseError as error:
            return asked, error
        if isinstance(step, Sleep):
            outcome = None
            continue
        asked.append(step)
        found = next(waiting)
        outcome = found(step) if callable(found) else found


def told(state: str, next_line: int, upserted: int, **more: Any) -> Response:
    last = {"state": state, "next_line": next_line, "upserted": upserted, "failed": 0, "blank": 0}
    return Response(200, {}, b'{"state":"running"}\n' + json.dumps(last | more).encode() + b"\n")


def problem(code: str, status: int, **context: int) -> dict[str, Any]:
    return {
        "type": f"urn:likewise:problem:{code}",
        "title": "T",
        "detail": "D",
        "status": status,
        "context": context,
    }


def importing(lines: int, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Any:
    monkeypatch.setattr(flows, "PIECE_LINES", 3)
    chosen = {"on_error": "stop", "from_line": 1, "progress": None} | more
    source = [f'{{"id":{n}}}' for n in range(1, lines + 1)]
    session = Session(Retries(attempts=2), jitter=random.Random(0).random)
    return flows.import_lines(session, "c", source, **chosen)


def test_counts_and_bad_lines_add_up_over_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fault = {"line": 2, "code": "c", "detail": "d", "pointer": "/id"}
    asked, report = play(
        importing(5, monkeypatch, on_error="skip", progress=lambda r: seen.append(r.next_line)),
        [
            told("done", 4, 2, failed=1, errors=[fault]),
            told("done", 3, 1, failed=1, errors=[fault]),
        ],
    )
    assert {request.path for request in asked} == {"/v1/collections/c/points:import?on_error=skip"}
    assert (report.next_line, report.upserted, report.failed) == (6, 3, 2)
    assert [error.line for error in report.errors] == [2, 5]
    assert seen == [4, 6]


def test_a_piece_that_broke_or_was_refused_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    overloaded = told("failed", 2, 1, problem=problem("overloaded", 429))
    asked, report = play(
        importing(5, monkeypatch), [told("done", 4, 3), BROKEN, overloaded, told("done", 3, 2)]
    )
    assert [request.content for request in asked[1:]] == [b'{"id":4}\n{"id":5}\n'] * 3
    assert report.upserted == 5


def test_an_error_says_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = problem("invalid-id", 422, line=2, next_line=2, upserted=1)
    for answer in (
        Response(422, {}, json.dumps(bad).encode()),
        told("failed", 2, 1, problem=bad),
    ):
        _, error = play(importing(5, monkeypatch, from_line=2), [told("done", 4, 3), answer])
        assert isinstance(error, InvalidRequestError)
        assert (error.context["line"], error.next_line, error.points_written) == (6, 6, 4)
    _, error = play(importing(5, monkeypatch), [told("done", 4, 3), *[BROKEN] * 3])
    assert isinstance(error, TransportError)
    assert (error.next_line, error.points_written) == (4, 3)


# ── fetching ─────────────────────────────────────────────────────────────────────────────────

WHOLE = b"".join(b'{"id":%d}\n' % n for n in range(100, 130))


@given(st.lists(st.integers(0, len(WHOLE)), max_size=5), st.integers(1, 50))
def test_an_export_that_breaks_anywhere_goes_on_after_its_last_whole_line(
    breaks: list[int], size: int
) -> None:
    def broken_after(kept: int) -> Any:
        def answer(request: Request) -> Response | TransportError:
            after = json.loads(request.content or b"").get("after", 99)
            rest = WHOLE[len(b'{"id":100}\n') * (after - 99) :]
            sent = rest[:kept] if kept >= 0 else rest
            assert request.sink is not None
            for at in range(0, len(sent), size):
                request.sink(sent[at : at + size])
            return Response(200, {}, b"") if kept < 0 else BROKEN

        return answer

    file = io.BytesIO()
    flow = flows.export(
        Session(Retries(attempts=9)), "c", file.write, filter=None, with_text=True,
        with_vectors=True, progress=None,
    )  # fmt: skip
    _, count = play(flow, [*map(broken_after, breaks), broken_after(-1)])
    assert (count, file.getvalue()) == (30, WHOLE)


def test_an_export_that_does_not_move_is_given_up() -> None:
    flow = flows.export(
        Session(Retries(attempts=2)), "c", io.BytesIO().write, filter=None, with_text=True,
        with_vectors=True, progress=None,
    )  # fmt: skip
    asked, error = play(flow, [BROKEN] * 3)
    assert (len(asked), error) == (3, BROKEN)


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    for name in ("points.ndjson", "points.ndjson.gz"):
        path = tmp_path / name
        with pytest.raises(TypeError), opened_target(path) as write:
            write("half")
        assert list(tmp_path.iterdir()) == []
        with opened_target(str(path)) as write:
            write(b"whole")
        content = path.read_bytes()
        assert (gzip.decompress(content) if name.endswith("gz") else content) == b"whole"
        path.unlink()


def test_lines_hold_back_the_one_that_is_not_whole() -> None:
    file = io.BytesIO()
    lines = Lines(file.write)
    lines.feed(b'{"id":1}\n{"i')
    lines.feed(b'd":2')
    assert (file.getvalue(), lines.count) == (b'{"id":1}\n', 1)
    with pytest.raises(ValueError, match="no end"):
        lines.end()
    assert lines.cut() == 1
    lines.end()
