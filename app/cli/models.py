"""`likewise models …`: the encoders in the models directory of this machine.

These commands work on the folder, with no service running or beside one. A service that runs finds
what was pulled, and lets go of what was removed once it is unloaded. Results go to standard output,
with `--json` as one JSON document; progress and what is to be known go to standard error. The exit
status is 1 if something is not as it should be.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from app.cli.asking import refused, say, using
from app.config import Settings, read_settings
from app.encoders.base import Progress as Told
from app.encoders.derived import cook, quantise_model
from app.encoders.hub.client import Hub
from app.encoders.hub.pull import WORKSHOP, pull
from app.encoders.manifest import FILE_NAME, read_manifest
from app.encoders.obtain import missing_files, needs_build
from app.encoders.registry import EncoderRegistry
from app.errors import LikewiseError
from app.evaluation.devset import read_devset
from app.types import NAME

cli = typer.Typer(help="Encoders: which there are, and how to get them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The encoder's name: its folder's.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Variant = Annotated[
    str | None, typer.Option(help="int8, fp32 or fp16; default: LIKEWISE_MODEL_VARIANT.")
]

Dev = Annotated[
    Path | None,
    typer.Option(help="JSON lines with s1, s2, score; or a folder in BEIR's layout."),
]

MOST_COMPARED = 2000
"""Texts of a fidelity report: the nearest ten of each are found among all of them."""


@cli.command("list")
def list_models(as_json: Json = False) -> None:
    """List the encoders that are here, and what keeps those that cannot be used."""
    with _registry(read_settings()) as registry:
        infos = registry.describe_all()
    if as_json:
        _print_json([asdict(info) for info in infos])
        return
    table = Table("name", "dimension", "max tokens", "status", "detail", box=None)
    for info in infos:
        numbers = (str(info.dimension), str(info.max_tokens))
        table.add_row(info.name, *numbers, info.status, info.detail)
    Console().print(table)


@cli.command("pull")
def pull_model(
    model: Annotated[str, typer.Argument(help="owner/model, or owner/model@revision.")],
    name: Annotated[str | None, typer.Option(help="Default: the repository's last part.")] = None,
    variant: Variant = None,
    load: Annotated[bool, typer.Option(help="Build it and load it once, to prove it.")] = True,
    as_json: Json = False,
) -> None:
    """Download a model from the hub, verified and no more than is needed, and write its manifest.

    An interrupted download goes on where it stood. A model that is here already is left alone.
    """
    settings = read_settings(**({} if variant is None else {"model_variant": variant}))
    token = settings.hub_token.get_secret_value() if settings.hub_token else ""
    with _shown() as progress, Hub(settings.hub_endpoint, token=token) as hub:
        pulled = pull(
            hub,
            model,
            settings.models_dir,
            name=name,
            variant=settings.model_variant,
            progress=progress,
        )
        if load:
            with _registry(settings) as registry:
                registry.load(pulled.manifest.name, progress=progress)
    for note in pulled.notes:
        say(note)
    facts = {
        "name": pulled.manifest.name,
        "folder": str(pulled.folder),
        "dimension": pulled.manifest.dimension,
        "fresh": pulled.fresh,
        "notes": pulled.notes,
    }
    what = "pulled" if pulled.fresh else "here already"
    _report(facts, f"{facts['name']}: {what}, {facts['dimension']} numbers a vector", as_json)


@cli.command()
def build(name: Name, as_json: Json = False) -> None:
    """Build an encoder's graph from its weights, and load it once to prove that it works."""
    _loaded(name, as_json)


@cli.command()
def obtain(
    name: Annotated[str | None, typer.Argument(help="Default: LIKEWISE_DEFAULT_ENCODER.")] = None,
    as_json: Json = False,
) -> None:
    """Download, verify and build an encoder of a manifest, and load it once to prove it."""
    _loaded(name or read_settings().default_encoder, as_json)


@cli.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    as_json: Json = False,
) -> None:
    """Compare every file of encoders with the sha256 of their manifests. Changes nothing."""
    models = read_settings().models_dir
    wanted = names or sorted(path.parent.name for path in models.glob(f"*/{FILE_NAME}"))
    faults = {name: _faults(models, name) for name in wanted}
    if as_json:
        _print_json([{"name": name, "faults": found} for name, found in faults.items()])
    else:
        for name, found in faults.items():
            typer.echo(f"{name}: {'; '.join(found) or 'whole'}")
    if any(faults.values()):
        raise typer.Exit(1)


@cli.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete an encoder's folder. Collections that name it keep their vectors."""
    models = read_settings().models_dir
    folder = models / name
    if not NAME.fullmatch(name) or not folder.is_dir():
        raise refused(f"there is no folder of an encoder {name!r} in {models}")
    if not yes:
        typer.confirm(f"delete {folder} and everything in it?", abort=True, err=True)
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)
    for unfinished in (models / WORKSHOP).glob(f"{name}@*"):
        shutil.rmtree(unfinished)
    _report({"name": name, "removed": True}, f"{name}: removed", as_json)


