"""Ingest, recall, speed and recovery on real papers, through the SDK and a real server process.

    python -m bench.arxiv FOLDER [--points N] [--texts N] [--queries N]

The folder and the filter families are described in `bench/papers.py`. Truth is a float32 scan in
numpy. Prints Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from likewise import Client, Collection

from bench.papers import Clauses, Columns, Data, K, Paper, as_json, families, load

ROOT = Path(__file__).parents[1]
FAMILIES = (
    "no filter",
    "R year between",
    "EM n_categories =",
    "EMIS main_categories contains",
    "EM primary_cat =",
    "year = and main_categories contains",
    "authors contains",
)


@contextlib.contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service on `port` until the block ends."""
    environment = os.environ | {
        "LIKEWISE_PORT": str(port),
        "LIKEWISE_DATA_DIR": str(folder),
        "LIKEWISE_MODELS_DIR": str(ROOT / "models"),
        "LIKEWISE_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen([sys.executable, "-m", "app", "serve"], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()


def wait_until(true: Callable[[], bool], timeout_s: float = 600.0) -> float:
    """Poll until something holds; returns the seconds it took."""
    started = time.perf_counter()
    while not true():
        if time.perf_counter() - started > timeout_s:
            raise TimeoutError("waited in vain")
        time.sleep(0.02)
    return time.perf_counter() - started


def answers(client: Client) -> bool:
    """Whether the service answers at all."""
    try:
        client.health()
    except Exception:
        return False
    return True


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident megabytes of a process: all, and without mapped files."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    total, anonymous = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
    return total, anonymous


def attributes(paper: Paper) -> dict[str, Any]:
    """Everything about a paper but its text."""
    return {name: value for name, value in paper.items() if name not in ("id", "title", "abstract")}


def ingest(collection: Collection, data: Data) -> float:
    """Upload all papers with their vectors; returns seconds."""
    started = time.perf_counter()
    collection.upsert(
        {"id": n, "vector": vector, "text": paper["title"], "attributes": attributes(paper)}
        for n, (paper, vector) in enumerate(zip(data.papers, data.vectors, strict=True))
    )
    return time.perf_counter() - started


@dataclass(frozen=True)
class Row:
    """One family's figures."""

    name: str
    selectivity: float
    recall: float
    per_second: float
    p50_ms: float
    p99_ms: float
    plans: str


def measure(
    collection: Collection, data: Data, columns: Columns, name: str, drawn: list[Clauses]
) -> Row:
    """Query one at a time over one connection; recall against the truth, ties counted as found."""
    hits = wanted = 0
    times: list[float] = []
    matched = 0
    plans: dict[str, int] = {}
    asked = list(zip(data.queries, drawn, strict=True))
    for query, clauses in asked[:20]:  # warm
        collection.query(vector=query, filter=as_json(clauses), k=K, fields=[], with_text=False)
    answers = []
    for query, clauses in asked:
        started = time.perf_counter()
        found = collection.query(
            vector=query, filter=as_json(clauses), k=K, fields=[], with_text=False
        )
        times.append(time.perf_counter() - started)
        answers.append(found)
    # Only now the truth: its scans would leave the server's caches cold for every query.
    for (query, clauses), found in zip(asked, answers, strict=True):
        plans[found.plan] = plans.get(found.plan, 0) + 1
        mask = columns.mask(clauses)
        matches = int(mask.sum())
        if found.matches != matches:
            raise AssertionError(f"{clauses}: counted {found.matches} matches of {matches}")
        scores = np.where(mask, data.vectors @ query, -np.inf)
        best = np.sort(scores)[::-1][: min(K, matches)]
        if len(found) != len(best):
            raise AssertionError(f"{clauses}: {len(found)} results, {len(best)} were due")
        hits += sum(scores[int(hit.id)] >= best[-1] - 1e-6 for hit in found) if len(best) else 0
        wanted += len(best)
        matched += matches
    cuts = np.percentile(times, [50, 99]) * 1000
    return Row(
        name,
        matched / len(drawn) / len(data.papers),
        hits / max(1, wanted),
        len(times) / sum(times),
        float(cuts[0]),
        float(cuts[1]),
        ", ".join(f"{plan} {count}" for plan, count in sorted(plans.items())),
    )


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int)
    parser.add_argument("--queries", type=int)
    parser.add_argument("--texts", type=int, default=2000, help="abstracts to encode and index")
    chosen = parser.parse_args()
    data = load(chosen.folder, chosen.points, chosen.queries)
    columns = Columns(data.papers)
    drawn = {name: filters for name, filters in families(data).items() if name in FAMILIES}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}", timeout=300)

    print(
        f"{len(data.papers):,} papers × {data.vectors.shape[1]}, {len(data.queries)} queries; "
        f"{os.cpu_count()} cores, Python {platform.python_version()}\n",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        with server(Path(folder), port) as process:
            start_s = wait_until(lambda: answers(client))
            empty_mb = memory_mb(process.pid)[0]
            collection = client.create_collection(
                "papers", dimension=data.vectors.shape[1], metric="cosine"
            )
            ingest_s = ingest(collection, data)
            build_s = wait_until(lambda: not collection.describe().building)
            learn(collection, data)
            total_mb, own_mb = memory_mb(process.pid)
            rows = [
                measure(collection, data, columns, name, filters) for name, filters in drawn.items()
            ]
            disk = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()) / 2**20
            after_mb = memory_mb(process.pid)
            before = snapshot(collection, data, drawn)
            process.send_signal(signal.SIGKILL)
            process.wait()
        with server(Path(folder), port) as process:
            restart_s = wait_until(lambda: answers(client))
            same = snapshot(client.collection("papers"), data, drawn) == before
            if chosen.texts:
                text_s = texts(client, data, chosen.texts)
    figures = {
        "start-up to first answer, empty": f"{start_s:.1f} s",
        "ingest with vectors": f"{len(data.papers) / ingest_s:,.0f} points/s ({ingest_s:.1f} s)",
        "graph ready after the last upload": f"{build_s:.1f} s",
        "resident memory: empty": f"{empty_mb:.0f} MB",
        "resident memory: loaded, graph ready": f"{total_mb:.0f} MB",
        "resident memory: after all queries": f"{after_mb[0]:.0f} MB",
        "… of it not mapped files": f"{own_mb:.0f} MB loaded, {after_mb[1]:.0f} MB after queries",
        "raw float32 vectors": f"{data.vectors.nbytes / 2**20:.0f} MB",
        "disk: store and segments": f"{disk:.0f} MB",
        "start-up after SIGKILL to first answer": f"{restart_s:.1f} s",
        "answers after SIGKILL": "the same" if same else "DIFFER",
    }
    if chosen.texts:
        rate = chosen.texts / text_s
        figures[f"ingest with text, {chosen.texts} abstracts"] = f"{rate:,.0f} points/s"
    print("| figure | value |\n|---|---|")
    for name, value in figures.items():
        print(f"| {name} | {value} |")
    print("\n| filter | selectivity | recall@10 | queries/s | p50 ms | p99 ms | plans |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.name} | {row.selectivity:.4f} | {row.recall:.4f} | {row.per_second:,.0f} "
            f"| {row.p50_ms:.2f} | {row.p99_ms:.2f} | {row.plans} |"
        )
    if not same or min(row.recall for row in rows) < 0.95:
        raise SystemExit(1)


