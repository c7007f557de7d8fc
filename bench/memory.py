"""How right `classify` and `verify` are, on papers and faces, through the SDK and a real server.

    python -m bench.memory FOLDER [--points N] [--asked N] [--parts ways several strangers faces]

FOLDER holds `arxiv` (see `bench/papers.py`) and `images/att_faces` (40 people, 10 pictures each).
Papers that are asked about are never stored. Labels are `primary_cat`, one of 171, and for several
labels `categories`. Faces are read by the built-in image encoder; a threshold is chosen on half of
the people and measured on the other half. Prints Markdown.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from likewise import Classification, Client, Collection, Rate

from bench.arxiv import answers, attributes, server, wait_until
from bench.categories import NAMES
from bench.papers import Data, Paper, load

AT_ONCE = 200
PARTS = ("ways", "several", "strangers", "faces")
MODEL = "all-MiniLM-L6-v2"
WAYS: dict[str, dict[str, Any]] = {
    "1 neighbour": {"k": 1},
    "20 neighbours, uniform": {"k": 20, "weights": "uniform"},
    "20 neighbours, by similarity": {"k": 20, "weights": "similarity"},
    "20 neighbours, exponential (β = 20)": {"k": 20, "weights": "exponential"},
    "class means": {"method": "prototypes"},
    "names of categories (zero-shot)": {"method": "zero_shot", "labels": NAMES},
    "names, unlabelled cache (α = .3)": {
        "method": "cache", "labels": NAMES, "sample": 16_000,
    },
    "names, labelled cache (16 each, α = 20, β = 8)": {
        "method": "cache", "labels": NAMES, "labelled": True, "alpha": 20.0, "beta": 8.0,
        "temperature": 0.1,
    },
    "neighbours + means + names": {
        "heads": [
            {"name": "near", "k": 20, "weights": "exponential"},
            {"name": "means", "method": "prototypes"},
            {"name": "names", "method": "zero_shot", "labels": NAMES},
        ]
    },
}  # fmt: skip


def asked(
    collection: Collection, vectors: Sequence[Any], **how: Any
) -> tuple[list[Classification], float]:
    """Classify vectors; the results, and milliseconds of the service for each."""
    found: list[Classification] = []
    took_ms = 0.0
    for start in range(0, len(vectors), AT_ONCE):
        inputs = [{"vector": vector.tolist()} for vector in vectors[start : start + AT_ONCE]]
        answer = collection.classify(inputs, **how)
        found += answer.results
        took_ms += answer.took_ms
    return found, took_ms / len(vectors)


def accuracy(found: Sequence[Classification], papers: Sequence[Paper]) -> str:
    """Share of right first answers, and among the first five."""
    first = np.mean([a.label == p["primary_cat"] for a, p in zip(found, papers, strict=True)])
    five = np.mean(
        [
            p["primary_cat"] in [score.label for score in a.scores]
            for a, p in zip(found, papers, strict=True)
        ]
    )
    return f"{first:.3f} | {five:.3f}"


def f1(found: Sequence[Classification], papers: Sequence[Paper]) -> str:
    """Micro and macro F1 of several labels."""
    counts: dict[str, list[int]] = {}
    for answer, paper in zip(found, papers, strict=True):
        given, held = set(answer.labels or ()), set(paper["categories"])
        for label in given | held:
            own = counts.setdefault(label, [0, 0, 0])
            own[0] += label in given and label in held
            own[1] += label in given
            own[2] += label in held
    micro = np.array(list(counts.values())).sum(0)
    macro = np.mean([2 * a / (b + c) for a, b, c in counts.values()])
    return f"{2 * micro[0] / (micro[1] + micro[2]):.3f} | {macro:.3f}"


def papers(client: Client, data: Data, count: int, parts: Sequence[str]) -> Iterator[str]:
    """Measure classification."""
    stored, questions = data.papers[:-count], data.papers[-count:]
    vectors = data.vectors[-count:]
    collection = client.create_collection("papers", encoder=MODEL)
    collection.upsert(
        {"id": n, "vector": vector, "attributes": attributes(paper)}
        for n, (paper, vector) in enumerate(zip(stored, data.vectors, strict=False))
    )
    often = Counter(paper["primary_cat"] for paper in stored).most_common(1)[0][0]
    majority = np.mean([paper["primary_cat"] == often for paper in questions])
    yield f"{len(stored):,} papers remembered, {count:,} asked about.\n"
    if "ways" in parts:
        yield from ways(collection, vectors, questions, majority)
        yield from fitted(collection, vectors, questions)
    if "several" in parts:
        yield from several(collection, vectors, questions)
    if "strangers" in parts:
        yield from strangers(collection, vectors, questions)
    collection.drop()


def ways(
    collection: Collection, vectors: Sequence[Any], questions: list[Paper], majority: float
) -> Iterator[str]:
    """Each way to judge, and the most frequent label beside them."""
    yield "| by | accuracy | among the first five | ms each |\n|---|---|---|---|"
    yield f"| the most frequent category | {majority:.3f} | | |"
    for name, how in WAYS.items():
        found, took_ms = asked(collection, vectors, label="primary_cat", **how)
        yield f"| {name} | {accuracy(found, questions)} | {took_ms:.1f} |"


def fitted(collection: Collection, vectors: Sequence[Any], questions: list[Paper]) -> Iterator[str]:
    """Fit three heads on stored papers, each judged without itself."""
    made = collection.make_classifier(
        "fitted",
        label="primary_cat",
        fit={"sample": 4000, "what": ["temperature", "weights"]},
        **WAYS["neighbours + means + names"],
    )
    found, took_ms = asked(collection, vectors, classifier="fitted")
    yield f"| the three, fitted on 2,000 | {accuracy(found, questions)} | {took_ms:.1f} |"
    cache = collection.make_classifier(
        "cache",
        label="primary_cat",
        fit={"sample": 2000, "what": ["cache"]},
        **WAYS["names, unlabelled cache (α = .3)"],
    )
    yield f"\nReport of the fit: `{_rounded(made.report)}`; of the unlabelled cache's gate: "
    yield f"`{_rounded(cache.report)}`."


def several(
    collection: Collection, vectors: Sequence[Any], questions: list[Paper]
) -> Iterator[str]:
    """Several labels a paper: `categories`."""
    how: dict[str, Any] = {"k": 20, "weights": "exponential", "multi_label": True}
    yield "\n| several labels, 20 neighbours | micro F1 | macro F1 |\n|---|---|---|"
    for threshold in (0.5, 0.3):
        found, _ = asked(collection, vectors, label="categories", thresholds=threshold, **how)
        yield f"| at {threshold} | {f1(found, questions)} |"
    collection.make_classifier(
        "several", label="categories", fit={"sample": 4000, "what": ["thresholds"]}, **how
    )
    found, _ = asked(collection, vectors, classifier="several")
    yield f"| thresholds fitted for each label | {f1(found, questions)} |"


def strangers(
    collection: Collection, vectors: Sequence[Any], questions: list[Paper]
) -> Iterator[str]:
    """Papers of categories that are not remembered: what orders answers by how sure they are."""
    hidden = ["math.FA", "quant-ph", "cs.CL", "physics.flu-dyn", "q-bio.NC"]
    found, _ = asked(
        collection,
        vectors,
        label="primary_cat",
        k=20,
        weights="exponential",
        filter={"primary_cat": {"$nin": hidden}},
    )
    known = [paper["primary_cat"] not in hidden for paper in questions]
    right = [a.label == p["primary_cat"] for a, p in zip(found, questions, strict=True)]
    yield "\n| five categories forgotten, answers ordered by | µAP |\n|---|---|"
    for name, confidence in (
        ("share of the votes", [a.probability for a in found]),
        ("score, which compares between queries", [a.scores[0].score for a in found]),
        ("similarity of the nearest", [a.nearest or 0.0 for a in found]),
    ):
        order = np.argsort(-np.array(confidence), kind="stable")
        hits = np.array(right, dtype=np.float64)[order]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        yield f"| {name} | {(precision * hits).sum() / sum(known):.3f} |"


def faces(client: Client, folder: Path) -> Iterator[str]:
    """Measure verification and recognition."""
    collection = client.create_collection("faces", encoder="image-descriptor")
    pictures = sorted(folder.glob("s*/*.pgm"))
    for start in range(0, len(pictures), 50):
        collection.upsert(
            {
                "id": f"{one.parent.name}/{one.stem}",
                "image": one,
                "attributes": {"person": one.parent.name, "number": int(one.stem)},
            }
            for one in pictures[start : start + 50]
        )
    yield f"\n{len(pictures)} pictures of {len({one.parent for one in pictures})} people. "
    yield "A threshold is chosen on half of the people, and measured on the other half:\n"
    yield (
        "| aimed at FAR | seed | FAR on the others | over people | TAR on the others "
        "| over people |\n|---|---|---|---|---|---|"
    )
    for far in (0.1, 0.01, 0.001):
        for seed in range(3):
            made = collection.choose_threshold("t", label="person", target_far=far, seed=seed)
            yield (
                f"| {far} | {seed} | {made.far.share:.4f} | {_interval(made.far, 4)} "
                f"| {made.tar.share:.3f} | {_interval(made.tar, 3)} |"
            )
    few = {"number": {"$lte": 5}}
    last = [{"id": f"{one.parent.name}/{one.stem}"} for one in pictures if int(one.stem) > 5]
    truth = [one.parent.name for one in pictures if int(one.stem) > 5]
    yield "\n| five pictures of each are remembered, the other five asked about | accuracy |"
    yield "|---|---|"
    for name, how in {"1 neighbour": {"k": 1}, "class means": {"method": "prototypes"}}.items():
        found = collection.classify(last, label="person", filter=few, **how)
        right = np.mean([a.label == b for a, b in zip(found, truth, strict=True)])
        yield f"| {name} | {right:.3f} |"
    collection.drop()


def _interval(rate: Rate, digits: int) -> str:
    low, high = rate.over_labels or (rate.low, rate.high)
    return f"{low:.{digits}f}-{high:.{digits}f}"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items()}
    return value


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int)
    parser.add_argument("--asked", type=int, default=2000)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    chosen = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = load(chosen.folder / "arxiv", chosen.points, 1)
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), port),
        Client(f"http://127.0.0.1:{port}", timeout=600) as client,
    ):
        wait_until(lambda: answers(client))
        started = time.perf_counter()
        wait_until(lambda: client.ready().status == "ready")
        if set(chosen.parts) - {"faces"}:
            for line in papers(client, data, chosen.asked, chosen.parts):
                print(line, flush=True)
        if "faces" in chosen.parts:
            for line in faces(client, chosen.folder / "images" / "att_faces"):
                print(line, flush=True)
        print(f"\n{time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
