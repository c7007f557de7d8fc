"""Do query banks help on real texts? And how far are scores from probabilities?

    python -m bench.fusion FOLDER [--models models] [--encoder all-MiniLM-L6-v2]

FOLDER holds `scifact`, `cranfield` and `arxiv` as bench/README.md describes them. Queries of each
task are dealt to three parts: those of the bank, labelled ones by which method and strength are
chosen (as `PUT …/query-banks` does it), and those that are measured here, which had no say in
anything. The search is exact, over 100 candidates. Two planted sets, with hubs and without, are the
control.

For calibration, scores of the labelled queries' candidates are fitted, and the expected calibration
error is that of the candidates of the measured ones. Prints Markdown.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.encoders.base import Encoder, TextKind
from app.encoders.direct import encode
from app.encoders.manifest import read_manifest
from app.encoders.opening import open_encoder
from app.evaluation.classes import calibration_error
from app.ranking.calibration import fit
from app.ranking.hubness import METHODS, Penalty, occurrence_skew, similarities, sinkhorn_rows
from app.ranking.trial import DEPTH, chosen_apart, due_of, reached
from app.types import F32, F64, I64, Metric

CANDIDATES = 100
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
TAU = 0.05
_BLOCK = 256


@dataclass(frozen=True)
class Task:
    """Queries and documents as unit vectors; `right[q]` are places of documents."""

    name: str
    queries: F32
    documents: F32
    right: Sequence[I64]


@dataclass(frozen=True)
class Searched:
    """Candidates of some queries: places, scores, which are right, what is due."""

    places: I64
    scores: F64
    right: Any
    due: F64


def main() -> None:
    """Print a table of tasks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    chosen = parser.parse_args()
    folder = chosen.models / chosen.encoder
    threads = len(os.sched_getaffinity(0))
    encoder = open_encoder(read_manifest(folder), folder, threads=threads)
    print("| task | bank, labelled, measured | skew | chosen | gain on labelled | wins |", end="")
    print(" measured: R@1, nDCG@10 without | with |")
    print("|---|---|---|---|---|---|---|---|")
    tasks = [planted(hubs=True), planted(hubs=False)]
    tasks += [beir(chosen.folder / name, encoder) for name in ("scifact", "cranfield")]
    tasks.append(titles(chosen.folder / "arxiv", encoder))
    for task in tasks:
        print(row(task), flush=True)
    print("\n| task | curve | error before | after |\n|---|---|---|---|")
    for task in tasks[2:]:
        for method in ("platt", "isotonic"):
            before, after = calibrated(task, method)
            print(f"| {task.name} | {method} | {before:.3f} | {after:.3f} |", flush=True)


# ── measuring ────────────────────────────────────────────────────────────────────────────────


def parts_of(task: Task) -> tuple[I64, I64, I64]:
    """Deal the queries: bank, labelled, measured."""
    order = np.random.default_rng(0).permutation(len(task.queries))
    third = len(order) // 3
    return order[:third], order[third : 2 * third], order[2 * third :]


def row(task: Task) -> str:
    """Try a bank as the service does, and measure it on the rest."""
    asked, labelled, held = parts_of(task)
    bank = task.queries[asked]
    among = similarities(Metric.COSINE, task.documents, bank)
    rows = sinkhorn_rows(among[np.random.default_rng(0).permutation(len(among))[:5_000]], TAU)
    tries = [
        (method, strength, strength * Penalty(method, tau=TAU, log_rows=rows)(among))
        for method in METHODS
        for strength in STRENGTHS
    ]
    dev, test = search(task, labelled), search(task, held)
    raw = reached(dev.scores, dev.right, dev.due)
    results = [reached(dev.scores - taken[dev.places], dev.right, dev.due) for *_, taken in tries]
    ndcgs = np.stack([one.ndcg for one in results])
    verdict = chosen_apart(raw.ndcg, ndcgs)
    method, strength, taken = tries[int(ndcgs.mean(axis=1).argmax())]
    without = reached(test.scores, test.right, test.due)
    corrected = test.scores - taken[test.places]
    found = reached(corrected, test.right, test.due)
    skews = [
        occurrence_skew(
            np.take_along_axis(test.places, np.argsort(-scores, axis=1)[:, :DEPTH], axis=1),
            len(task.documents),
        )
        for scores in (test.scores, corrected)
    ]
    return (
        f"| {task.name} | {len(asked)}, {len(labelled)}, {len(held)} "
        f"| {skews[0]:.1f} → {skews[1]:.1f} | {method}, {strength} "
        f"| {verdict.gain:+.4f} ± {verdict.error:.4f} | {'yes' if verdict.wins else 'no'} "
        f"| {without.first.mean():.3f}, {without.ndcg.mean():.4f} "
        f"| {found.first.mean():.3f}, {found.ndcg.mean():.4f} |"
    )