@cli.command()
def soup(
    into: Annotated[str, typer.Argument(help="The name of the new model.")],
    names: Annotated[list[str], typer.Argument(help="Models that were tuned from one start.")],
    weights: Annotated[str | None, typer.Option(help="One for each model: 2,1,1.")] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Keep only what does not harm on --dev.")
    ] = False,
    dev: Dev = None,
    as_json: Json = False,
) -> None:
    """Average the weights of several models into one that costs as much as each of them."""
    settings = read_settings()
    with _shown() as progress:
        cooked = cook(
            settings.models_dir,
            names,
            into,
            shares=None if weights is None else _numbers(weights),
            greedily=greedy,
            devset=None if dev is None else read_devset(dev),
            threads=settings.encoder_threads,
            progress=progress,
        )
    facts = {
        "name": into,
        "folder": str(cooked.folder),
        "kept": cooked.kept,
        "score": cooked.score,
        "scores": cooked.scores,
    }
    lines = [f"{name}: {score:.4f}" for name, score in cooked.scores.items()]
    lines.append(f"{into}: {' + '.join(cooked.kept)}")
    if cooked.score is not None:
        lines[-1] += f": {cooked.score:.4f}"
    _report(facts, "\n".join(lines), as_json)


@cli.command()
def quantise(
    name: Name,
    into: Annotated[str | None, typer.Option(help="Default: NAME-int8.")] = None,
    dev: Dev = None,
    texts: Annotated[
        Path | None, typer.Option(help="A file with a text a line, to compare vectors by.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a copy of a model with its products in int8, and tell how faithful it is.

    The two are compared on the texts, or on those of the development set.
    """
    settings = read_settings()
    devset = None if dev is None else read_devset(dev)
    if texts is None and devset is None:
        raise refused("give --texts or --dev: something to compare the two by")
    compared = devset.texts if devset is not None else []
    if texts is not None:
        with using(texts):
            lines = texts.read_text(encoding="utf-8").splitlines()
        compared = [line for line in lines if line.strip()]
    with _shown() as progress:
        made = quantise_model(
            settings.models_dir,
            name,
            into or f"{name}-int8",
            compared[:MOST_COMPARED],
            devset=devset,
            threads=settings.encoder_threads,
            progress=progress,
        )
    found = made.fidelity
    report = [
        f"{made.folder.name}: {made.bytes_before / 1e6:.0f} MB → {made.bytes_after / 1e6:.0f} MB",
        f"cosine to float32 over {found.texts} texts: mean {found.mean:.4f}, "
        f"99 % above {found.p01:.4f}, least {found.least:.4f}",
    ]
    if found.neighbours is not None:
        report.append(f"shared among the nearest ten: {found.neighbours:.1%}")
    if devset is not None and made.before is not None and made.after is not None:
        report.append(
            f"{devset.measure}: {made.before:.4f} → {made.after:.4f} "
            f"({made.after - made.before:+.4f})"
        )
    _report(asdict(made) | {"folder": str(made.folder)}, "\n".join(report), as_json)


def _numbers(given: str) -> list[float]:
    try:
        return [float(one) for one in given.split(",")]
    except ValueError:
        raise refused(f"expected numbers with commas between them, found {given!r}") from None


def _faults(models: Path, name: str) -> list[str]:
    """What is wrong with an encoder's files, one line each."""
    folder = models / name
    if not NAME.fullmatch(name) or not (folder / FILE_NAME).is_file():
        return [f"there is no {FILE_NAME} in {folder}, and so nothing to compare with"]
    try:
        manifest = read_manifest(folder)
        missing = missing_files(manifest, folder)
        faults = [f"{file.path} {_what_is_wrong(folder / file.path)}" for file in missing]
        return faults + ([] if not needs_build(manifest, folder) else ["its graph is not built"])
    except LikewiseError as error:
        return [error.detail]


def _what_is_wrong(path: Path) -> str:
    return "has another sha256" if path.is_file() else "is missing"


def _loaded(name: str, as_json: bool) -> None:
    with _shown() as progress, _registry(read_settings()) as registry:
        info = registry.load(name, progress=progress)
    _report(asdict(info), f"{info.name}: ready, {info.dimension} numbers a vector", as_json)


@contextmanager
def _registry(settings: Settings) -> Iterator[EncoderRegistry]:
    registry = EncoderRegistry(
        settings.models_dir,
        threads=settings.encoder_threads,
        queue=settings.encoder_queue,
        batch_tokens=settings.batch_tokens,
        hub_endpoint=settings.hub_endpoint,
        hub_token=settings.hub_token.get_secret_value() if settings.hub_token else "",
        local_source=settings.model_source,
        variant=settings.model_variant,
    )
    try:
        yield registry
    finally:
        registry.close()


@contextmanager
def _shown() -> Iterator[Told]:
    """Show progress on standard error; lends the function that is told of it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done_bytes: int, total_bytes: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=None)
            shown.update(tasks[what], completed=done_bytes, total=total_bytes or None)

        yield progress


def _report(facts: dict[str, Any], line: str, as_json: bool) -> None:
    if as_json:
        _print_json(facts)
    else:
        typer.echo(line)


def _print_json(document: object) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
