"""What commands that talk to a running service share: address, key, words for failures."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import httpx
import typer

HERE = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(help="Where the service listens.")]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="LIKEWISE_API_KEY", show_envvar=True, help="A key or token; sent as a bearer token."
    ),
]


@contextmanager
def asking(url: str, api_key: str | None, timeout: httpx.Timeout) -> Iterator[httpx.Client]:
    """Lend a connection; what keeps it from working ends the command with one line."""
    headers = {}
    if key := (api_key or "").strip():
        if not (key.isascii() and key.isprintable()):  # httpx would show the header with it
            raise refused("a key is letters, digits and signs of ASCII in one line")
        headers = {"authorization": f"Bearer {key}"}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=timeout) as service:
            yield service
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise refused(f"the service at {url} cannot be asked: {reason}") from None


@contextmanager
def using(file: Path) -> Iterator[None]:
    """What keeps a file from being read or written ends the command with one line."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise refused(f"{file} cannot be used: {reason}") from None


def words_for(problem: object, status: int) -> str:
    """One line from a problem document, or from whatever else a refusal came with."""
    found = problem if isinstance(problem, dict) else {}
    detail = found.get("detail", "the service gave no reason")
    pointer = f" at {found['pointer']}" if found.get("pointer") else ""
    hint = "; --api-key or LIKEWISE_API_KEY gives it" if status == 401 else ""
    return f"{detail}{pointer}{hint} [{status}]"


def say(message: str) -> None:
    """Write one line to standard error."""
    typer.echo(f"likewise: {message}", err=True)


def refused(message: str) -> typer.Exit:
    """Say in one line what is the matter; to be raised."""
    say(message)
    return typer.Exit(1)


def in_path(name: str) -> str:
    """Write a name as a part of a path."""
    if not name.strip("."):  # it would name another endpoint
        raise refused("a name starts with a letter or a digit")
    return quote(name, safe="")
