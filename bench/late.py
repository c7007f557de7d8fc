"""Measure how long rescoring by token vectors takes: every aggregator, every matcher.

    python -m bench.late [--candidates 100] [--tokens 32] [--dimension 128] [--profile KIND]

One core, products by numpy's library without threads, as in the service. An aggregator scores all
candidates in one call; a matcher is called for each, with places on a grid or in the plane. The
best of many runs is given, beside the time that the products alone would take at the peak that the
same library reaches here, the time that `app.ranking.tokens.cost` announces, and the most memory
that is taken meanwhile.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from app.ranking.tokens.aggregation import Aggregation, aggregate
from app.ranking.tokens.anchors import Anchors
from app.ranking.tokens.cost import PER_SECOND, cost
from app.ranking.tokens.dense import Dense
from app.ranking.tokens.matching import Matching, match
from app.ranking.tokens.mutual import MutualNearest
from app.ranking.tokens.second_order import SecondOrder
from app.ranking.tokens.segment import Segment
from app.ranking.tokens.sinkhorn import Sinkhorn
from app.types import F32

AGGREGATIONS = {
    "max": Aggregation("max"),
    "max, symmetric": Aggregation("max", symmetric=True),
    "mean": Aggregation("mean"),
    "lse": Aggregation("lse"),
    "attend": Aggregation("attend"),
    "attend, topk 8": Aggregation("attend", topk=8),
    "isa": Aggregation("isa", tau=0.01),
    "regulated": Aggregation("regulated"),
}
MATCHINGS = {
    "mutual_nn": Matching(MutualNearest()),
    "mutual_nn, topology": Matching(MutualNearest(), "topology"),
    "sinkhorn": Matching(Sinkhorn()),
    "graph": Matching(SecondOrder()),
    "segment": Matching(Segment()),
    "segment, cyclic": Matching(Segment(cyclic=True)),
    "anchors": Matching(Anchors()),
    "dense": Matching(Dense()),
}


def best_ms(work: Callable[[], Any], seconds: float = 0.5) -> float:
    """Milliseconds of the fastest run within about so many seconds, at least three."""
    work()
    best, until, runs = float("inf"), time.perf_counter() + seconds, 0
    while runs < 3 or time.perf_counter() < until:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
        runs += 1
    return best * 1e3


def peak() -> float:
    """Multiply-adds a second of a large product of float32."""
    a = np.ones((768, 768), np.float32)
    return 768**3 / (best_ms(lambda: a @ a) / 1e3)


def unit(seed: int, rows: int, dimension: int) -> F32:
    """Rows of length one."""
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def main() -> None:
    """Print one line for each aggregator and matcher."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--profile", help="print where the time of one of them goes")
    chosen = parser.parse_args()
    count, n, d = chosen.candidates, chosen.tokens, chosen.dimension
    query, tokens = unit(0, n, d), unit(1, count * n, d)
    offsets = np.arange(0, count * n + 1, n)
    side = max(1, round(n**0.5))
    grid, plane = unit(2, side * side, d), np.random.default_rng(0).uniform(0, 10, (n, 2))
    candidates = tokens.reshape(count, n, d)

    def run(how: Aggregation | Matching) -> None:
        if isinstance(how, Aggregation):
            aggregate(query, tokens, offsets, how)
        elif isinstance(how.by, Dense):
            for _ in range(count):
                match(grid, grid, how)
        else:
            for one in candidates:
                match(query, one, how, (plane, plane))

    every: dict[str, Aggregation | Matching] = {**AGGREGATIONS, **MATCHINGS}
    if chosen.profile:
        profile = cProfile.Profile()
        profile.runcall(lambda: [run(every[chosen.profile]) for _ in range(10)])
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)
        return
    flops = peak()
    print(f"{count} candidates and a query of {n} tokens of {d} numbers; one core,")
    print(f"{flops / 1e9:.1f} billion multiply-adds a second at the peak\n")
    print(f"{'':22}{'ms':>9}{'products, ms':>14}{'announced, ms':>15}{'peak, MB':>10}")
    for name, how in every.items():
        m = len(grid) if isinstance(how, Matching) and isinstance(how.by, Dense) else n
        took = best_ms(lambda how=how: run(how))  # type: ignore[misc]  # one name for two kinds
        tracemalloc.start()
        run(how)
        most = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        products = count * m * m * d / flops * 1e3
        announced = cost(how, m, [m] * count, d) / PER_SECOND * 1e3
        print(f"{name:22}{took:9.2f}{products:14.2f}{announced:15.2f}{most:10.1f}")


if __name__ == "__main__":
    main()
