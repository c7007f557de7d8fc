"""A long run at twice the capacity: is memory flat, is every acknowledged write there at the end?

    python -m bench.soak [--minutes M] [--every SECONDS] [--points N] [--connections N] [--seed S]
                         [--json FILE]

A real server process on a fresh directory takes mixed traffic (`bench.traffic`): queries with and
without filters and by text, reads, upserts, patches and deletes. First a closed loop finds how many
requests a second it answers; then twice as many are due, at random, while rude clients send half a
head, half a body, leave before they are answered or read nothing. Queues are short (`QUEUES`), for
overload is to be refused and not only waited for.

In the last seconds SIGTERM is sent under full load; the server has to answer what it accepted and
to end with status 0. Then it is started again, and every block of points is held against the model.

Prints Markdown with a verdict on each claim; ends with status 1 if one fails.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load import Address
from bench.measures import percentile_ms, table
from bench.servers.base import Process, free_port
from bench.traffic import BLOCK, DIMENSION, NAME, PATH, Blocks, Driver, Tally, Traffic

ROOT = Path(__file__).parents[1]
QUEUES = {
    "LIKEWISE_SEARCH_QUEUE": "32",
    "LIKEWISE_WRITE_QUEUE": "16",
    "LIKEWISE_ENCODER_QUEUE": "64",
    "LIKEWISE_HEAD_TIMEOUT": "5",
    "LIKEWISE_BODY_TIMEOUT": "5",
    "LIKEWISE_WRITE_TIMEOUT": "5",
}
OVERLOAD = 2.0
FLAT = 1.10
CALIBRATION_S = 8.0
CALIBRATING = 16  # connections
RUDE_EVERY_S = 0.5
RUDE_KEPT = 50
STOP_AFTER_TICKS = 10
FAMILIAR = frozenset({429, 503, 507})


class Server(Process):
    """`likewise serve` as soaked."""

    name = "likewise"

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        super().__init__(
            [sys.executable, "-m", "app", "serve"],
            QUEUES
            | {
                "LIKEWISE_PORT": str(self._port),
                "LIKEWISE_DATA_DIR": str(folder / "data"),
                "LIKEWISE_MODELS_DIR": str(ROOT / "models"),
                "LIKEWISE_DEFAULT_ENCODER": "tiny",
                "LIKEWISE_LOG_LEVEL": "warning",
            },
            folder / "server.log",
        )
        self.wait_until_open()
        while self.ask("GET", "/readyz")["status"] != "ready":
            time.sleep(0.05)

    @property
    def address(self) -> Address:
        return "127.0.0.1", self._port

    def resident_mb(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields["VmRSS"].split()[0]) / 1024

    def processor_s(self) -> float:
        """Seconds of processor time used so far, without processes of its own."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self) -> int:
        """Descriptors that are open."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))  # noqa: PTH208  # a count

    def tell_to_stop(self) -> None:
        """Send SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def status(self, timeout_s: float = 60.0) -> int:
        """Wait for the end; returns the exit status."""
        return self._process.wait(timeout_s)


