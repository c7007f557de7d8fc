"""The memory of an encoder over texts of mixed lengths: does it settle, or grow for ever?

    python -m bench.encoder_memory [--minutes N] [--variant int8|fp32] [--callers N]

Callers keep one encoder's queue filled from all lanes, with requests of 1 to 64 texts of 1 to 300
words, short ones more often. Resident memory is sampled once a second and told by quarters of the
time; what counts is the last one beside the first. Prints Markdown; writes `encoder_memory.json`
into bench/results. Ends with status 1 if the last quarter's mean is over the first's by a tenth.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from app.encoders.registry import EncoderRegistry
from app.encoders.turns import LANES
from bench.encode import write_variant
from bench.measures import table
from bench.process import Memory

ROOT = Path(__file__).parents[1]
QUARTERS = 4
WORDS = ("graph", "neural", "measure", "of", "the", "entropy", "bounded", "quantum", "and", "flow")
LONGEST_WORDS = 300
MOST_TEXTS = 64
GROWTH = 1.1


def resident_mb() -> float:
    """Resident memory as it is, without giving anything back first."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def text(draw: random.Random) -> str:
    words = round(LONGEST_WORDS ** draw.random())
    return " ".join(draw.choices(WORDS, k=words)) + f" {draw.random()}"


def keep_asking(registry: EncoderRegistry, name: str, seed: int, ended: threading.Event) -> None:
    draw = random.Random(seed)
    while not ended.is_set():
        texts = [text(draw) for _ in range(round(MOST_TEXTS ** draw.random()))]
        registry.submit(name, texts, "document", lane=draw.choice(LANES)).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--variant", default="int8")
    parser.add_argument("--callers", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    chosen = parser.parse_args()
    source = chosen.models / chosen.model
    ended = threading.Event()
    samples: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        write_variant(source, Path(scratch), chosen.variant)
        registry = EncoderRegistry(
            Path(scratch),
            threads=chosen.threads,
            queue=4096,
            batch_tokens=chosen.batch_tokens,
            local_source=source,
        )
        registry.load(chosen.model)
        loaded = Memory.now().resident
        callers = [
            threading.Thread(target=keep_asking, args=(registry, chosen.model, seed, ended))
            for seed in range(chosen.callers)
        ]
        for caller in callers:
            caller.start()
        until = time.monotonic() + 60 * chosen.minutes
        while time.monotonic() < until:
            time.sleep(1)
            samples.append(resident_mb())
        ended.set()
        for caller in callers:
            caller.join()
        (statistics,) = registry.statistics()
        registry.close()
    report(chosen, loaded, samples, statistics.batch_texts.sum)


def report(chosen: argparse.Namespace, loaded: float, samples: list[float], texts: float) -> None:
    """Print the quarters, write the file, end badly if it grew."""
    quarters = [part for part in np.array_split(np.array(samples), QUARTERS) if len(part)]
    title = (
        f"{chosen.model}, {chosen.variant}, {chosen.minutes:g} minutes, {texts:,.0f} texts, "
        f"{chosen.threads} threads, {chosen.batch_tokens} tokens a batch; "
        f"{loaded:.0f} MB when loaded"
    )
    rows = [
        [f"quarter {number}", *(f"{one:.0f} MB" for one in (part.min(), part.mean(), part.max()))]
        for number, part in enumerate(quarters, 1)
    ]
    print(f"{title}\n")
    print(table(["resident", "least", "mean", "most"], rows))
    chosen.results.mkdir(parents=True, exist_ok=True)
    kept = {"title": title, "loaded_mb": loaded, "samples_mb": samples}
    (chosen.results / "encoder_memory.json").write_text(json.dumps(kept))
    if quarters[-1].mean() > GROWTH * quarters[0].mean():
        sys.exit(1)


if __name__ == "__main__":
    main()
