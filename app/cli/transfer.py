"""`likewise import` and `likewise export`: points between a running service and a file.

A file is sent in pieces, each an import of its own: when a connection breaks, or the service is
overloaded or restarted, one piece is sent again, which changes nothing that it had written.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any, NamedTuple

import httpx
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from app.cli.asking import HERE, Key, Url, asking, in_path, say, using, words_for

Collection = Annotated[str, typer.Option(help="The collection's name.")]

_LINES = "application/x-ndjson"
_PIECE_BYTES, _PIECE_LINES = 8 << 20, 5_000
# Progress comes at least every ten seconds, also while a piece waits for its encoder.
_TIMEOUT = httpx.Timeout(120.0, connect=5.0)
_WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_LATER = {429, 502, 503, 504}
_SHOWN_FAULTS = 20


class _Piece(NamedTuple):
    """Whole lines, the number of the first, and how far into the file they end."""

    first: int
    lines: list[bytes]
    read_bytes: int


class _Failed(Exception):
    """What a request came to; `later` says whether it may come to something else later."""

    def __init__(self, detail: str, *, later: bool, context: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.later = later
        self.context = context or {}


def import_points(
    file: Annotated[Path, typer.Argument(help="One point a line of JSON, also gzip; - is stdin.")],
    collection: Collection,
    on_error: Annotated[str, typer.Option(help="What to do at a bad line: stop or skip.")] = "stop",
    from_line: Annotated[int, typer.Option(help="First line to import.", min=1)] = 1,
    url: Url = HERE,
    api_key: Key = None,
) -> None:
    """Write the points of a file into a collection, batch by batch."""
    if on_error not in ("stop", "skip"):
        raise typer.BadParameter("expected stop or skip", param_hint="--on-error")
    path = f"{_points(collection)}:import?on_error={on_error}"
    upserted = failed = shown = 0
    next_line = from_line
    with _opened(file) as raw, asking(url, api_key, _TIMEOUT) as service, _bar("lines") as bar:
        service.get("/healthz")  # nobody there: said at once, not after all the waits
        total = None if raw is sys.stdin.buffer else file.stat().st_size
        task = bar.add_task(file.name, total=total, lines=0)
        for piece in _pieces(raw, from_line):
            body = b"".join(piece.lines)
            try:
                part = _patiently(partial(_sent, service, path, body))
            except _Failed as error:
                upserted += int(error.context.get("upserted", 0))
                bad = error.context.get("line")
                at = piece.first - 1 + int(error.context.get("next_line", 1))
                where = "" if bad is None else f"line {piece.first - 1 + int(bad)}: "
                bar.stop()
                say(f"{where}{error.detail}")
                if at > from_line:
                    say(f"{upserted} lines were written; go on with --from-line {at}")
                raise typer.Exit(1) from None
            upserted += part["upserted"]
            failed += part["failed"]
            next_line = piece.first + len(piece.lines)
            for fault in part["errors"]:
                shown += 1
                if shown <= _SHOWN_FAULTS:
                    line = piece.first - 1 + fault["line"]
                    say(f"line {line} left out: {fault['detail']} [{fault['code']}]")
            bar.update(task, completed=piece.read_bytes, lines=next_line - 1)
    typer.echo(f"{collection}: {upserted} lines written, {failed} left out")


def export_points(
    file: Annotated[Path, typer.Argument(help="Where to; gzip if it ends in .gz; - is stdout.")],
    collection: Collection,
    filter: Annotated[str | None, typer.Option(help="A filter as JSON.")] = None,
    with_vectors: Annotated[
        bool, typer.Option(help="Without them, texts are encoded again on import.")
    ] = True,
    url: Url = HERE,
    api_key: Key = None,
) -> None:
    """Write the points of a collection into a file, one a line, in the order of their ids."""
    wanted: dict[str, Any] = {"with_vectors": with_vectors}
    if filter is not None:
        try:
            wanted["filter"] = json.loads(filter)
        except ValueError:
            raise typer.BadParameter("expected JSON", param_hint="--filter") from None
    with asking(url, api_key, _TIMEOUT) as service, _bar("points") as bar:
        counted = {"filter": wanted.get("filter")}
        try:
            total = _json(service.post(f"{_points(collection)}/count", json=counted))["count"]
            task = bar.add_task(file.name, total=total)
            with _target(file) as write:
                lines = _Lines(write, lambda count: bar.update(task, completed=count))
                while not _patiently(lambda: _fetched(service, collection, wanted, lines)):
                    pass
        except _Failed as error:
            bar.stop()
            say(error.detail)
            raise typer.Exit(1) from None
    if str(file) != "-":
        typer.echo(f"{file}: {lines.count} points")


class _Lines:
    """Passes whole lines on, and knows the last: where to go on when an export breaks."""

    def __init__(self, write: Callable[[bytes], object], tell: Callable[[int], object]) -> None:
        self.count = 0
        self.last: Any = None
        self._write = write
        self._tell = tell
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take bytes as they come."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if whole:
            self._write(b"\n".join(whole) + b"\n")
            self.last = json.loads(whole[-1])["id"]
            self.count += len(whole)
            self._tell(self.count)

    def cut(self) -> None:
        """Forget the line that broke off."""
        self._rest = b""


def _fetched(service: httpx.Client, collection: str, wanted: dict[str, Any], lines: _Lines) -> bool:
    """Fetch what is still missing; False if it broke off after some of it. Raises _Failed."""
    before = lines.count
    body = wanted if lines.last is None else wanted | {"after": lines.last}
    try:
        with service.stream("POST", f"{_points(collection)}:export", json=body) as response:
            if not response.is_success:
                response.read()
                _json(response)
            for data in response.iter_bytes():
                lines.feed(data)
    except httpx.TransportError as error:
        lines.cut()
        if lines.count > before:
            return False
        raise _Failed(f"the connection broke: {error}", later=True) from None
    return True


def _sent(service: httpx.Client, path: str, body: bytes) -> Any:
    """Send one piece. Raises _Failed."""
    headers = {"content-type": _LINES, "accept": _LINES}
    try:
        response = service.post(path, content=body, headers=headers)
    except httpx.TransportError as error:
        raise _Failed(f"the connection broke: {error}", later=True) from None
    if not response.is_success:
        _json(response)
    last = json.loads(response.content.splitlines()[-1])
    if last["state"] == "failed":
        raise _failed(last["problem"], last["problem"]["status"])
    return last


def _patiently(work: Callable[[], Any]) -> Any:
    """Do work again after failures that pass. Raises the last _Failed."""
    for wait_s in _WAITS_S:
        try:
            return work()
        except _Failed as error:
            if not error.later:
                raise
        time.sleep(wait_s)
    return work()


def _json(response: httpx.Response) -> Any:
    """Read an answer. Raises _Failed with what a problem document says."""
    if response.is_success:
        return response.json()
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    raise _failed(problem, response.status_code)


def _failed(problem: dict[str, Any], status: int) -> _Failed:
    return _Failed(
        words_for(problem, status), later=status in _LATER, context=problem.get("context")
    )


def _pieces(raw: IO[bytes], from_line: int) -> Iterator[_Piece]:
    """Cut a file, plain or gzip, into pieces of whole lines."""
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[type-var]  # stdin's buffer is one
    packed = buffered.peek(2)[:2] == b"\x1f\x8b"
    lines: list[bytes] = []
    size, first, at = 0, from_line, 0
    for number, line in enumerate(gzip.GzipFile(fileobj=buffered) if packed else buffered, 1):
        at += 0 if packed else len(line)
        if number < from_line:
            continue
        lines.append(line)
        size += len(line)
        if size >= _PIECE_BYTES or len(lines) >= _PIECE_LINES:
            yield _Piece(first, lines, buffered.tell() if packed else at)
            lines, size, first = [], 0, number + 1
    if lines:
        yield _Piece(first, lines, buffered.tell() if packed else at)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    with using(file), file.open("rb") as opened:
        yield opened


@contextmanager
def _target(file: Path) -> Iterator[Callable[[bytes], object]]:
    """Lend a function that writes; a file appears when everything was written."""
    if str(file) == "-":
        yield sys.stdout.buffer.write
        return
    work = file.with_name(file.name + ".part")
    try:
        with using(file):
            with gzip.open(work, "wb") if file.suffix == ".gz" else work.open("wb") as opened:
                yield opened.write
            work.replace(file)
    finally:
        work.unlink(missing_ok=True)


def _bar(unit: str) -> Progress:
    done = MofNCompleteColumn() if unit == "points" else TextColumn("{task.fields[lines]} lines")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), done)
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))


def _points(collection: str) -> str:
    return f"/v1/collections/{in_path(collection)}/points"
