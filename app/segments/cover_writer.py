"""Writes covers (`app.segments.covers`): a pure function of a segment and of wishes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from app.attributes.filter import AnyOf, Range, canonical
from app.segments.covers import FORMAT, Wish, describe
from app.segments.folder import finished_folder
from app.segments.packing import unpacked
from app.segments.segment import Segment
from app.segments.writer import Progress
from app.types import U32, IndexSettings, Metric
from app.vectors.builder import build_graph
from app.vectors.code_builder import build_from_codes
from app.vectors.column import Column
from app.vectors.graph import Graph, compact, link_bytes

_SHARE = 0.6  # what keeps more of the rows is served well enough by the whole graph
_FEW_NODES = 40_000
_FEW_LINKS = 0.75  # of the whole graph's: a small graph needs fewer, and is walked faster for it
_EF_CONSTRUCTION = 100  # half the time of 200, for .003 of recall@10 (30,000 × 384)
_SPANS = ((0.0, 0.5), (0.25, 0.75), (0.5, 1.0))
"""Windows of a range attribute: halves that overlap. Any range narrower than a quarter lies in one,
most of up to a half do. Quarters too gave ranges a tenth more speed, for twice the rows."""


def write_covers(
    folder: Path,
    segment: Segment,
    wishes: Sequence[Wish],
    metrics: Sequence[Metric],
    m: int,
    *,
    least: int,
    budget: int,
    threads: int,
    progress: Progress,
) -> None:
    """Build the covers that some wishes ask for and leave them, synced, at `folder`.

    m        of the whole graph
    least    fewest rows of one cover
    budget   most bytes of all covers together
    """
    chosen = _chosen(segment, wishes, m, least, budget)
    total = sum(rows.size for _, _, rows in chosen)
    covers = []
    done = 0
    with (
        finished_folder(folder) as (work, files),
        ThreadPoolExecutor(threads) as pool,  # each builds one graph at a time, without the GIL
    ):
        building = [
            pool.submit(_built, segment.column(vector), rows, metrics[vector], m, work)
            for vector, _, rows in chosen
        ]
        for number, (vector, condition, rows) in enumerate(chosen):
            graph = building[number].result()
            files += compact(graph).save(work, f"c{number}")
            described = describe(condition, canonical(condition))
            covers.append(
                {"field": vector, **described, "entry": graph.entry, "levels": graph.levels}
            )
            done += rows.size
            progress("covering", done, total)
        files.describe(
            {"format": FORMAT, "covers": covers, "settled": [[*wish] for wish in wishes]}
        )


def _built(column: Column, rows: U32, metric: Metric, whole_m: int, scratch: Path) -> Graph:
    settings = IndexSettings(_links(whole_m, rows.size), _EF_CONSTRUCTION)
    if column.codes is not None:
        return build_from_codes(column.codes, rows, metric, settings)
    graph = build_graph(column.vectors[rows], metric, settings, scratch=scratch)
    return replace(graph, slots=rows)


def _links(whole_m: int, nodes: int) -> int:
    """Choose m for a graph of so many nodes beside a whole one of `whole_m`."""
    return max(8, round(_FEW_LINKS * whole_m)) if nodes <= _FEW_NODES else whole_m


def _chosen(
    segment: Segment, wishes: Sequence[Wish], m: int, least: int, budget: int
) -> list[tuple[int, AnyOf | Range, U32]]:
    """Choose values, then windows, the largest first, until the budget is spent.

    A value's cover fits its filters exactly, and values are what is related to the vectors.
    """
    candidates: list[tuple[int, AnyOf | Range, U32]] = []
    for wish in wishes:
        present = segment.present(wish.vector)
        has = None if present is None else unpacked(present, segment.slots)
        for condition, held in _conditions(segment, wish, least):
            rows = held if has is None else held[has[held]]
            if max(least, 1) <= rows.size <= _SHARE * segment.slots:
                candidates.append((wish.vector, condition, rows))
    candidates.sort(key=lambda candidate: (isinstance(candidate[1], Range), -candidate[2].size))
    chosen = []
    for candidate in candidates:
        nodes = candidate[2].size
        cost = nodes * (4 + 2 * _links(m, nodes) * link_bytes(nodes))
        if cost <= budget:
            budget -= cost
            chosen.append(candidate)
    return chosen


def _conditions(segment: Segment, wish: Wish, least: int) -> Iterator[tuple[AnyOf | Range, U32]]:
    if wish.over == "values":
        yield from segment.frequent_values(wish.attribute, least)
    else:
        over = cast(Literal["numbers", "instants"], wish.over)
        yield from segment.windows(wish.attribute, over, _SPANS)
