"""Measure a text encoder: agreement with people, texts per second, influence of neighbours.

    python bench/encode.py stsb-test.jsonl [--models models] [--encoder all-MiniLM-L6-v2]

The data is JSON lines with `s1`, `s2` and `score` (the STS benchmark, Cer et al. 2017). Variants
are made by rewriting the manifest in a scratch folder, with the installed model as local source:

    fp32           the graph in float32, batched
    int8           as installed: dynamic quantisation, each text alone
    int8-together  the same graph, batched: what "alone" protects from
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.encoders.base import Encoded
from app.encoders.registry import EncoderRegistry

LONG_TEXTS, LONG_SENTENCES = 80, 12  # a dozen sentences are about an abstract
RUNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--variants", nargs="+", default=["fp32", "int8", "int8-together"])
    arguments = parser.parse_args()
    with arguments.data.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    source = arguments.models / arguments.encoder
    print(
        "variant        budget threads  Spearman  short/s  long/s  cosine alone·batched (min mean)"
    )
    for variant in arguments.variants:
        with tempfile.TemporaryDirectory() as scratch:
            write_variant(source, Path(scratch), variant)
            for budget in arguments.batch_tokens:
                for threads in (1, 2):
                    registry = EncoderRegistry(
                        Path(scratch),
                        threads=threads,
                        queue=100_000,
                        batch_tokens=budget,
                        local_source=source,
                    )
                    registry.load(arguments.encoder)
                    print(f"{variant:14} {budget:6} {threads:7}", end="  ", flush=True)
                    print(measure(registry, arguments.encoder, rows), flush=True)
                    registry.close()


def write_variant(source: Path, models: Path, variant: str) -> None:
    folder = models / source.name
    folder.mkdir()
    manifest = (source / "encoder.toml").read_text(encoding="utf-8")
    if variant == "int8-together":
        graph = (source / "model.int8.onnx").read_bytes()
        before, after = manifest.index("[graph]"), manifest.index("[output]")
        manifest = (
            manifest[:before]
            + '[graph]\nfile = "model.int8.onnx"\nbatch = "together"\n\n'
            + manifest[after:].replace('pool = "mean"', 'pool = "graph"')
            + '\n[[files]]\npath = "model.int8.onnx"\n'
            + f'sha256 = "{hashlib.sha256(graph).hexdigest()}"\nbytes = {len(graph)}\n'
        )
    else:
        manifest = manifest.replace('variant = "int8"', f'variant = "{variant}"')
    (folder / "encoder.toml").write_text(manifest, encoding="utf-8")


def measure(registry: EncoderRegistry, name: str, rows: list[dict[str, object]]) -> str:
    firsts = [str(row["s1"]) for row in rows]
    seconds = [str(row["s2"]) for row in rows]
    encoded = encode(registry, name, firsts)
    cosines = np.einsum("nd,nd->n", encoded.vectors, encode(registry, name, seconds).vectors)
    people = np.array([row["score"] for row in rows], np.float64)
    alone = np.concatenate([encode(registry, name, [text]).vectors for text in firsts[:300]])
    agreement = np.einsum("nd,nd->n", alone, encoded.vectors[:300])
    short = list(dict.fromkeys(firsts))[:600]
    long = [" ".join(firsts[text * 6 : text * 6 + LONG_SENTENCES]) for text in range(LONG_TEXTS)]
    tokens = [sum(encode(registry, name, texts).tokens) / len(texts) for texts in (short, long)]
    return (
        f"{spearman(cosines, people):8.4f}  {rate(registry, name, short):7.0f} "
        f"{rate(registry, name, long):7.0f}  {agreement.min():.4f} {agreement.mean():.4f}"
        f"  ({tokens[0]:.0f} and {tokens[1]:.0f} tokens)"
    )


def encode(registry: EncoderRegistry, name: str, texts: list[str]) -> Encoded:
    return registry.submit(name, texts, "document").result()


def rate(registry: EncoderRegistry, name: str, texts: list[str]) -> float:
    """Texts per second, the best of a few runs: the machine is never quite idle."""
    best = float("inf")
    for _ in range(RUNS):
        begun = time.perf_counter()
        encode(registry, name, texts)
        best = min(best, time.perf_counter() - begun)
    return len(texts) / best


def spearman(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Rank correlation, ties at their mean rank."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: NDArray[np.float64] = (ends - (counts - 1) / 2)[place]
    return means


if __name__ == "__main__":
    main()