class Rude:
    """Clients that do not behave; a few at a time, the oldest go."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._kept: deque[socket.socket] = deque()
        self._turns = itertools.cycle((self._half_head, self._half_body, self._leave, self._deaf))
        self.acts = 0

    def act(self) -> None:
        """Do one rude thing."""
        self.acts += 1
        with contextlib.suppress(OSError):
            rude = socket.create_connection(self._address, timeout=1)
            self._kept.append(rude)
            next(self._turns)(rude)
        while len(self._kept) > RUDE_KEPT:
            self._kept.popleft().close()

    def close(self) -> None:
        """Go away."""
        while self._kept:
            self._kept.popleft().close()

    def _half_head(self, rude: socket.socket) -> None:
        rude.sendall(b"POST " + PATH.encode() + b"/query HTTP/1.1\r\nHo")

    def _half_body(self, rude: socket.socket) -> None:
        rude.sendall(_head("PUT", "/points", 1 << 20) + b'{"points": [')

    def _leave(self, rude: socket.socket) -> None:
        body = b'{"text": "nobody will read this", "using": "text"}'
        rude.sendall(_head("POST", "/query", len(body)) + body)
        self._kept.pop().close()

    def _deaf(self, rude: socket.socket) -> None:
        body = b'{"limit": 2000, "with_vectors": true}'
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        rude.sendall((_head("POST", "/points/scroll", len(body)) + body) * 2)


@dataclass(frozen=True)
class Minute:
    """What was seen in one span of time; rates are per second.

    processor  seconds of processor time a second: what the server had of a machine that is shared
    """

    ends_s: float
    resident_mb: float
    open_files: int
    processor: float
    under_way: int
    accepted: float
    refused: float
    unsent: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Verdict:
    """One claim, whether it holds, and the figures it rests on."""

    claim: str
    holds: bool
    figures: str


@dataclass
class Report:
    """Everything that came of a run."""

    minutes: float
    capacity: float
    rows: list[Minute]
    verdicts: list[Verdict]
    acknowledged: int
    statuses: dict[int, int]

    @property
    def passed(self) -> bool:
        """Whether every claim holds."""
        return all(verdict.holds for verdict in self.verdicts)


def soak(
    *,
    seconds: float,
    every_s: float,
    points: int,
    connections: int,
    seed: int,
    calibration_s: float,
) -> Report:
    """Run everything once."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        rude = Rude(server.address)
        blocks = Blocks(points // BLOCK, seed)
        traffic = Traffic(server.address, blocks, seed)
        total = Tally()
        try:
            _fill(server, blocks, traffic)
            # No more than may wait: what is refused at once would be asked again at once.
            driver = Driver(traffic, min(CALIBRATING, connections))
            driver.run(seconds=calibration_s)
            capacity = driver.tally.accepted / calibration_s
            total.add(driver.tally)
            tell(f"capacity {capacity:.0f} requests/s; now {OVERLOAD:g} times that")
            rate = OVERLOAD * capacity
            rows = _overload(
                Driver(traffic, connections), server, rude, rate, seconds, every_s, total
            )
            status = _stop_under_load(Driver(traffic, connections), server, rate, total)
        finally:
            rude.close()
            server.close()
        again = Server(Path(folder))
        try:
            wrong = blocks.wrong(_stored(again))
        finally:
            again.close()
        log = (Path(folder) / "server.log").read_text()
    strange = {
        code: count
        for code, count in total.statuses.items()
        if code >= 300 and code not in FAMILIAR
    }
    verdicts = [
        Verdict(
            "every acknowledged write is there, nothing else is",
            not wrong,
            f"{blocks.acknowledged} acknowledged, {len(wrong)} of {blocks.count} blocks wrong",
        ),
        _flat("memory is flat", [row.resident_mb for row in rows], FLAT, 0, "MB"),
        _flat("open files are", [float(row.open_files) for row in rows], 1.0, 64, "files"),
        Verdict("answers are 2xx, 429, 503 or 507", not strange, f"others: {strange or 'none'}"),
        Verdict("no request stays without an answer", not total.cut, f"{total.cut} cut off"),
        Verdict("SIGTERM under load ends with status 0", status == 0, f"status {status}"),
        Verdict("overload is refused", total.refused > 0, f"{total.refused} refused"),
        Verdict("the log is free of errors", '"error"' not in log, f"{log.count(chr(10))} lines"),
    ]
    return Report(seconds / 60, capacity, rows, verdicts, blocks.acknowledged, dict(total.statuses))


def _overload(
    driver: Driver,
    server: Server,
    rude: Rude,
    rate: float,
    seconds: float,
    every_s: float,
    total: Tally,
) -> list[Minute]:
    """Carry the load, and look at the server at the end of each span."""
    rows: list[Minute] = []
    begun = time.perf_counter()
    used_s = server.processor_s()

    def tick() -> bool:
        nonlocal used_s
        rude.act()
        tally, now = driver.tally, time.perf_counter()
        if now - tally.begun_s >= every_s:
            before_s, used_s = used_s, server.processor_s()
            seconds = now - tally.begun_s
            rows.append(_minute(server, driver, seconds, now - begun, used_s - before_s))
            driver.tally = Tally()
            total.add(tally)
        return True

    driver.run(seconds=seconds, rate=rate, tick=tick, tick_s=RUDE_EVERY_S)
    total.add(driver.tally)
    return rows


def _minute(server: Server, driver: Driver, seconds: float, ends_s: float, used_s: float) -> Minute:
    tally = driver.tally
    row = Minute(
        ends_s=ends_s,
        resident_mb=server.resident_mb(),
        open_files=server.open_files(),
        processor=used_s / seconds,
        under_way=driver.under_way,
        accepted=tally.accepted / seconds,
        refused=tally.refused / seconds,
        unsent=tally.unsent / seconds,
        p50_ms=percentile_ms(tally.latencies_s or [0.0], 50),
        p99_ms=percentile_ms(tally.latencies_s or [0.0], 99),
    )
    tell(f"{ends_s:6.0f} s  {row.resident_mb:7.1f} MB  {row.accepted:6.0f} accepted/s")
    return row


def _stop_under_load(driver: Driver, server: Server, rate: float, total: Tally) -> int:
    """Send SIGTERM while requests are under way; returns the exit status."""
    ticks = itertools.count()

    def tick() -> bool:
        if next(ticks) < STOP_AFTER_TICKS:
            return True
        server.tell_to_stop()
        return False  # what is under way was accepted, and has to be answered

    driver.run(seconds=30, rate=rate, tick=tick)
    total.add(driver.tally)
    return server.status()


def _fill(server: Server, blocks: Blocks, traffic: Traffic) -> None:
    """Create the collection and write every block once."""
    vectors = {
        "own": {"dimension": DIMENSION, "metric": "cosine"},
        "text": {"encoder": "tiny"},
    }
    server.ask("PUT", PATH, {"vectors": vectors, "schema": {"group": "integer"}})
    driver = Driver(_Upserts(traffic), 4)
    driver.run(seconds=600, tick=lambda: blocks.acknowledged < blocks.count)


class _Upserts(Traffic):
    mix = (("upsert", 1.0),)

    def __init__(self, like: Traffic) -> None:
        super().__init__(like.address, like.blocks)


def _stored(server: Server) -> dict[int, dict[str, Any]]:
    """Read all points: id and attributes."""
    found: dict[int, dict[str, Any]] = {}
    cursor = None
    while True:
        body: dict[str, Any] = {"limit": 1000, "with_text": False}
        if cursor is not None:
            body["cursor"] = cursor
        page = server.ask("POST", f"{PATH}/points/scroll", body)
        found.update((point["id"], point["attributes"]) for point in page["points"])
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def _flat(claim: str, seen: list[float], factor: float, more: float, unit: str) -> Verdict:
    """The last third's median beside the middle third's."""
    third = max(1, len(seen) // 3)
    middle, last = (statistics.median(part) for part in (seen[-2 * third : -third], seen[-third:]))
    return Verdict(
        claim, last <= factor * middle + more, f"{middle:.0f} {unit}, in the end {last:.0f}"
    )


def _head(method: str, path: str, length: int) -> bytes:
    return (
        f"{method} {PATH}{path} HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def rendered(report: Report) -> str:
    """The report as Markdown."""
    header = (
        "after",
        "MB",
        "files",
        "CPUs",
        "under way",
        "2xx/s",
        "refused/s",
        "unsent/s",
        "p50",
        "p99",
    )
    rows = [
        (
            f"{row.ends_s:.0f} s",
            f"{row.resident_mb:.0f}",
            row.open_files,
            f"{row.processor:.2f}",
            row.under_way,
            f"{row.accepted:.0f}",
            f"{row.refused:.0f}",
            f"{row.unsent:.0f}",
            f"{row.p50_ms:.1f} ms",
            f"{row.p99_ms:.1f} ms",
        )
        for row in report.rows
    ]
    verdicts = [(v.claim, "yes" if v.holds else "NO", v.figures) for v in report.verdicts]
    return "\n\n".join(
        (
            f"{report.minutes:.1f} minutes at {OVERLOAD:g} × {report.capacity:.0f} requests/s "
            f"(collection `{NAME}`); answers by status: {dict(sorted(report.statuses.items()))}",
            table(header, rows),
            table(("claim", "holds", "figures"), verdicts),
        )
    )


def main() -> None:
    """Soak and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--every", type=float, help="seconds a row; default: a fifteenth")
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    seconds = chosen.minutes * 60
    report = soak(
        seconds=seconds,
        every_s=chosen.every or seconds / 15,
        points=chosen.points,
        connections=chosen.connections,
        seed=chosen.seed,
        calibration_s=min(CALIBRATION_S, seconds / 4),
    )
    print(rendered(report))
    if chosen.json:
        chosen.json.write_text(json.dumps(dataclasses.asdict(report), indent=1))
    if not report.passed:
        raise SystemExit(1)


def tell(line: str) -> None:
    """Say how far it is."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
