"""Text encoders side by side: ours over HTTP, libraries, bare loops, another embedding server.

    python -m bench.embed FOLDER [--quick] [--rounds N] [--weights FOLDER] [--infinity PYTHON]

FOLDER holds `stsb`, `arxiv` and `scifact`. Every system encodes the same texts with the same
weights, in turns: one round of each, then the next round, while the others are idle; a figure is
the median of its rounds. "short" are sentences of the STS benchmark, "long" are titles with
abstracts, cut at 256 tokens. Libraries encode 32 texts at a time, sorted by length; servers are
asked for 256 texts a request over two connections, and what the client does counts. At the end a
server of its own is asked single queries, idle and during an import (`bench.encoder_latency`).

Prints Markdown; writes `embed.json` and `embed.png` into bench/results.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.encoders.fidelity import compare
from app.evaluation.devset import read_devset
from bench import encoder_latency
from bench.embedding.models import ENCODER, write_installed, write_published
from bench.embedding.report import draw, print_report
from bench.embedding.systems import (
    Infinity,
    Library,
    LikewiseProcess,
    Served,
    System,
    fastembed,
    fastembed_int8,
    our_loop,
    plain_loop,
    plain_loop_int8,
    sentence_transformers,
)
from bench.embedding.texts import long_texts, short_texts
from bench.gemm import peaks
from bench.load import closed_loop, request
from bench.report import processor

F32 = NDArray[np.float32]

ROOT = Path(__file__).parents[1]
LIBRARY_BATCH, SERVER_BATCH, CONNECTIONS = 32, 256, 2
SERVED = ("likewise int8", "likewise fp32", "infinity")
BATCHES = (1, 4, 16, 64, 256)
LENGTHS = (8, 16, 32, 64, 128, 250)  # words of one token each; two tokens come besides
CURVES = ("likewise int8", "likewise fp32", "sentence-transformers", "FastEmbed", "infinity")
LATENCY_S = 8.0
QUERIES = 400  # of each kind, idle and busy, in a round
WORDS = ("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world")


def main() -> None:
    """Open all systems, let them take turns, report."""
    chosen = arguments()
    result: dict[str, Any] = {"machine": machine(), "peaks": peaks()}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as open_ones:
        systems = opened(chosen, Path(scratch), open_ones)
        result["throughput"] = throughput(systems, chosen)
        result["batches"] = by_batch(systems, chosen)
        result["lengths"] = by_length(systems, chosen)
        result["latency"] = latency(systems, chosen)
        result["quality"] = quality(systems, chosen)
        result["beside_import"] = beside_import(chosen, Path(scratch))
    results = chosen.results
    results.mkdir(exist_ok=True)
    (results / "embed.json").write_text(json.dumps(result, indent=1) + "\n")
    print_report(result)
    draw(results / "embed.png", result)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="a few texts, to see that it runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", type=Path, default=ROOT / "models" / ENCODER)
    parser.add_argument("--infinity", help="a Python that has infinity-emb; left out without")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    chosen = parser.parse_args()
    chosen.short, chosen.long, chosen.curve = (256, 32, 64) if chosen.quick else (2048, 256, 256)
    if chosen.quick:
        chosen.rounds = 1
    return chosen


def machine() -> str:
    """Name the machine and the versions that matter."""
    import onnxruntime

    return (
        f"{os.cpu_count()} cores ({processor()}), Python {platform.python_version()}, "
        f"ONNX Runtime {onnxruntime.__version__}"
    )


def opened(
    chosen: argparse.Namespace, scratch: Path, open_ones: contextlib.ExitStack
) -> dict[str, System]:
    """Start every system that can be had here, and say so of the others."""
    told("writing the models")
    published = write_published(scratch / "published", chosen.weights)
    installed = {
        variant: write_installed(scratch / variant, chosen.weights, variant)
        for variant in ("int8", "fp32")
    }
    makers: dict[str, Callable[[], System]] = {
        "likewise int8": lambda: Served(
            LikewiseProcess(installed["int8"], scratch / "serve-int8"), CONNECTIONS
        ),
        "likewise fp32": lambda: Served(
            LikewiseProcess(installed["fp32"], scratch / "serve-fp32"), CONNECTIONS
        ),
        "our loop int8": lambda: Library(our_loop, installed["int8"]),
        "our loop fp32": lambda: Library(our_loop, installed["fp32"]),
        "sentence-transformers": lambda: Library(sentence_transformers, published),
        "FastEmbed": lambda: Library(fastembed, published),
        "FastEmbed int8": lambda: Library(fastembed_int8, published),
        "plain loop": lambda: Library(plain_loop, published),
        "plain loop int8": lambda: Library(plain_loop_int8, published),
    }
    if chosen.infinity:
        makers["infinity"] = lambda: Infinity(
            chosen.infinity, published, scratch / "infinity", CONNECTIONS
        )
    systems: dict[str, System] = {}
    for name, make in makers.items():
        told(f"opening {name}")
        try:
            systems[name] = make()
        except Exception as exc:
            if name.startswith(("likewise", "our")):
                raise
            told(f"{name} is not available: {type(exc).__name__}: {exc}")
            continue
        open_ones.callback(systems[name].close)
    return systems


def throughput(systems: dict[str, System], chosen: argparse.Namespace) -> dict[str, Any]:
    """Texts per second of every system, short and long."""
    texts = {
        "short": short_texts(chosen.folder, chosen.short),
        "long": long_texts(chosen.folder, chosen.long),
    }
    measured: dict[str, Any] = {}
    for kind, some in texts.items():
        took = turns(
            systems, chosen.rounds, lambda name, system, some=some: run(name, system, some)
        )
        measured[kind] = {
            name: {"median": len(some) / statistics.median(times), "rounds": times}
            for name, times in took.items()
        }
    return measured


def by_batch(systems: dict[str, System], chosen: argparse.Namespace) -> dict[str, Any]:
    """Short texts per second against the texts of one request, or of one call; one connection."""
    measured: dict[str, Any] = {}
    texts = short_texts(chosen.folder, chosen.curve)
    for batch in BATCHES:
        some = texts[: max(32, len(texts) // (8 if batch == 1 else 2 if batch == 4 else 1))]
        took = turns(
            {name: systems[name] for name in CURVES if name in systems},
            1,
            lambda name, system, some=some, batch=batch: system.encode(some, batch)[0],
        )
        for name, times in took.items():
            measured.setdefault(name, []).append(len(some) / statistics.median(times))
    return measured


def by_length(systems: dict[str, System], chosen: argparse.Namespace) -> dict[str, Any]:
    """Tokens per second against the length of the texts."""
    measured: dict[str, Any] = {}
    rng = np.random.default_rng(7)
    for length in LENGTHS:
        count = max(16, chosen.curve * 32 // (length + 32))
        some = [" ".join(rng.choice(WORDS, length)) for _ in range(count)]
        took = turns(
            {name: systems[name] for name in CURVES if name in systems},
            1,
            partial(run, texts=some),
        )
        for name, times in took.items():
            tokens = count * (length + 2)
            measured.setdefault(name, []).append(tokens / statistics.median(times))
    return measured


def latency(systems: dict[str, System], chosen: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of requests with one short text, over one connection and over eight."""
    measured: dict[str, Any] = {}
    texts = short_texts(chosen.folder, 512)
    for name in SERVED:
        served = systems.get(name)
        if not isinstance(served, Served):
            continue
        bodies = [
            json.dumps(
                {"model": served.model, "input": [text], "encoding_format": "base64"}
            ).encode()
            for text in texts
        ]
        requests = [request(served.address, "POST", served.path, body) for body in bodies]
        for connections in (1, 8):
            load = closed_loop(
                served.address,
                requests,
                connections=connections,
                seconds=1.0 if chosen.quick else LATENCY_S,
            )
            measured.setdefault(name, {})[str(connections)] = {
                "per_second": load.per_second,
                "p50_ms": load.p50_ms,
                "p99_ms": load.p99_ms,
                "failed": load.failed,
            }
    return measured