def search(task: Task, chosen: I64) -> Searched:
    """Find the nearest documents of some queries, exactly."""
    places = np.empty((len(chosen), CANDIDATES), dtype=np.int64)
    scores = np.empty(places.shape)
    for start in range(0, len(chosen), _BLOCK):
        some = chosen[start : start + _BLOCK]
        every = task.queries[some] @ task.documents.T
        best = np.argpartition(-every, CANDIDATES, axis=1)[:, :CANDIDATES]
        own = np.take_along_axis(every, best, axis=1)
        order = np.argsort(-own, axis=1, kind="stable")
        places[start : start + _BLOCK] = np.take_along_axis(best, order, axis=1)
        scores[start : start + _BLOCK] = np.take_along_axis(own, order, axis=1)
    right = np.stack(
        [np.isin(row, task.right[query]) for row, query in zip(places, chosen, strict=True)]
    )
    due = due_of(np.array([len(task.right[query]) for query in chosen]))
    return Searched(places, scores, right, due)


def calibrated(task: Task, method: str) -> tuple[float, float]:
    """Fit a curve to labelled queries; the calibration error of others, before and after."""
    _, labelled, held = parts_of(task)
    known, asked = search(task, labelled), search(task, held)
    curve = fit(method, known.scores.ravel(), known.right.ravel())
    scores, right = asked.scores.ravel(), asked.right.ravel()
    return calibration_error(scores, right), calibration_error(curve(scores), right)


# ── tasks ────────────────────────────────────────────────────────────────────────────────────


def planted(*, hubs: bool, items: int = 3_000, dimension: int = 32) -> Task:
    """Queries that all lean one way; with hubs, so does one item in twenty."""
    dice = np.random.default_rng(1)
    own = dice.normal(size=(items, dimension)) / np.sqrt(dimension)
    queries = own + 0.7 * dice.normal(size=own.shape) / np.sqrt(dimension)
    stored = own.copy()
    if hubs:
        queries[:, 0] += 1.0
        stored[::20, 0] += 0.4
    name = "planted, with hubs" if hubs else "planted, without"
    return Task(name, unit(queries), unit(stored), [np.array([n]) for n in range(items)])


def beir(folder: Path, encoder: Encoder) -> Task:
    """A folder as BEIR lays it out, with every judged query there is."""
    documents = list(lines(next(folder.glob("corpus.jsonl*"))))
    places = {one["_id"]: place for place, one in enumerate(documents)}
    gains: dict[str, list[int]] = {}
    for path in sorted(folder.glob("qrels*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            query, document, score = line.split("\t")
            if float(score) > 0 and document in places:
                gains.setdefault(query, []).append(places[document])
    queries = [one for one in lines(folder / "queries.jsonl") if one["_id"] in gains]
    return Task(
        folder.name,
        vectors(encoder, [one["text"] for one in queries], "query"),
        vectors(encoder, [f"{one.get('title', '')} {one['text']}" for one in documents]),
        [np.array(gains[one["_id"]]) for one in queries],
    )


def titles(folder: Path, encoder: Encoder, count: int = 3_000) -> Task:
    """Papers found by their titles alone, among all papers."""
    documents = np.load(folder / "papers.vectors.f16.npy").astype(np.float64)
    papers = [one["title"] for one in lines(folder / "papers.jsonl.gz")]
    drawn = np.random.default_rng(0).permutation(len(papers))[:count]
    asked = vectors(encoder, [papers[place] for place in drawn], "query")
    return Task("arXiv, by title", asked, unit(documents), [np.array([n]) for n in drawn])


def vectors(encoder: Encoder, texts: Sequence[str], kind: TextKind = "document") -> F32:
    """Encode texts as the service would."""
    return unit(encode(encoder, texts, kind).vectors.astype(np.float64))


def unit(rows: F64) -> F32:
    """Bring rows to length one."""
    found: F32 = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Read JSON lines, gzipped or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


if __name__ == "__main__":
    main()
