"""Measure what a hybrid query takes beside the dense query alone: 60,000 abstracts, titles asked.

    python -m bench.hybrid_speed ARXIV [--points N] [--queries N]

ARXIV holds papers.jsonl.gz and queries.jsonl.gz with the vectors of both. Title and abstract are a
point's text, in the lexical index; its vector is given. Every query is asked in every way, one
after the other, so that whatever else the machine does falls on all of them alike:

    by text     the encoder is part of both queries
    by vector   the title's vector is given; hybrid looks for its words besides
    words       the lexical index alone

once over HTTP, one connection, at default settings; once as the engine answers them, without
service and HTTP. Ratios are of medians.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from likewise import Client

from app.backends.base import Backend, Projection, Search, View, Words
from app.backends.local import LocalBackend
from app.query.plan import Plan
from app.query.read import Asked, PlanReader
from app.query.running import Running
from app.types import F32, TEXT_FIELD, Definition, Lexical, Metric, Point, VectorField
from bench.arxiv import answers, server, wait_until
from bench.measures import percentile_ms
from bench.papers import Data, K, load
from bench.servers.base import free_port

NAME = "papers"
ENCODER = "all-MiniLM-L6-v2"
ATTRIBUTES = ("year", "primary_cat")
WARM_UP = 30
SETTLED_S = 8.0
IDS_ONLY = Projection(frozenset(), with_text=False)

Ways = Mapping[str, Callable[[int], Any]]


def titles(folder: Path, count: int | None) -> list[str]:
    """Read the titles that are asked for."""
    with gzip.open(folder / "queries.jsonl.gz", "rt") as lines:
        return [json.loads(line)["title"] for line in lines][:count]


def measured(ways: Ways, count: int) -> dict[str, list[float]]:
    """Ask every question in every way; gives the seconds of each."""
    for ask in ways.values():
        for number in range(min(WARM_UP, count)):
            ask(number)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(count):
        for name, ask in ways.items():
            begun = time.perf_counter()
            ask(number)
            taken[name].append(time.perf_counter() - begun)
    return taken


def rows(title: str, taken: Mapping[str, list[float]]) -> Iterator[str]:
    """Write a table; a hybrid way is held against the dense one that it is named after."""
    yield f"\n{title}\n"
    yield "| query | p50 ms | p95 ms | hybrid : dense |"
    yield "|---|---|---|---|"
    medians = {name: percentile_ms(times, 50) for name, times in taken.items()}
    for name, times in taken.items():
        dense = name.replace("hybrid", "dense")
        ratio = f"{medians[name] / medians[dense]:.2f}" if dense != name else ""
        yield f"| {name} | {medians[name]:.2f} | {percentile_ms(times, 95):.2f} | {ratio} |"


def quiet(building: Callable[[], bool]) -> Callable[[], bool]:
    """Tell when nothing was built for a while: an idle collection is merged further."""
    since = time.perf_counter()

    def settled() -> bool:
        nonlocal since
        if building():
            since = time.perf_counter()
        return time.perf_counter() - since > SETTLED_S

    return settled


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────


def text_of(paper: Mapping[str, Any]) -> str:
    """Give what a point's text is."""
    return f"{paper['title']}. {paper['abstract']}"


