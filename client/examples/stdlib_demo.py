"""Search the Python standard library by meaning: index its docstrings, then ask it things.

    make demo                                 against a running service
    python stdlib_demo.py --url http://…      the same by hand; --help shows the rest

Every documented module, class, function and method of the interpreter that runs this becomes a
point. Sources are parsed, never imported, so nothing of them runs; what is written in C has no
source and is left out. A second run finds the points in place and goes straight to the queries.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from likewise import (
    Client,
    Collection,
    ConflictError,
    F,
    Filter,
    LikewiseError,
    Point,
    Query,
    QueryResult,
)

MOST_TEXT_CHARS = 1_000
# Programs and their tests live beside the library; site-packages is not part of it.
LEFT_OUT = {"test", "tests", "idle_test", "idlelib", "lib2to3", "site-packages"}
LANDMARK = "gzip.open"  # a question starts from it, so that no limit may leave it out
WIDTH = 96

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


# ── the standard library as points ───────────────────────────────────────────────────────────


def stdlib_points(limit: int) -> list[Point]:
    """Return up to `limit` points: public names first, each group in the order of names."""
    points = {point.id: point for path, name in stdlib_sources() for point in points_of(path, name)}

    def rank(point: Point) -> tuple[bool, bool, str]:
        name = str(point.id)
        return name != LANDMARK, not is_public(name), name

    return sorted(points.values(), key=rank)[:limit]


def stdlib_sources() -> Iterator[tuple[Path, str]]:
    """Walk the source files of the standard library with their module names, tests left out."""
    root = Path(sysconfig.get_path("stdlib"))
    for name in sorted(sys.stdlib_module_names):
        package = root / name
        for path in [root / f"{name}.py", *sorted(package.rglob("*.py"))]:
            parts = path.relative_to(root).with_suffix("").parts
            if path.exists() and not LEFT_OUT & set(parts):
                yield path, ".".join(parts).removesuffix(".__init__")


def points_of(path: Path, module: str) -> Iterator[Point]:
    """Parse one source file into the points of what it documents."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:  # a few files of the library are broken on purpose
        return
    yield from points_below(tree, module, module)


def points_below(node: Documented, name: str, module: str) -> Iterator[Point]:
    """Turn a definition and, unless it is a function, everything defined in it into points."""
    doc = ast.get_docstring(node)
    if doc:
        yield point_of(node, name, module, inspect.cleandoc(doc))
    if isinstance(node, (ast.Module, ast.ClassDef)):
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from points_below(child, f"{name}.{child.name}", module)


def point_of(node: Documented, name: str, module: str, doc: str) -> Point:
    short = name.rpartition(".")[2]
    text = f"{name}: {doc}"
    if len(text) > MOST_TEXT_CHARS:  # whole paragraphs, if the first one is not too long itself
        text = text[:MOST_TEXT_CHARS]
        text = text[: text.rfind("\n\n")] if "\n\n" in text else text
    return Point(
        name,
        text=text,
        attributes={
            "module": module,
            "package": module.partition(".")[0],
            "kind": kind_of(node, name, module),
            "name": short,
            "initial": short.lstrip("_")[:1].lower(),
            "chars": len(doc),
            "n_args": arguments_of(node),
            "public": is_public(name),
            "tags": tags_of(node, short, doc),
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        },
    )


def kind_of(node: Documented, name: str, module: str) -> str:
    if isinstance(node, ast.Module):
        return "module"
    if isinstance(node, ast.ClassDef):
        return "class"
    return "function" if name.removeprefix(module).count(".") == 1 else "method"


def arguments_of(node: Documented) -> int | None:
    if isinstance(node, (ast.Module, ast.ClassDef)):
        return None
    arguments = node.args
    return len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)


def tags_of(node: Documented, short: str, doc: str) -> list[str]:
    tags = set()
    if "deprecated" in doc.lower():
        tags.add("deprecated")
    if short.startswith("__"):
        tags.add("special")
    if isinstance(node, ast.AsyncFunctionDef):
        tags.add("async")
    if not isinstance(node, ast.Module):
        for decorator in node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            tags.add(ast.unparse(called).rpartition(".")[2])
    return sorted(tags)


def is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


# ── indexing ─────────────────────────────────────────────────────────────────────────────────


def opened(client: Client, name: str, *, rebuild: bool) -> Collection:
    """Return the demo's collection, created if need be; with `rebuild` it starts empty."""
    if rebuild and name in [info.name for info in client.collections()]:
        client.collection(name).drop()
    return client.create_collection(
        name, schema={"kind": "keyword", "package": "keyword", "n_args": "integer"}
    )


def holds(collection: Collection, points: list[Point]) -> bool:
    """Whether an earlier run left just these points: as many, among them the first and last."""
    ends = {points[0].id, points[-1].id}
    return collection.count() == len(points) and collection.count(F("$id").is_in(ends)) == len(ends)


