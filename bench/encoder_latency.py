"""The latency of a single short query while a bulk import of texts runs, beside an idle service.

    python -m bench.encoder_latency [FOLDER] [--queries N] [--rounds N] [--model NAME]

FOLDER holds `papers.jsonl.gz` (title, abstract); without it texts are put together from a few
words. A real server is started with the model. One connection sends one request after the other,
each after a pause of random length (30 ms on average), so that it meets the import at any point of
its work:

    embedding   POST /v1/embeddings, one title, `input_type: query`, base64
    text query  POST /v1/collections/{name}/query with a title, k = 10

first while nothing else happens, then while another process streams titles with abstracts into
`points:import`; idle and busy take turns, `--rounds` times. Every query is another text. The client
is one blocking socket; client, importer, server and encoder share the machine's cores.

Prints Markdown; writes `encoder_latency.json` into bench/results.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import itertools
import json
import multiprocessing
import os
import platform
import random
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.load import Address, request
from bench.measures import percentile_ms, table
from bench.report import processor
from bench.servers.base import Process, free_port

ROOT = Path(__file__).parents[1]
COLLECTION = "papers"
FIRST_POINTS = 200  # so that a text query finds something before the first import
PAUSE_S = 0.03
SETTLE_S = 2.0  # for an import to be under way, and for its last batch to be over
PERCENTILES = (50, 95, 99)
KINDS = ("embedding", "text query")


class Served(Process):
    """Our server with one text encoder."""

    name = "likewise"

    def __init__(self, folder: Path, models: Path, model: str) -> None:
        self._port = free_port()
        super().__init__(
            [sys.executable, "-m", "app", "serve"],
            {
                "LIKEWISE_PORT": str(self._port),
                "LIKEWISE_DATA_DIR": str(folder / "data"),
                "LIKEWISE_MODELS_DIR": str(models),
                "LIKEWISE_DEFAULT_ENCODER": model,
            },
            folder / "likewise.log",
        )

    @property
    def address(self) -> Address:
        return "127.0.0.1", self._port

    def wait_for_encoder(self, timeout_s: float = 300.0) -> None:
        """Return when the encoder is loaded."""
        deadline = time.perf_counter() + timeout_s
        while time.perf_counter() < deadline:
            if self.ask("GET", "/readyz")["components"]["encoders"]["status"] == "ok":
                return
            time.sleep(0.2)
        raise RuntimeError("the encoder was not ready in time; the service says why at /readyz")


Paper = tuple[str, str]
"""Title and abstract."""


def papers(folder: Path | None) -> list[Paper]:
    """Read the papers; without a folder make some up, with lengths like theirs."""
    if folder is None:
        draw = random.Random(1)
        words = [f"{a}{b}" for a in ("neur", "graph", "quant", "opt", "stat") for b in ("al", "ic")]
        return [
            (" ".join(draw.choices(words, k=8)), " ".join(draw.choices(words, k=120)))
            for _ in range(20_000)
        ]
    with gzip.open(folder / "papers.jsonl.gz", "rt", encoding="utf-8") as lines:
        read = (json.loads(line) for line in itertools.islice(lines, 40_000))
        return [(one["title"], one["abstract"]) for one in read]


def point(number: int, paper: Paper) -> dict[str, Any]:
    return {"id": number, "text": f"{number} {paper[0]}. {paper[1]}"}


def import_for_ever(address: Address, texts: Sequence[Paper]) -> None:
    """Stream papers into the collection: the body of one request without an end."""
    lines = (
        json.dumps(point(number, paper)).encode() + b"\n"
        for number, paper in enumerate(itertools.cycle(texts), FIRST_POINTS)
    )
    connection = http.client.HTTPConnection(*address, timeout=600)
    connection.request(
        "POST",
        f"/v1/collections/{COLLECTION}/points:import",
        lines,
        {"Content-Type": "application/x-ndjson"},
        encode_chunked=True,
    )


@contextmanager
def importing(server: Served, texts: Sequence[Paper]) -> Iterator[None]:
    """Have another process import papers meanwhile, and wait until the last of them is over."""
    process = multiprocessing.Process(target=import_for_ever, args=(server.address, texts))
    process.start()
    try:
        time.sleep(SETTLE_S)
        if not process.is_alive():
            raise RuntimeError("the import ended at once")
        yield
        if not process.is_alive():
            raise RuntimeError("the import ended before the queries did")
    finally:
        process.kill()
        process.join()
    while waiting_in(server):
        time.sleep(0.1)
    time.sleep(SETTLE_S)


def waiting_in(server: Served) -> int:
    """Texts that wait for the encoder."""
    queues = server.ask("GET", "/readyz")["components"]["queues"]["queues"]
    return sum(queue["waiting"] for name, queue in queues.items() if name.startswith("encoder"))


class Caller:
    """One connection that sends a request and waits for its answer."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def time(self, sent: bytes) -> float:
        """Seconds from the first byte sent to the last received."""
        begun = time.perf_counter()
        self._socket.sendall(sent)
        received = b""
        length = None
        while length is None or len(received) < length:
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise ConnectionError("the server closed the connection")
            received += piece
            head, found, _ = received.partition(b"\r\n\r\n")
            if length is None and found:
                told = head.lower().partition(b"content-length:")[2]
                length = len(head) + 4 + int(told.split(b"\r\n", 1)[0])
        took = time.perf_counter() - begun
        if not received.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"a query was answered {received[:500]!r}")
        return took