def over_http(data: Data, asked: list[str]) -> dict[str, list[float]]:
    """Load a service, wait until everything is indexed, and ask."""
    port = free_port()
    os.environ["LIKEWISE_ENCODERS"] = ENCODER
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), port),
        Client(f"http://127.0.0.1:{port}", timeout=600) as client,
    ):
        wait_until(lambda: answers(client) and client.ready().status == "ready")
        papers = client.create_collection(NAME, encoder=ENCODER, lexical=True)
        papers.upsert(
            {
                "id": number,
                "vector": vector,
                "text": text_of(paper),
                "attributes": {name: paper[name] for name in ATTRIBUTES},
            }
            for number, (paper, vector) in enumerate(zip(data.papers, data.vectors, strict=True))
        )
        wait_until(quiet(lambda: papers.describe().building))
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def way(question: Callable[[int], Mapping[str, Any]]) -> Callable[[int], None]:
            shown = {"k": K, "fields": [], "with_text": False}
            bodies = [json.dumps({**question(n), **shown}).encode() for n in range(len(asked))]

            def ask(number: int) -> None:
                path, kind = f"/v1/collections/{NAME}/query", {"Content-Type": "application/json"}
                connection.request("POST", path, bodies[number], kind)
                answer = connection.getresponse()
                told = answer.read()
                assert answer.status == 200, told

            return ask

        vectors = [vector.tolist() for vector in data.queries]
        return measured(
            {
                "dense by text": way(lambda n: {"text": asked[n]}),
                "hybrid by text": way(lambda n: {"text": asked[n], "hybrid": True}),
                "dense by vector": way(lambda n: {"vector": vectors[n]}),
                "hybrid by vector": way(
                    lambda n: {"vector": vectors[n], "hybrid": {"text": asked[n]}}
                ),
                "words": way(lambda n: {"query": {"lexical": asked[n]}}),
            },
            len(asked),
        )


# ── in the engine ────────────────────────────────────────────────────────────────────────────


def in_engine(data: Data, asked: list[str]) -> dict[str, list[float]]:
    """Ask the engine itself, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        backend = LocalBackend(Path(folder), sync=False)
        field = VectorField("v", data.vectors.shape[1], Metric.COSINE)
        backend.create(
            NAME, Definition({"v": field}, lexical=Lexical({TEXT_FIELD: 1.0}, "english"))
        )
        points = [
            Point(n, {"v": vector}, {name: paper[name] for name in ATTRIBUTES}, text_of(paper))
            for n, (paper, vector) in enumerate(zip(data.papers, data.vectors, strict=True))
        ]
        for start in range(0, len(points), 2000):
            backend.upsert(NAME, points[start : start + 2000])
        wait_until(quiet(lambda: backend.describe(NAME).building))

        def dense(number: int) -> None:
            backend.search(NAME, [Search(data.queries[number], "v", k=K, projection=IDS_ONLY)])

        def planned(members: Mapping[str, Any]) -> Callable[[int], None]:
            def ask(number: int) -> None:
                leaf = None if "query" in members else ("text", asked[number], None)
                given = Asked("", leaf, None, None, K, 0, members)
                run(
                    backend,
                    PlanReader(1000, 1000, given).plan(),
                    field,
                    data.queries[number],
                    asked[number],
                )

            return ask

        taken = measured(
            {
                "dense by vector": dense,
                "hybrid by vector": planned({"hybrid": True}),
                "words": planned({"query": {"lexical": "is given below"}}),
            },
            len(asked),
        )
        backend.close()
    return taken


def run(backend: Backend, plan: Plan, field: VectorField, vector: F32, text: str) -> None:
    """Run a plan as the service does, with its leaves resolved."""
    fields: dict[str, VectorField | None] = {}
    leaves: dict[tuple[str, str], Any] = {}
    for lookup in plan.lookups():
        for leaf in lookup.expression.leaves():
            words = leaf.kind == "lexical"
            fields[lookup.at] = None if words else field
            leaves[leaf.at, "" if words else field.name] = Words(text) if words else vector

    def work(view: View) -> None:
        page = plan.run(Running(view, fields, leaves))
        view.records(page.rows, IDS_ONLY, page.keys)

    backend.view(NAME, work)


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int)
    parser.add_argument("--queries", type=int, default=500)
    chosen = parser.parse_args()
    data = load(chosen.folder, chosen.points, chosen.queries)
    asked = titles(chosen.folder, chosen.queries)
    print(f"{len(data.papers):,} papers, {len(asked)} titles; load {np.mean(os.getloadavg()):.1f}")
    print("\n".join(rows("Over HTTP", over_http(data, asked))), flush=True)
    print("\n".join(rows("In the engine", in_engine(data, asked))), flush=True)


if __name__ == "__main__":
    main()
