"""Compositions on real papers: what they find, and what they cost, over the SDK and a real server.

    python -m bench.algebra FOLDER [--points N] [--queries N]

The folder is described in `bench/papers.py`. Categories of papers are the labels: a paper has one
to eleven. Every line stands beside what it is to beat. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import socket
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from likewise import Client, Collection

from bench.arxiv import answers, ingest, server, wait_until
from bench.papers import Data, load

Task = Callable[[], list[tuple[str, list[float]]]]
Ask = Mapping[str, Any]
DICTIONARY = {"field": "categories", "most": 128}


class Papers:
    """The papers, the collection that holds them, and a source of draws."""

    def __init__(self, data: Data, collection: Collection, queries: int) -> None:
        self.data, self.collection, self.queries = data, collection, queries
        self.random = np.random.default_rng(7)
        self.categories = [set(paper["categories"]) for paper in data.papers]
        self.primary: dict[str, list[int]] = defaultdict(list)
        self.having: dict[str, list[int]] = defaultdict(list)
        for number, paper in enumerate(data.papers):
            self.primary[paper["primary_cat"]].append(number)
            for category in paper["categories"]:
                self.having[category].append(number)

    def find(self, query: Ask, k: int = 20, **more: Any) -> list[int]:
        """Ids of the nearest k."""
        found = self.collection.query(query=query, k=k, fields=[], with_text=False, **more)
        return [int(hit.id) for hit in found]

    def draw(self, of: Sequence[Any], count: int) -> list[Any]:
        """Draw without repetition."""
        return [of[at] for at in self.random.choice(len(of), count, replace=False).tolist()]


def intersections_of_labels(papers: Papers) -> dict[str, list[float]]:
    """Papers that are in both of two categories: precision at 20."""
    pairs: dict[tuple[str, str], int] = defaultdict(int)
    for having in papers.categories:
        ordered = sorted(having)
        for at, one in enumerate(ordered):
            for other in ordered[at + 1 :]:
                pairs[one, other] += 1
    common = sorted(pair for pair, count in pairs.items() if count >= 40)
    rows: dict[str, list[float]] = defaultdict(list)
    for pair in papers.draw(common, min(papers.queries, len(common))):
        labels = [{"label": {"field": "categories", "value": one}} for one in pair]
        for name, query in {
            "one of the two": labels[0],
            "sum": {"sum": labels},
            "sum, centred": {"sum": labels, "center": True},
            "intersect, scores": {"intersect": labels},
            "union, concepts": {"union": labels, "concepts": DICTIONARY},
        }.items():
            found = papers.find(query)
            rows[name].append(np.mean([set(pair) <= papers.categories[id_] for id_ in found]))
    return rows


def operations_on_papers(papers: Papers) -> dict[str, list[float]]:
    """Two papers with some of their categories in common: Jaccard at 20 with the wanted set."""
    rows: dict[str, list[float]] = defaultdict(list)
    several = [n for n, having in enumerate(papers.categories) if len(having) >= 2]
    by_category: dict[str, list[int]] = defaultdict(list)
    for number in several:
        for category in papers.categories[number]:
            by_category[category].append(number)
    done = 0
    while done < papers.queries:
        (one,) = papers.draw(several, 1)
        (shared,) = papers.draw(sorted(papers.categories[one]), 1)
        (other,) = papers.draw(by_category[shared], 1)
        a, b = papers.categories[one], papers.categories[other]
        if one == other or not a - b or not b - a:
            continue
        done += 1
        terms = [{"id": one}, {"id": other}]
        for node, target in (("intersect", a & b), ("subtract", a - b)):
            plain = "sum" if node == "intersect" else "subtract"
            for name, query in {
                f"{node}: first alone": terms[0],
                f"{node}: {plain} of vectors": {plain: terms},
                f"{node}: {plain} of vectors, centred": {plain: terms, "center": True},
                f"{node}: reject": {"reject": terms},
                f"{node}: reject, centred": {"reject": terms, "center": True},
                f"{node}: scores": {node: terms, "by": "scores"},
                f"{node}: concepts of categories": {node: terms, "concepts": DICTIONARY},
                f"{node}: same, not centred": {
                    node: terms,
                    "concepts": DICTIONARY,
                    "center": False,
                },
                f"{node}: concepts by k-means": {node: terms, "concepts": {"kmeans": 128}},
            }.items():
                if node == "intersect" and "reject" in name:
                    continue
                try:
                    found = papers.find(query)
                except Exception:  # nothing left: counts as nothing found
                    rows[name].append(0.0)
                    continue
                likeness = [
                    len(papers.categories[id_] & target) / len(papers.categories[id_] | target)
                    for id_ in found
                ]
                rows[name].append(float(np.mean(likeness)))
    return rows


def set_expansion(papers: Papers) -> dict[str, list[float]]:
    """Five papers of one primary category: precision at 50 for the others."""
    rows: dict[str, list[float]] = defaultdict(list)
    large = sorted(name for name, members in papers.primary.items() if len(members) >= 100)
    for _ in range(papers.queries):
        (name,) = papers.draw(large, 1)
        members = papers.draw(papers.primary[name], 5)
        for how, query in {
            "first paper alone": {"id": members[0]},
            "mean": {"set": members, "background": "none"},
            "less the collection's mean": {"set": members},
            "centred cosine": {"set": members, "center": True},
            "recommend, best_score": {"recommend": {"positive": members, "strategy": "best_score"}},
        }.items():
            found = papers.find(query, 50)
            right = [papers.data.papers[id_]["primary_cat"] == name for id_ in found]
            rows[how].append(float(np.mean(right)))
    return rows


def recommendations(papers: Papers) -> dict[str, list[float]]:
    """Three papers of one category, three negatives of its nearest rival: precision at 20."""
    rows: dict[str, list[float]] = defaultdict(list)
    large = sorted(name for name, members in papers.primary.items() if len(members) >= 100)
    means = np.stack([papers.data.vectors[papers.primary[name]].mean(axis=0) for name in large])
    near = means @ means.T
    np.fill_diagonal(near, -1)
    for _ in range(papers.queries):
        (at,) = papers.draw(range(len(large)), 1)
        rival = large[int(near[at].argmax())]
        positive = papers.draw(papers.primary[large[at]], 3)
        negative = papers.draw(papers.primary[rival], 3)
        sides = {"positive": positive, "negative": negative}
        pairs = [
            {"positive": one, "negative": other}
            for one, other in zip(positive, negative, strict=True)
        ]
        for how, query in {
            "mean of the positives": {"recommend": {"positive": positive}},
            "average_vector": {"recommend": sides},
            "best_score": {"recommend": {**sides, "strategy": "best_score"}},
            "sum_scores": {"recommend": {**sides, "strategy": "sum_scores"}},
            "discover, first positive as target": {
                "discover": {"target": positive[0], "context": pairs}
            },
            "condition, like and unlike": {
                "condition": {"of": positive[0], "like": positive[1:], "unlike": negative}
            },
        }.items():
            found = papers.find(query)
            right = [papers.data.papers[id_]["primary_cat"] == large[at] for id_ in found]
            rows[how].append(float(np.mean(right)))
    return rows


def conditions(papers: Papers) -> dict[str, list[float]]:
    """Papers of the same primary category as one: precision at 20, by category or as a whole."""
    rows: dict[str, list[float]] = defaultdict(list)
    frequent = sorted(papers.primary, key=lambda name: -len(papers.primary[name]))[:32]
    texts = [CATEGORY_NAMES.get(name, name) for name in frequent]
    labels = {"field": "primary_cat", "values": frequent}
    for _ in range(papers.queries):
        (name,) = papers.draw(frequent, 1)
        (of,) = papers.draw(papers.primary[name], 1)
        for how, query in {
            "the paper alone": {"id": of},
            "focus on primary_cat, by labels": {"condition": {"of": of, "labels": labels}},
            "… compared by distance": {
                "condition": {"of": of, "labels": labels, "compare": "distance"}
            },
            "… with rest .1": {"condition": {"of": of, "labels": labels, "rest": 0.1}},
            "focus by 32 texts that name fields": {"condition": {"of": of, "texts": texts}},
        }.items():
            found = papers.find(query)
            right = [papers.data.papers[id_]["primary_cat"] == name for id_ in found]
            rows[how].append(float(np.mean(right)))
    return rows


CATEGORY_NAMES = {
    "hep-ph": "phenomenology of high energy physics",
    "hep-th": "theory of high energy physics, strings",
    "quant-ph": "quantum physics",
    "gr-qc": "general relativity and quantum cosmology",
    "astro-ph": "astrophysics",
    "astro-ph.GA": "galaxies",
    "astro-ph.CO": "cosmology",
    "astro-ph.SR": "stars and the sun",
    "astro-ph.HE": "high energy astrophysics",
    "cond-mat.mes-hall": "mesoscopic and nanoscale physics",
    "cond-mat.mtrl-sci": "materials science",
    "cond-mat.str-el": "strongly correlated electrons",
    "cond-mat.stat-mech": "statistical mechanics",
    "cond-mat.supr-con": "superconductivity",
    "cs.LG": "machine learning",
    "cs.CV": "computer vision",
    "cs.CL": "language processing",
    "cs.IT": "information theory",
    "math.AG": "algebraic geometry",
    "math.CO": "combinatorics",
    "math.AP": "analysis of partial differential equations",
    "math.PR": "probability",
    "math.NT": "number theory",
    "math.DG": "differential geometry",
    "nucl-th": "nuclear theory",
    "math-ph": "mathematical physics",
    "hep-ex": "experiments of high energy physics",
    "physics.optics": "optics",
    "math.OC": "optimisation and control",
    "stat.ML": "statistical learning",
    "hep-lat": "lattice field theory",
    "math.DS": "dynamical systems",
}

TASKS: dict[str, Callable[[Papers], dict[str, list[float]]]] = {
    "in both of two categories, P@20": intersections_of_labels,
    "two papers, Jaccard@20": operations_on_papers,
    "set expansion from 5, P@50": set_expansion,
    "3 positive, 3 negative of the nearest rival, P@20": recommendations,
    "same primary_cat as one paper, P@20": conditions,
}


def costs(papers: Papers, pid: int, runs: int = 60) -> list[tuple[str, float, float]]:
    """Milliseconds of the server's processor time of each node, all of HTTP included.

    The first time on a state, when nothing is remembered (to 10 ms); and on average after that.
    Processor time, since it does not depend on what else the machine does.
    """
    rows = []
    for name, build in NODES.items():
        papers.collection.upsert([{"id": 10**9, "vector": papers.data.vectors[0]}])
        papers.collection.delete(ids=[10**9])
        spent = []
        for part in (1, 5, runs):  # the first; some for caches to fill; those that count
            begun = processor_ms(pid)
            for _ in range(part):
                papers.find(build(papers.draw(range(len(papers.data.papers)), 8)), 10)
            spent.append((processor_ms(pid) - begun) / part)
        rows.append((name, spent[0], spent[2]))
    return rows


def processor_ms(pid: int) -> float:
    """Processor time that a process has taken, its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")


