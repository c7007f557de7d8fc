"""Measure what a filter costs before the search begins: read, named, made into bits.

    python -m bench.filters [--repeat 7]

Synthetic and seeded. 60,000 rows with the kinds of columns that catalogues have, one column of 10⁶
floats, and a head of 20,000 rows. Of each case five different filters are asked. Three steps
are timed, as a query pays for them:

    parse      decoded JSON → tree
    canonical  tree → the digest that keys the cache of bits; a hot filter ends here
    evaluate   tree and index → bits

`first` is the evaluation that met the index as it was opened: what an index keeps of a field for
later filters is made then.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from app.attributes.evaluate import evaluate
from app.attributes.filter import digest, parse_filter
from app.attributes.growing import GrowingIndex
from app.attributes.index import AttributeIndex
from app.types import U32
from bench.measures import table
from bench.process import pinned

ROWS, HEAD, MANY = 60_000, 20_000, 1_000_000
LISTED = 10_000  # values of the long $in
VARIANTS = 5  # different filters of one case
SIMPLE = 6  # cases of one or two conditions, which come first


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--repeat", type=int, default=7, help="runs of each filter; the best counts"
    )
    arguments = parser.parse_args()
    chance = random.Random(1)
    points = list(rows(chance))
    segment = AttributeIndex.build(points)
    head = GrowingIndex()
    for point in points[:HEAD]:
        head.append(point)
    column = AttributeIndex.build({"x": chance.random()} for _ in range(MANY))
    suites = (
        (segment, mixed_cases(chance)),
        (column, column_cases(chance)),
        (head, islice(mixed_cases(chance), SIMPLE)),
    )
    with pinned():
        for index in (AttributeIndex.build(points[:999]), head):  # loads the compiled code
            list(measured_cases(index, mixed_cases(random.Random(2)), 1))
        lines = [
            line
            for index, cases in suites
            for line in measured_cases(index, cases, arguments.repeat)
        ]
    print(table(["µs", "rows", "first", "parse", "canonical", "evaluate", "total"], lines))


def rows(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Make points as a catalogue has them: distinct titles, years, prices, tags, dates."""
    tags = [f"tag {i}" for i in range(40)]
    weights = [1 / (i + 1) for i in range(40)]
    for number in range(ROWS):
        year = min(2025, 1990 + int(36 * chance.random() ** 0.5))
        yield {
            "title": f"a title of some length, number {number}",
            "number": number,
            "year": year,
            "price": round(chance.lognormvariate(3, 1), 2),
            "kind": chance.choices(("article", "book", "map", "score"), (60, 30, 9, 1))[0],
            "tags": sorted(set(chance.choices(tags, weights, k=3))),
            "added": f"{year}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        }


Case = tuple[str, list[dict[str, Any]]]


def variants(make: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    return [make() for _ in range(VARIANTS)]


def mixed_cases(chance: random.Random) -> Iterator[Case]:
    def years(least: int = 6) -> dict[str, Any]:
        low = chance.randint(1995, 2018 - least)
        return {"$gte": low, "$lte": low + least + chance.randint(0, 3)}

    def prices(low: float, high: float) -> dict[str, Any]:
        return {"$gte": chance.uniform(0, low), "$lt": chance.uniform(low, high)}

    def tag() -> str:
        return f"tag {chance.randint(0, 5)}"

    yield "title =", variants(lambda: {"title": title(chance)})
    yield "kind = (.3 … .6)", variants(lambda: {"kind": chance.choice(("article", "book"))})
    yield "tags contains (.1 … .5)", variants(lambda: {"tags": tag()})
    yield "year between (.4)", variants(lambda: {"year": years()})
    yield "price between (.5)", variants(lambda: {"price": prices(10, 60)})
    yield "year = and tags contains", variants(lambda: {"year": 2010, "tags": tag()})
    yield (
        f"$in of {LISTED:,} titles",
        variants(lambda: {"title": {"$in": [title(chance, 2 * ROWS) for _ in range(LISTED)]}}),
    )
    yield (
        f"$in of {LISTED:,} integers",
        variants(lambda: {"number": {"$in": chance.sample(range(2 * ROWS), LISTED)}}),
    )
    yield (
        f"$in of {LISTED:,} prices",
        variants(
            lambda: {"price": {"$in": [round(chance.uniform(1, 400), 2) for _ in range(LISTED)]}}
        ),
    )
    yield (
        "300 wide ranges, or",
        variants(lambda: {"$or": [{"price": prices(9, 99)} for _ in range(300)]}),
    )
    yield (
        "1,000 conditions: 499 ranges of both ends, or",
        variants(lambda: {"$or": [{"price": prices(9, 99)} for _ in range(499)]}),
    )
    yield (
        "1,000 conditions: 499 ranges of both ends, and",
        variants(lambda: {"$and": [{"price": prices(9, 99)} for _ in range(499)]}),
    )
    yield (
        "1,000 conditions: 999 titles, or",
        variants(lambda: {"$or": [{"title": title(chance)} for _ in range(999)]}),
    )
    yield "1,000 conditions: a mixed tree", variants(lambda: tree(chance))


def tree(chance: random.Random) -> dict[str, Any]:
    """Make a filter of 1,000 conditions of every sort: and, or and not in three levels."""

    def leaf() -> dict[str, Any]:
        low = chance.randint(1990, 2020)
        return chance.choice(
            (
                {"year": {"$gte": low, "$lt": low + 5}},
                {"price": {"$gt": chance.uniform(1, 50)}},
                {"tags": f"tag {chance.randint(0, 39)}"},
                {"kind": {"$ne": "book"}},
                {"title": {"$in": [title(chance) for _ in range(5)]}},
                {"added": {"$lt": f"{low}-06-01"}},
                {"$not": {"tags": {"$in": ["tag 1", "tag 2"]}}},
            )
        )

    def conditions(raw: Any) -> int:
        if isinstance(raw, dict):
            return sum(conditions(value) + (name != "$ne") for name, value in raw.items())
        return sum(map(conditions, raw)) if isinstance(raw, list) else 0

    groups: list[dict[str, Any]] = []
    while conditions(groups) < 960:
        groups.append({chance.choice(("$and", "$or")): [leaf() for _ in range(8)]})
    return {"$or": [{"$and": groups[i : i + 6]} for i in range(0, len(groups), 6)]}


def column_cases(chance: random.Random) -> Iterator[Case]:
    def between(share: float) -> dict[str, Any]:
        low = chance.uniform(0, 1 - share)
        return {"x": {"$gte": low, "$lt": low + share}}

    def shares(share: float) -> list[dict[str, Any]]:
        return variants(lambda: between(share))

    for share in (0.001, 0.03, 0.5, 0.9):
        yield f"x between ({share:g})", shares(share)
    yield "300 wide ranges, or", variants(lambda: {"$or": [between(0.5) for _ in range(300)]})
    yield (
        "1,000 conditions: 199 (range or range), and",
        variants(lambda: {"$and": [{"$or": [between(0.4), between(0.4)]} for _ in range(199)]}),
    )
    yield (
        f"$in of {LISTED:,} floats",
        variants(lambda: {"x": {"$in": [chance.random() for _ in range(LISTED)]}}),
    )


def title(chance: random.Random, among: int = ROWS) -> str:
    return f"a title of some length, number {chance.randrange(among)}"


def measured_cases(
    index: AttributeIndex | GrowingIndex, cases: Iterable[Case], repeat: int
) -> Iterator[list[str]]:
    for name, raws in cases:
        times_us = measured(raws, index, repeat)
        yield [
            name,
            f"{index.slots:,}",
            *(f"{us:.1f}" if us < 100 else f"{us:,.0f}" for us in times_us),
        ]


def measured(
    raws: list[dict[str, Any]], index: AttributeIndex | GrowingIndex, repeat: int
) -> list[float]:
    """Time the steps: µs of the first evaluation of all, then means of each filter's best runs."""
    best = np.full((len(raws), 4), np.inf)
    first = 0.0
    for turn in range(repeat):
        for at, raw in enumerate(raws):
            # As from a request: no string or list of an earlier run comes again.
            decoded = json.loads(json.dumps(raw))
            times = [time.perf_counter()]
            filter = parse_filter(decoded)
            times.append(time.perf_counter())
            digest(filter)
            times.append(time.perf_counter())
            evaluate(filter, index, index.slots, no_ids)
            times.append(time.perf_counter())
            steps = np.diff(times) * 1e6
            if turn == at == 0:
                first = steps[2]
            best[at] = np.minimum(best[at], [*steps, steps.sum()])
    return [first, *best.mean(axis=0).tolist()]


def no_ids(_: Any) -> U32:
    return np.empty(0, np.uint32)


if __name__ == "__main__":
    main()