def fill(collection: Collection, points: list[Point]) -> None:
    started = time.monotonic()
    with progress_bar(len(points)) as advance:
        # Small batches move the bar; each waits for the encoder anyway.
        collection.upsert(points, batch_size=128, progress=advance)
    seconds = time.monotonic() - started
    print(
        f"Indexed {len(points):,} points in {seconds:.0f} s, "
        f"{len(points) / seconds:.0f} a second: encoded, stored and searchable."
    )


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[int], None]]:
    """Show how far it is, with rich if it is there; nothing moves in a file or a pipe."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:

        def draw(done: int) -> None:
            filled = 40 * done // total
            print(f"\r{'█' * filled:░<40} {done:,}/{total:,}", end="", file=sys.stderr, flush=True)

        yield draw
        print(file=sys.stderr)
        return
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("Indexing", total=total)
        yield lambda done: progress.update(task, completed=done)


# ── asking ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Question:
    """A query, and the words that say it to a reader."""

    title: str
    condition: str
    query: Query


def ask(title: str, condition: str, filter: Filter, **options: str) -> Question:
    text = None if options else title
    query = Query(text, filter=filter, k=4, fields=["kind"], **options)  # type: ignore[arg-type]
    return Question(f'"{title}"' if text else title, condition, query)


PUBLIC = F("public").is_in([True])

QUESTIONS = [
    ask(
        "parse a date from text",
        "kind in function, method; public",
        F("kind").is_in(["function", "method"]) & PUBLIC,
    ),
    ask(
        "run a program and capture its output",
        "public, not deprecated",
        PUBLIC & ~F("tags").contains("deprecated"),
    ),
    ask(
        "compress data in memory",
        "package in zlib, gzip, bz2, lzma, zipfile; 1 to 3 arguments",
        F("package").is_in(["zlib", "gzip", "bz2", "lzma", "zipfile"])
        & (F("n_args") >= 1)
        & (F("n_args") <= 3),
    ),
    ask(f"what resembles {LANDMARK}", "package ≠ gzip", F("package") != "gzip", id=LANDMARK),
]

TOGETHER = [
    ask("wait until several tasks have finished", "tag async", F("tags").contains("async")),
    ask("a temporary directory", "kind = class", F("kind") == "class"),
    ask("median of numbers", "kind = function", F("kind") == "function"),
]


def show(question: Question, result: QueryResult, number: str) -> None:
    """Print one question and its hits, a line each."""
    print(f"\n{number} {question.title}   [{question.condition}]")
    certainty = "" if result.exact else " (approximate)"
    print(
        f"   {result.matches:,} points match · plan: {result.plan}{certainty} · "
        f"{result.took_ms:.1f} ms"
    )
    longest = max((len(str(hit.id)) for hit in result), default=0)
    for hit in result:
        summary = first_sentence((hit.text or "").removeprefix(f"{hit.id}: "))
        print(shortened(f"   {hit.score:.3f}  {hit.id:<{longest}}  {summary}", WIDTH))


def first_sentence(doc: str) -> str:
    return " ".join(doc.partition("\n\n")[0].split()).partition(". ")[0]


def shortened(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


def ask_all(collection: Collection) -> None:
    for number, question in enumerate(QUESTIONS, start=1):
        query = question.query
        result = collection.query(
            query.text, id=query.id, filter=query.filter, k=query.k, fields=query.fields
        )
        show(question, result, f"{number}.")
    print(f"\nAnd {len(TOGETHER)} questions in one request:")
    answers = collection.query_batch(question.query for question in TOGETHER)
    for question, result in zip(TOGETHER, answers, strict=True):
        show(question, result, "–")


def arguments(argv: Iterable[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Search the standard library by meaning.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the service's address")
    parser.add_argument(
        "--limit", type=int, default=6_000, help="most points (default %(default)s)"
    )
    parser.add_argument("--collection", default="demo-stdlib", help="its name (%(default)s)")
    parser.add_argument("--rebuild", action="store_true", help="drop the collection and start anew")
    return parser.parse_args(None if argv is None else list(argv))


def main(argv: Iterable[str] | None = None) -> int:
    options = arguments(argv)
    try:
        with Client(options.url) as client:
            client.health()
            service = client.info()
            print(f"Likewise {service.version} at {options.url}")
            collection = opened(client, options.collection, rebuild=options.rebuild)
            points = stdlib_points(max(1, options.limit))
            if holds(collection, points):
                print(f"Found {len(points):,} points in place (--rebuild writes them again).")
            else:
                if collection.count():  # of another Python, or of another --limit
                    collection = opened(client, options.collection, rebuild=True)
                fill(collection, points)
            ask_all(collection)
    except ConflictError:
        print(
            f"The demo stopped: {options.collection} exists with another definition; "
            "--rebuild replaces it.",
            file=sys.stderr,
        )
        return 1
    except (LikewiseError, ValueError) as error:
        print(f"The demo stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
