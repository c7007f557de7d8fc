"""`likewise snapshot …`: the snapshots of a running service, over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from app.cli.asking import HERE, Key, Url, asking, in_path, refused, using, words_for

snapshot_cli = typer.Typer(
    help="Snapshots of collections, in a running service.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The snapshot's name.")]

_PIECE = 1 << 20
# Taking, verifying and restoring last as long as the collection is large: only connecting may not.
_TIMEOUT = httpx.Timeout(None, connect=5.0)


@snapshot_cli.command()
def create(
    collection: Annotated[str, typer.Argument(help="The collection's name.")],
    name: Annotated[str | None, typer.Option(help="Default: the collection and the time.")] = None,
    url: Url = HERE,
    api_key: Key = None,
) -> None:
    """Take a snapshot of a collection, while it is in use."""
    with asking(url, api_key, _TIMEOUT) as service:
        body = {} if name is None else {"name": name}
        path = f"/v1/collections/{in_path(collection)}/snapshots"
        taken = _json(service.post(path, json=body))
    typer.echo(f"{taken['name']}: {taken['points']} points, {taken['size']} bytes")


@snapshot_cli.command("list")
def list_snapshots(url: Url = HERE, api_key: Key = None) -> None:
    """List the snapshots that the service keeps."""
    with asking(url, api_key, _TIMEOUT) as service:
        found = _json(service.get("/v1/snapshots"))["snapshots"]
    columns = ("name", "collection", "points", "size", "created_at", "sha256")
    rows = [columns, *(tuple(str(snapshot[column]) for column in columns) for snapshot in found)]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:  # not a table of rich's: it cuts a digest to the width of a terminal
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


@snapshot_cli.command()
def download(
    name: Name,
    to: Annotated[Path | None, typer.Option(help="Default: <name>.snapshot, here.")] = None,
    url: Url = HERE,
    api_key: Key = None,
) -> None:
    """Copy a snapshot from the service into a file, verified."""
    target = to or Path(f"{name}.snapshot")
    if target.exists():
        raise refused(f"{target} exists")
    partial = target.with_name(target.name + ".part")
    digest = hashlib.sha256()
    with asking(url, api_key, _TIMEOUT) as service, using(target):
        try:
            with service.stream("GET", _path(name, "/file")) as response:
                if response.status_code != 200:
                    response.read()
                    _json(response)
                total = int(response.headers["content-length"])
                with partial.open("wb") as file, _bar(target.name, total) as advance:
                    for piece in response.iter_bytes(_PIECE):
                        file.write(piece)
                        digest.update(piece)
                        advance(len(piece))
            if response.headers["etag"] != f'"{digest.hexdigest()}"':
                raise refused("the file arrived with another SHA-256 than the service said")
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    typer.echo(f"{target}: {digest.hexdigest()}")


@snapshot_cli.command()
def upload(
    file: Annotated[Path, typer.Argument(help="A snapshot's file.")],
    name: Annotated[str | None, typer.Option(help="Default: the file's, without suffix.")] = None,
    url: Url = HERE,
    api_key: Key = None,
) -> None:
    """Copy a snapshot from a file into the service, which verifies it."""
    wanted = name or file.name.removesuffix(".snapshot")
    digest = hashlib.sha256()
    with using(file), file.open("rb") as read:
        while piece := read.read(_PIECE):
            digest.update(piece)
        size = read.tell()
    with asking(url, api_key, _TIMEOUT) as service, _bar(file.name, size) as advance:

        def pieces() -> Iterator[bytes]:
            with file.open("rb") as read:
                while piece := read.read(_PIECE):
                    yield piece
                    advance(len(piece))

        headers = {
            "content-type": "application/octet-stream",
            "content-length": str(size),
            "x-content-sha256": digest.hexdigest(),
        }
        kept = _json(service.put(_path(wanted, "/file"), content=pieces(), headers=headers))
    typer.echo(f"{kept['name']}: {kept['points']} points, {kept['size']} bytes")


@snapshot_cli.command()
def restore(
    name: Name,
    collection: Annotated[
        str | None, typer.Option(help="Default: the one that the snapshot was taken of.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a collection of that name.")
    ] = False,
    url: Url = HERE,
    api_key: Key = None,
) -> None:
    """Make a collection of a snapshot."""
    body: dict[str, Any] = {"replace": replace}
    if collection is not None:
        body["collection"] = collection
    with asking(url, api_key, _TIMEOUT) as service:
        made = _json(service.post(_path(name, "/restore"), json=body))
    typer.echo(f"{made['name']}: {made['points']} points")


@snapshot_cli.command()
def delete(name: Name, url: Url = HERE, api_key: Key = None) -> None:
    """Remove a snapshot from the service."""
    with asking(url, api_key, _TIMEOUT) as service:
        _json(service.delete(_path(name)))
    typer.echo(f"{name}: deleted")


@contextmanager
def _bar(what: str, total: int) -> Iterator[Any]:
    """Show progress on standard error; lends the function that advances it by bytes."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(what, total=total)
        yield lambda size: shown.advance(task, size)


def _json(response: httpx.Response) -> Any:
    """Read an answer; end the command with what a problem document says."""
    if response.is_success:
        return response.json() if response.content else None
    try:
        problem = response.json()
    except ValueError:
        problem = None
    raise refused(words_for(problem, response.status_code))


def _path(name: str, suffix: str = "") -> str:
    return f"/v1/snapshots/{in_path(name)}{suffix}"