NODES: dict[str, Callable[[list[int]], Ask]] = {
    "id": lambda ids: {"id": ids[0]},
    "sum of 2": lambda ids: {"sum": [{"id": ids[0]}, {"id": ids[1]}]},
    "reject": lambda ids: {"reject": [{"id": ids[0]}, {"id": ids[1]}]},
    "set of 8, background collection": lambda ids: {"set": ids},
    "set of 8, centred": lambda ids: {"set": ids, "center": True},
    "label": lambda ids: {"label": {"field": "primary_cat", "value": "cs.LG"}},
    "union of 2, scores": lambda ids: {"union": [{"id": ids[0]}, {"id": ids[1]}]},
    "intersect of 2, scores": lambda ids: {"intersect": [{"id": ids[0]}, {"id": ids[1]}]},
    "union of 2, 128 values": lambda ids: {
        "union": [{"id": ids[0]}, {"id": ids[1]}],
        "concepts": DICTIONARY,
    },
    "union of 2, 128 k-means": lambda ids: {
        "union": [{"id": ids[0]}, {"id": ids[1]}],
        "concepts": {"kmeans": 128},
    },
    "condition, 32 labels": lambda ids: {"condition": {"of": ids[0], "labels": "primary_cat"}},
    "condition, like and unlike": lambda ids: {
        "condition": {"of": ids[0], "like": ids[1:4], "unlike": ids[4:]}
    },
    "uncertain, labels": lambda ids: {"uncertain": {"of": ids[0], "labels": "primary_cat"}},
    "recommend, average_vector": lambda ids: {
        "recommend": {"positive": ids[:4], "negative": ids[4:]}
    },
    "recommend, best_score": lambda ids: {
        "recommend": {"positive": ids[:4], "negative": ids[4:], "strategy": "best_score"}
    },
    "discover, 2 pairs": lambda ids: {
        "discover": {
            "target": ids[0],
            "context": [
                {"positive": ids[1], "negative": ids[2]},
                {"positive": ids[3], "negative": ids[4]},
            ],
        }
    },
    "context, 2 pairs": lambda ids: {
        "context": [
            {"positive": ids[1], "negative": ids[2]},
            {"positive": ids[3], "negative": ids[4]},
        ]
    },
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int)
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--only", choices=("finds", "costs"))
    arguments = parser.parse_args()
    data = load(arguments.folder, arguments.points, 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), port) as process,
        Client(f"http://127.0.0.1:{port}", timeout=300) as client,
    ):
        wait_until(lambda: answers(client))
        encoder = {"encoder": "all-MiniLM-L6-v2"}
        collection = client.create_collection("papers", vectors={"default": encoder})
        ingest(collection, data)
        wait_until(lambda: not collection.describe().building)
        papers = Papers(data, collection, arguments.queries)
        print(f"{len(data.papers):,} papers × {data.vectors.shape[1]}\n")
        if arguments.only != "costs":
            for title, task in TASKS.items():
                print(f"| {title} | |\n|---|---|")
                for name, values in task(papers).items():
                    print(f"| {name} | {np.mean(values):.3f} |", flush=True)
                print()
        if arguments.only != "finds":
            print("| node | first, CPU ms | then, CPU ms |\n|---|---|---|")
            for name, first, then in costs(papers, process.pid):
                print(f"| {name} | {first:.0f} | {then:.1f} |", flush=True)
        collection.drop()


if __name__ == "__main__":
    main()