def learn(collection: Collection, data: Data) -> None:
    """Ask other filters of each family than those measured, and wait until covers are built.

    A collection builds covers for the filters that are asked, once it was not written to for five
    seconds: a measurement before would be of a state that does not last.
    """
    for drawn in families(data, seed=2).values():
        for query, clauses in list(zip(data.queries, drawn, strict=True))[:100]:
            collection.query(vector=query, filter=as_json(clauses), k=K, fields=[])
    quiet_since = time.perf_counter()
    while time.perf_counter() - quiet_since < 7.0:
        if collection.describe().building:
            quiet_since = time.perf_counter()
        time.sleep(0.1)


def snapshot(
    collection: Collection, data: Data, drawn: dict[str, list[Clauses]]
) -> list[list[tuple[Any, float]]]:
    """Answers to the first 50 queries of every family, to be compared."""
    return [
        [
            (hit.id, hit.score)
            for hit in collection.query(vector=query, filter=as_json(clauses), k=K, fields=[])
        ]
        for filters in drawn.values()
        for query, clauses in list(zip(data.queries, filters, strict=True))[:50]
    ]


def texts(client: Client, data: Data, count: int) -> float:
    """Index abstracts as text with the default encoder; returns seconds."""
    wait_until(lambda: any(model.status == "ready" for model in client.models()))
    collection = client.create_collection("texts")
    started = time.perf_counter()
    collection.upsert(
        {"id": p["id"], "text": f"{p['title']}. {p['abstract']}", "attributes": attributes(p)}
        for p in data.papers[:count]
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