def asked(address: Address, kind: str, title: str) -> bytes:
    """The bytes of one query."""
    if kind == "embedding":
        body = {"input": title, "input_type": "query", "encoding_format": "base64"}
        return request(address, "POST", "/v1/embeddings", json.dumps(body).encode())
    body = {"text": title, "k": 10, "with_text": False}
    path = f"/v1/collections/{COLLECTION}/query"
    return request(address, "POST", path, json.dumps(body).encode())


def measure(address: Address, titles: Iterator[str], queries: int) -> dict[str, list[float]]:
    """Time queries of both kinds in turn."""
    caller = Caller(address)
    draw = random.Random(2)
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(queries):
        for kind in KINDS:
            time.sleep(draw.expovariate(1 / PAUSE_S))
            times[kind].append(caller.time(asked(address, kind, next(titles))))
    return times


def points_in(server: Served) -> int:
    return int(server.ask("GET", f"/v1/collections/{COLLECTION}")["points"])


def main() -> None:
    """Measure, print and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=os.environ.get("DATA"))
    parser.add_argument("--queries", type=int, default=300, help="of each kind, a round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    chosen = parser.parse_args()
    found = measured(
        papers(None if chosen.folder is None else Path(chosen.folder)),
        models=chosen.models,
        model=chosen.model,
        queries=chosen.queries,
        rounds=chosen.rounds,
    )
    title = (
        f"{chosen.model}, {chosen.rounds} × {chosen.queries} queries of each kind; "
        f"Python {platform.python_version()}, {os.cpu_count()} cores ({processor()})"
    )
    print(f"{title}\n")
    print_latencies(found)
    chosen.results.mkdir(parents=True, exist_ok=True)
    file = chosen.results / "encoder_latency.json"
    file.write_text(json.dumps({"title": title, **found}, indent=1))


def measured(
    texts: Sequence[Paper], *, models: Path, model: str, queries: int, rounds: int
) -> dict[str, Any]:
    """Start a server, let idle and busy take turns, and stop it.

    queries  of each kind, in each half of a round

    returns  `import_per_second`, texts; `kinds`: for each kind of query `idle_ms`, `busy_ms` and
             `ratio`, each by percentile, "p50" to "p99"
    """
    titles = (f"{title} {number}" for number, (title, _) in enumerate(itertools.cycle(texts)))
    times: dict[str, dict[str, list[float]]] = {"idle": {}, "busy": {}}
    imported, import_s = 0, 0.0
    with tempfile.TemporaryDirectory() as scratch:
        server = Served(Path(scratch), models, model)
        try:
            server.wait_until_open()
            server.wait_for_encoder()
            path = f"/v1/collections/{COLLECTION}"
            server.ask("PUT", path, {"encoder": model})
            first = [point(number, paper) for number, paper in enumerate(texts[:FIRST_POINTS])]
            server.ask("PUT", f"{path}/points", {"points": first})
            measure(server.address, titles, 20)  # what is slow only the first time
            for _ in range(rounds):
                keep(times["idle"], measure(server.address, titles, queries))
                with importing(server, texts):
                    before, begun = points_in(server), time.perf_counter()
                    keep(times["busy"], measure(server.address, titles, queries))
                    imported += points_in(server) - before
                    import_s += time.perf_counter() - begun
        finally:
            server.close()
    kinds = {}
    for kind in KINDS:
        idle, busy = (
            {f"p{p}": percentile_ms(times[state][kind], p) for p in PERCENTILES}
            for state in ("idle", "busy")
        )
        ratio = {p: busy[p] / idle[p] for p in idle}
        kinds[kind] = {"idle_ms": idle, "busy_ms": busy, "ratio": ratio}
    return {"import_per_second": imported / import_s, "kinds": kinds}


def keep(all_times: dict[str, list[float]], some: dict[str, list[float]]) -> None:
    for kind, times in some.items():
        all_times.setdefault(kind, []).extend(times)


def print_latencies(found: Mapping[str, Any]) -> None:
    """Print what `measured` returned as a table."""
    rows = []
    for kind, told in found["kinds"].items():
        for name, key, unit in (
            ("idle", "idle_ms", " ms"),
            ("busy", "busy_ms", " ms"),
            ("busy / idle", "ratio", ""),
        ):
            rows.append([kind, name, *(f"{figure:.2f}{unit}" for figure in told[key].values())])
    print(table(["", "", *(f"p{p}" for p in PERCENTILES)], rows))
    print(f"\nMeanwhile {found['import_per_second']:.0f} texts a second were imported.")


if __name__ == "__main__":
    main()
