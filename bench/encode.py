"""Measure the text graphs: speed, fidelity, and whether company changes a text's vector.

    python -m bench.encode FOLDER [--models models] [--encoder all-MiniLM-L6-v2] [--rounds 5]

FOLDER holds `stsb` and `arxiv`: "short" are sentences of the STS benchmark, "long" are titles with
abstracts. Each variant is timed in two ways:

    encoder  as the service runs it: batches of 4,096 tokens, cut into runs, a thread for each core
    loop     a bare loop over the same graph: 32 texts at a time, sorted by length, padded, with
             ONNX Runtime's own threads

Both start from token ids. The variants:

    fp32     the built graph in float32
    int8     the built graph, with static scales
    dynamic  the float32 graph as `quantize_dynamic` of ONNX Runtime quantises it: scales per call,
             so that each text runs alone
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from app.encoders.base import Encoder, Prepared, TextKind
from app.encoders.build import graph_path
from app.encoders.direct import encode
from app.encoders.manifest import Manifest, read_manifest
from app.encoders.obtain import obtain, with_variant
from app.encoders.opening import open_encoder
from app.encoders.packing import pack
from app.encoders.token_session import TokenSession
from app.evaluation.devset import Pairs, read_devset
from bench.embedding.texts import long_texts, short_texts

F32 = NDArray[np.float32]

VARIANTS = ("fp32", "int8", "dynamic")
SHORT, LONG = 1024, 128
BATCH_TOKENS = 4096
LOOP_TEXTS = 32


def main() -> None:
    """Print a table with a row for each variant."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    chosen = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser tells it about every node
    pairs = read_devset(chosen.folder / "stsb" / "stsb-en-test.jsonl")
    assert isinstance(pairs, Pairs)
    texts = {"short": short_texts(chosen.folder, SHORT), "long": long_texts(chosen.folder, LONG)}
    exact: dict[str, F32] = {}
    print("| variant | Spearman | cosine to fp32, short: least, mean | long | in company |", end="")
    print(" short/s: encoder, loop | long/s: encoder, loop |")
    print("|---|---|---|---|---|---|---|")
    for variant in chosen.variants:
        with tempfile.TemporaryDirectory() as scratch:
            folder, manifest = write_variant(chosen.models / chosen.encoder, Path(scratch), variant)
            threads = len(os.sched_getaffinity(0))
            encoder = open_encoder(manifest, folder, threads=threads)
            loop = TokenSession(graph_path(manifest, folder), threads=threads)
            cells = [variant]
            cells.append(f"{pairs.score(partial(vectors, encoder)):.4f}")
            for kind, given in texts.items():
                made = vectors(encoder, given)
                cosines = (made * exact.setdefault(kind, made)).sum(axis=1)
                cells.append(f"{cosines.min():.4f}, {cosines.mean():.4f}")
            cells.append(f"{company(encoder, texts['short']):.0e}")
            for given in texts.values():
                ids = tokens(encoder, given)
                works = (partial(run_all, encoder, ids), partial(run_loop, loop, ids))
                rates = [rate(work, len(ids), chosen.rounds) for work in works]
                cells.append(", ".join(f"{each:,.0f}" for each in rates))
            print(f"| {' | '.join(cells)} |", flush=True)
            encoder.close()


def write_variant(source: Path, models: Path, variant: str) -> tuple[Path, Manifest]:
    """Write a model folder with this variant's graph in it."""
    folder = models / source.name
    folder.mkdir()
    (folder / "encoder.toml").write_bytes((source / "encoder.toml").read_bytes())
    manifest = with_variant(read_manifest(folder), "int8" if variant == "int8" else "fp32")
    obtain(manifest, folder, local_source=source)
    if variant == "dynamic":
        graph = folder / "dynamic.onnx"
        quantize_dynamic(
            graph_path(manifest, folder),
            graph,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        (folder / "encoder.toml").write_text(_published(source, graph), encoding="utf-8")
        manifest = read_manifest(folder)
    return folder, manifest


def _published(source: Path, graph: Path) -> str:
    """The manifest of a graph that was not built here."""
    manifest = (source / "encoder.toml").read_text(encoding="utf-8")
    before, after = manifest.index("[graph]"), manifest.index("[output]")
    return (
        manifest[:before]
        + f'[graph]\nfile = "{graph.name}"\nbatch = "alone"\n\n'
        + manifest[after:].replace('pool = "mean"', 'pool = "graph"')
        + f'\n[[files]]\npath = "{graph.name}"\n'
        + f'sha256 = "{hashlib.sha256(graph.read_bytes()).hexdigest()}"\n'
        + f"bytes = {graph.stat().st_size}\n"
    )


def tokens(encoder: Encoder, texts: Sequence[str]) -> list[Prepared]:
    """Tokenise texts."""
    ready = encoder.prepare(encoder.address(texts, "document"))
    assert all(isinstance(one, Prepared) for one in ready)
    return [one for one in ready if isinstance(one, Prepared)]


def vectors(encoder: Encoder, texts: Sequence[str], kind: TextKind = "document") -> F32:
    """Encode texts as the service would."""
    return encode(encoder, texts, kind, batch_tokens=BATCH_TOKENS).vectors


def company(encoder: Encoder, texts: Sequence[str]) -> float:
    """The largest difference of any number between a text among others and the text alone."""
    among = vectors(encoder, texts)[:200]
    alone = np.concatenate([vectors(encoder, [text]) for text in texts[:200]])
    return float(np.abs(among - alone).max())


def run_all(encoder: Encoder, ready: Sequence[Prepared]) -> None:
    """Run what is tokenised already, as the batcher packs it."""
    for batch in pack([one.cost for one in ready], BATCH_TOKENS):
        encoder.run([ready[place] for place in batch], "dense")


def run_loop(session: TokenSession, ready: Sequence[Prepared]) -> None:
    """The loop that anybody would write."""
    in_order = sorted((one.value for one in ready), key=len)
    for start in range(0, len(in_order), LOOP_TEXTS):
        session.run(in_order[start : start + LOOP_TEXTS])


def rate(work: Callable[[], None], texts: int, rounds: int) -> float:
    """Texts per second, the best of a few rounds: the machine is never quite idle."""
    best_s = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        best_s = min(best_s, time.perf_counter() - begun)
    return texts / best_s


if __name__ == "__main__":
    main()
