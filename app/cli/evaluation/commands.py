"""`likewise eval run`, `compare` and `report`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from app.cli.asking import HERE, Key, Url, asking, refused, using
from app.cli.evaluation import comparing, searching
from app.cli.evaluation.asker import Asker, bar
from app.cli.evaluation.job import Configuration, Job
from app.cli.evaluation.local import local_service
from app.errors import InvalidRequest
from app.evaluation.loaders.fanns import is_fanns
from app.evaluation.loaders.lines import rows
from app.evaluation.report.html import html_from_outcome
from app.evaluation.report.markdown import markdown_from_outcome
from app.evaluation.results import (
    LOWER_IS_BETTER,
    Outcome,
    Run,
    compared,
    json_from_outcome,
    outcome_from_json,
)

cli = typer.Typer(
    help="Measure how good answers are, and compare ways to ask.", no_args_is_help=True
)

_TIMEOUT = httpx.Timeout(600.0, connect=5.0)

TASKS: dict[str, Callable[[Job], list[Run]]] = {
    "retrieval": searching.retrieval,
    "ann": searching.neighbours,
    "conditional": searching.conditional,
    "similarity": comparing.similarity,
    "verification": comparing.verification,
    "classification": comparing.classification,
    "recognition": comparing.recognition,
}

Json = Annotated[
    Path | None, typer.Option("--out", help="Write the results here, for report and compare.")
]
Html = Annotated[Path | None, typer.Option("--html", help="Write a report with plots here.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", help="Write a report here.")]
Gate = Annotated[
    list[str] | None,
    typer.Option(
        "--gate", help="A measure: status 1 if a later configuration is surely worse in it."
    ),
]


@cli.command()
def run(
    data: Annotated[
        Path, typer.Argument(help="A folder or file: see docs/similarity/evaluation.md")
    ],
    task: Annotated[
        str | None, typer.Option(help=f"{', '.join(TASKS)}; by default what the data look like.")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(help="Members of a query, as a JSON file or JSON; name=… gives it a name."),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Start a service for this, over an empty directory.")
    ] = False,
    collection: Annotated[
        str | None,
        typer.Option(help="Ask this one; by default the data are loaded into a new one."),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Instead of the service's own.")] = None,
    define: Annotated[
        str | None, typer.Option(help="More of the new collection's definition: JSON or a file.")
    ] = None,
    measure: Annotated[list[str] | None, typer.Option(help="As in ndcg@10.")] = None,
    k: Annotated[int, typer.Option(min=1, help="Neighbours that vote, and depth for ann.")] = 10,
    split: Annotated[str, typer.Option(help="Which judgements of a BEIR folder.")] = "test",
    filters: Annotated[
        str | None, typer.Option(help="Kinds of filters for ann: none,em,r,emis.")
    ] = None,
    most: Annotated[int | None, typer.Option(min=1, help="Ask the first so many only.")] = None,
    input: Annotated[str, typer.Option(help="What pairs to verify are: text or image.")] = "text",
    keep: Annotated[bool, typer.Option(help="Leave the new collection there.")] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of its random numbers.")] = 0,
    out: Json = None,
    html: Html = None,
    markdown: Markdown = None,
    gate: Gate = None,
    url: Url = HERE,
    api_key: Key = None,
) -> None:
    """Run a data set against a service, measure, and compare configurations with the first."""
    task = task or _guessed(data)
    if task not in TASKS:
        raise typer.BadParameter(f"expected one of {', '.join(TASKS)}", param_hint="--task")
    if input not in ("text", "image"):
        raise typer.BadParameter("expected text or image", param_hint="--input")
    configurations = _configurations(config or [])
    definition = {} if define is None else _object(define, "--define")
    notes: list[str] = []
    with ExitStack() as last_first:
        if local:
            url, api_key = last_first.enter_context(local_service()), None
        service = last_first.enter_context(asking(url, api_key, _TIMEOUT))
        service.get("/healthz")  # nobody there: said before anything is read
        progress = last_first.enter_context(bar())
        job = Job(
            Asker(service, progress),
            data,
            configurations,
            collection=collection,
            encoder=encoder,
            definition=definition,
            measures=measure,
            k=k,
            split=split,
            filters=[kind for kind in (filters or "").split(",") if kind],
            most=most,
            input=input,
            keep=keep,
            samples=resamples,
            seed=seed,
            notes=notes,
        )
        try:
            runs = TASKS[task](job)
        except InvalidRequest as error:
            progress.stop()
            raise refused(error.detail) from None
    outcome = Outcome(
        task,
        data.resolve().name,
        runs,
        compared(runs, samples=resamples, seed=seed),
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        notes,
    )
    _told(outcome, out, html, markdown, gate)


@cli.command()
def compare(
    one: Annotated[Path, typer.Argument(help="Results of `run --out`, or of the SDK's `save`.")],
    other: Annotated[Path, typer.Argument(help="Results on the same data.")],
    resamples: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of its random numbers.")] = 0,
    out: Json = None,
    html: Html = None,
    markdown: Markdown = None,
    gate: Gate = None,
) -> None:
    """Compare results of two runs, on the queries that both asked."""
    first, second = _read(one), _read(other)
    runs = [
        _renamed(run, f"{called}: {run.name}")
        for called, outcome in zip(_apart(one, other), (first, second), strict=True)
        for run in outcome.runs
    ]
    notes = list(dict.fromkeys([*first.notes, *second.notes]))
    if first.task != second.task or first.data != second.data:
        notes.append("these are results of different tasks or data")
    outcome = Outcome(
        first.task,
        first.data if first.data == second.data else f"{first.data}; {second.data}",
        runs,
        compared(runs, samples=resamples, seed=seed),
        max(first.at, second.at),
        notes,
    )
    _told(outcome, out, html, markdown, gate)


@cli.command()
def report(
    results: Annotated[
        Path, typer.Argument(help="Results of `run --out`, or of the SDK's `save`.")
    ],
    html: Html = None,
    markdown: Markdown = None,
) -> None:
    """Write a report of results: HTML with plots, Markdown, or to the terminal."""
    _told(_read(results), None, html, markdown, None)


def _told(
    outcome: Outcome,
    out: Path | None,
    html: Path | None,
    markdown: Path | None,
    gate: Sequence[str] | None,
) -> None:
    """Write what is wanted; to the terminal in any case. Status 1 if a gate is not passed."""
    if out is not None:
        _write(out, json.dumps(json_from_outcome(outcome), ensure_ascii=False))
    if html is not None:
        _write(html, html_from_outcome(outcome))
    text = markdown_from_outcome(outcome)
    if markdown is not None:
        _write(markdown, text)
    typer.echo(text, nl=False)
    worse = _worse(outcome, gate or [])
    if worse:
        raise refused("; ".join(worse))


def _apart(one: Path, other: Path) -> tuple[str, str]:
    """Call two files by names that differ: their stems, or else their paths."""
    for first, second in ((one.stem, other.stem), (str(one), str(other))):
        if first != second:
            return first, second
    return f"{one.stem} (first)", f"{one.stem} (second)"


def _worse(outcome: Outcome, gates: Sequence[str]) -> list[str]:
    """Say which comparisons of some measures are surely for the worse."""
    found = []
    for gate in gates:
        own = [one for one in outcome.comparisons if one.measure == gate]
        if not own:
            raise refused(f"--gate {gate}: nothing was compared by that measure")
        for one in own:
            low, high = one.difference.low, one.difference.high
            if low > 0 if gate in LOWER_IS_BETTER else high < 0:
                found.append(f"{one.of} is worse than {one.against} in {gate}")
    return found


def _configurations(given: Sequence[str]) -> list[Configuration]:
    found: list[Configuration] = []
    for one in given:
        name, separator, rest = one.partition("=")
        if not separator or "{" in name or "/" in name:
            name, rest = "", one
        path = Path(rest)
        called = name or (rest if rest.lstrip().startswith("{") else path.stem)
        members = _object(rest, "--config")
        if any(other.name == called for other in found):
            raise typer.BadParameter(f"two are called {called}", param_hint="--config")
        found.append(Configuration(called, members))
    return found or [Configuration("default", {})]


def _object(given: str, option: str) -> dict[str, Any]:
    """Read JSON, or a file of it."""
    text = given
    if not given.lstrip().startswith("{"):
        with using(Path(given)):
            text = Path(given).read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except ValueError:
        raise typer.BadParameter("expected JSON, or a file of it", param_hint=option) from None
    if not isinstance(found, dict):
        raise typer.BadParameter("expected an object", param_hint=option)
    return found


def _guessed(data: Path) -> str:
    """Tell the task by the files, or by the first line. Raises typer.Exit."""
    if data.is_dir():
        if is_fanns(data):
            return "ann"
        for name, task in (
            ("items.jsonl", "conditional"),
            ("index.jsonl", "recognition"),
            ("corpus.jsonl", "retrieval"),
        ):
            if (data / name).exists() or (data / f"{name}.gz").exists():
                return task
        raise refused(f"{data} looks like no data set: say its --task")
    if data.suffix in (".csv", ".tsv"):
        return "verification"
    try:
        first = next(iter(rows(data)), None)
    except InvalidRequest as error:
        raise refused(error.detail) from None
    members = set(first.members) if first is not None else set()
    for known, task in (
        ({"s1", "s2"}, "similarity"),
        ({"sentence1", "sentence2"}, "similarity"),
        ({"a", "b"}, "verification"),
        ({"label"}, "classification"),
    ):
        if known <= members:
            return task
    raise refused(f"{data} looks like no data set: say its --task")


def _read(path: Path) -> Outcome:
    try:
        with using(path):
            return outcome_from_json(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise refused(f"{path} is no JSON") from None
    except InvalidRequest as error:
        raise refused(f"{path}: {error.detail}") from None


def _renamed(run: Run, name: str) -> Run:
    return replace(run, name=name)


def _write(path: Path, text: str) -> None:
    with using(path):
        path.write_text(text, encoding="utf-8")
    typer.echo(f"likewise: wrote {path}", err=True)