def quality(systems: dict[str, System], chosen: argparse.Namespace) -> dict[str, Any]:
    """Agreement with people, retrieval, and closeness to the reference implementation."""
    tasks = {"stsb": read_devset(chosen.folder / "stsb" / "stsb-en-test.jsonl")}
    if not chosen.quick:
        tasks["scifact"] = read_devset(chosen.folder / "scifact")
    common = short_texts(chosen.folder, 500) + long_texts(chosen.folder, 500)
    reference: F32 | None = None
    if "sentence-transformers" in systems:
        reference = systems["sentence-transformers"].encode(common, LIBRARY_BATCH)[1]
    measured: dict[str, Any] = {}
    for name in ("likewise int8", "likewise fp32"):
        told(f"quality of {name}")
        system = systems[name]

        def encode(texts: list[str], kind: str, system: System = system) -> F32:
            return system.encode(texts, SERVER_BATCH)[1]

        measured[name] = {task: found.score(encode) for task, found in tasks.items()}
        if reference is not None:
            alike = compare(reference, encode(common, "document"))
            measured[name]["cosine"] = {"least": alike.least, "mean": alike.mean}
    return measured


def beside_import(chosen: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Milliseconds of a single query, idle and while texts are imported, by a server of its own."""
    told("a query beside an import")
    return encoder_latency.measured(
        encoder_latency.papers(chosen.folder / "arxiv"),
        models=scratch / "int8",
        model=ENCODER,
        queries=30 if chosen.quick else QUERIES,
        rounds=chosen.rounds,
    )


def run(name: str, system: System, texts: Sequence[str]) -> float:
    """Seconds for texts, in the batches that suit the system."""
    return system.encode(texts, SERVER_BATCH if name in SERVED else LIBRARY_BATCH)[0]


def turns(
    systems: dict[str, System], rounds: int, measure: Callable[[str, System], float]
) -> dict[str, list[float]]:
    """Let the systems take turns; the first round is not counted if there are more."""
    took: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(rounds):
        for name, system in systems.items():
            took[name].append(measure(name, system))
            told(f"round {turn + 1}: {name}: {took[name][-1]:.2f} s")
    return took


def told(what: str) -> None:
    """Show progress beside the report."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
