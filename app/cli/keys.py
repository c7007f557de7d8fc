"""`likewise keys …`: make, list and remove the API keys of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.access.grants import Grant, checked_name, checked_patterns, scopes_from_names
from app.access.keys import add_key, read_keys, remove_key
from app.config import WrongSetting, read_settings

cli = typer.Typer(help="API keys: make, list, remove.", no_args_is_help=True)

File = Annotated[Path | None, typer.Option(help="The key file; default: LIKEWISE_KEYS_FILE.")]


@cli.command("new")
def new(
    name: Annotated[str, typer.Option(help="Who gets it; the log shows this name.")],
    scope: Annotated[
        list[str], typer.Option(help="read, write, admin or metrics; may be repeated.")
    ],
    collections: Annotated[
        list[str] | None,
        typer.Option(help="Names it is for, with * and ?; may be repeated. Default: all."),
    ] = None,
    file: File = None,
) -> None:
    """Make a key, print it once, and append its digest to the file."""
    patterns = checked_patterns(collections) if collections else None
    grant = Grant(checked_name(name), scopes_from_names(scope), patterns)
    typer.echo(add_key(_chosen(file), grant))
    typer.echo("This is the only time that the key is shown.", err=True)


@cli.command("list")
def list_keys(file: File = None) -> None:
    """List the names of the keys and what they allow."""
    table = Table("name", "scopes", "collections", "created at", box=None)
    for key in read_keys(_chosen(file)):
        grant = key.grant
        scopes = " ".join(sorted(scope.value for scope in grant.scopes))
        names = "all" if grant.patterns is None else " ".join(grant.patterns)
        table.add_row(grant.name, scopes, names, key.created_at)
    Console().print(table)


@cli.command("remove")
def remove(name: Annotated[str, typer.Argument(help="The key's name.")], file: File = None) -> None:
    """Remove a key; a running service stops taking it within a second."""
    path = _chosen(file)
    remove_key(path, name)
    typer.echo(f"{name}: removed from {path}", err=True)


def _chosen(file: Path | None) -> Path:
    path = file or read_settings().keys_file
    if path is None:
        raise WrongSetting(["say which file: --file or LIKEWISE_KEYS_FILE"])
    return path
