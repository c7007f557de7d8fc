"""Writes covers (`app.segments.covers`): a pure function of a segment and of wishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.attributes.filter import AnyOf, canonical
from app.segments.covers import FORMAT, Wish
from app.segments.folder import finished_folder
from app.segments.packing import unpacked
from app.segments.segment import Segment
from app.segments.writer import Progress
from app.types import U32, IndexSettings, Metric
from app.vectors.builder import build_graph

_SHARE = 0.6  # a value that keeps more of the rows is served well enough by the whole graph
_EF_CONSTRUCTION = 100  # half the time of 200 for .002 of recall@10 (60,000 × 384)


def write_covers(
    folder: Path,
    segment: Segment,
    wishes: Sequence[Wish],
    metrics: Sequence[Metric],
    settings: IndexSettings,
    *,
    least: int,
    budget: int,
    threads: int,
    progress: Progress,
) -> None:
    """Build the covers that some wishes ask for and leave them, synced, at `folder`.

    least    fewest rows of a value that gets one
    budget   most rows of all covers together
    """
    chosen = _chosen(segment, wishes, least, budget)
    total = sum(rows.size for _, _, rows in chosen)
    covers = []
    done = 0
    with finished_folder(folder) as (work, files):
        for number, (field, condition, rows) in enumerate(chosen):
            graph = build_graph(
                segment.column(field).vectors[rows],
                metrics[field],
                replace(settings, ef_construction=_EF_CONSTRUCTION),
                scratch=work,
                threads=threads,
            )
            files += replace(graph, slots=rows).save(work, f"c{number}")
            covers.append(
                {
                    "field": field,
                    "condition": canonical(condition),
                    "entry": graph.entry,
                    "levels": graph.levels,
                }
            )
            done += rows.size
            progress("covering", done, total)
        files.describe({"format": FORMAT, "covers": covers, "settled": list(wishes)})


def _chosen(
    segment: Segment, wishes: Sequence[Wish], least: int, budget: int
) -> list[tuple[int, AnyOf, U32]]:
    """Choose values, the most frequent first, until the budget is spent."""
    candidates: list[tuple[int, AnyOf, U32]] = []
    for field, attribute in wishes:
        present = segment.present(field)
        has = None if present is None else unpacked(present, segment.slots)
        for condition, held in segment.frequent_values(attribute, least):
            rows = held if has is None else held[has[held]]
            if least <= rows.size <= _SHARE * segment.slots:
                candidates.append((field, condition, rows))
    candidates.sort(key=lambda candidate: -candidate[2].size)
    chosen = []
    for candidate in candidates:
        if candidate[2].size <= budget:
            budget -= candidate[2].size
            chosen.append(candidate)
    return chosen
