"""Rounds of start, verify, write, kill, on one directory."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.storage.write_points import WritePoint
from tests.crash.service import SPARSE, VOCABULARY, Dead, Launcher, Service, errors_in
from tests.crash.verify import Findings, verify
from tests.crash.work import Counts, Kind, Reader, Writer

SHARED = {
    "abstracts": Kind({"v": (12, "cosine")}),
    "images": Kind({"small": (4, "l2"), "large": (20, "ip"), "tags": (VOCABULARY, SPARSE)}),
}
OWNED = {"mine-1": Kind({"v": (8, "ip")}), "mine-2": Kind({"v": (6, "cosine")})}
_SHARERS = 2  # writers of each shared collection

_LONGEST_S = 10.0  # to wait for a point in one round
_TRIES = 6

_FOLDERS = ("FOLDER", "SEGMENTS", "COVERS")
_FULL = {WritePoint.RESERVE_GIVEN, WritePoint.RESERVE_MADE}

RESTORING = [
    WritePoint.COLLECTION_MADE,
    WritePoint.COLLECTION_NAMED,
    WritePoint.CATALOG_WRITTEN,
    WritePoint.CATALOG_COMMITTED,
    WritePoint.DROP_MARKED,
    WritePoint.DROP_UNLISTED,
    WritePoint.COLLECTION_LISTED,
    WritePoint.DROP_RENAMED,
    WritePoint.DROP_REMOVED,
]
"""What a restored collection passes that replaces another one."""


@dataclass(slots=True)
class Report:
    """What a run did and found."""

    seed: int
    starts: int = 0
    random_kills: int = 0
    kills_at_start: int = 0
    kills_of_builds: int = 0
    stops: int = 0
    damaged: int = 0
    killed_at: Counter[str] = field(default_factory=Counter)
    killed_restoring_at: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    counts: Counts = field(default_factory=Counts)
    checked_points: int = 0
    downloaded: int = 0
    restored: int = 0
    happened: int = 0
    not_happened: int = 0
    found: int = 0
    wanted: int = 0
    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def faults(self) -> list[str]:
        return [*self.lost, *self.torn, *self.wrong]

    @property
    def recall(self) -> float:
        """Share of the true neighbours that graphs found."""
        return self.found / self.wanted if self.wanted else 1.0

    def take(self, findings: Findings) -> None:
        """Add what one verification found."""
        self.checked_points += findings.points
        self.downloaded += findings.downloaded
        self.restored += findings.restored
        self.happened += findings.happened
        self.not_happened += findings.not_happened
        self.found += findings.found
        self.wanted += findings.wanted
        self.lost += findings.lost
        self.torn += findings.torn
        self.wrong += findings.wrong

    def table(self) -> str:
        """Render it for people."""
        lines = [
            f"{'write point':<20} {'reached':>9} {'killed at':>9} {'restoring':>9}   "
            "what has just been done"
        ]
        for point in WritePoint:
            name = point.name
            lines.append(
                f"{name:<20} {self.reached[name]:>9} {self.killed_at[name]:>9} "
                f"{self.killed_restoring_at[name] or '':>9}   {point.value}"
            )
        counts = self.counts
        lines += [
            "",
            f"seed {self.seed}, {self.seconds:.0f} s, {self.starts} starts",
            f"kills   {self.random_kills} at random ({self.kills_at_start} of them while starting),"
            f" {sum(self.killed_at.values())} at write points, "
            f"{sum(self.killed_restoring_at.values())} at those of a restore that replaces, "
            f"{self.kills_of_builds} of a build process alone; {self.stops} orderly stops; "
            f"{self.damaged} times a derived file was damaged before a start",
            f"writes  {counts.acknowledged} acknowledged (with {counts.points} points), "
            f"{counts.refused} refused, {counts.unknown} cut off: {self.happened} of them happened,"
            " as a whole",
            f"of them acknowledged and cut off, snapshots: {_pairs(counts)}",
            f"checked {self.checked_points} points after starts, {self.downloaded} downloads and "
            f"{self.restored} restored snapshots; "
            f"recall of graphs {self.recall:.3f}",
            f"lost {len(self.lost)}, torn {len(self.torn)}, wrong {len(self.wrong)}",
            *self.faults[:20],
        ]
        return "\n".join(lines)


def _pairs(counts: Counts) -> str:
    names = ("take", "restore", "replace", "remove")
    return ", ".join(f"{name} {counts.snapshots[name]} + {counts.cut[name]}" for name in names)


class Run:
    """One run over one directory."""

    def __init__(self, folder: Path, seed: int, say: Callable[[str], None]) -> None:
        self.report = Report(seed)
        self._dice = random.Random(seed)
        self._say = say
        self._launcher = Launcher(folder)
        self._writers: list[Writer] = []
        self._prepared = False
        self._ended_by_us = False
        self._cut: Counter[str] = Counter()  # calls about snapshots in this round
        for name, kind in (*SHARED.items(), *OWNED.items()):
            for _ in range(_SHARERS if name in SHARED else 1):
                dice = random.Random(self._dice.random())
                number = 1 + len(self._writers)
                alone = name in OWNED
                self._writers.append(Writer(number, name, kind, alone=alone, dice=dice))

    def close(self) -> None:
        """End every process."""
        self._launcher.close()

    def kill_at_random(self) -> None:
        """One round that ends at any moment: while starting, verifying, or writing."""
        if self._dice.random() < 0.1:
            with self._round() as service:
                service.ended(self._dice.uniform(0, 0.4))
                self.report.kills_at_start += 1
        else:
            full = 0.02 if self._dice.random() < 0.1 else 0.0
            with self._round(full=full) as service:
                self._verified(service)
                quiet = self._dice.random() < 0.15
                self._write(
                    service, self._dice.uniform(0.02, 1.2), quiet_after_s=0.0 if quiet else 9
                )
        self.report.random_kills += 1

    def kill_at(self, point: WritePoint, *, restoring: bool = False) -> None:
        """Rounds until one ends at the point; or at the point, in a restore that replaces."""
        for attempt in range(_TRIES):
            times, after_s = self._dice.randint(1, 4), self._dice.uniform(0, 1.5)
            if attempt or point is WritePoint.DAMAGE_UNLISTED:
                times, after_s = 1, 0.0
            if point.name.startswith(_FOLDERS):
                times = 1  # in one process: each build is another
            at = f"{point.name}:{times}:{after_s:.3f}"
            damage = point is WritePoint.DAMAGE_UNLISTED
            with self._round(at=at, full=0.03 if point in _FULL else 0.0, damage=damage) as service:
                self._verified(service, restore=not restoring)
                for writer in self._writers:
                    writer.restoring = restoring and writer.alone
                quiet = point is WritePoint.COVERS_SWITCHED
                self._write(service, _LONGEST_S, quiet_after_s=0.5 if quiet else _LONGEST_S)
            for writer in self._writers:
                writer.restoring = False
            if f"!{point.name}" in service.hits():
                if not restoring:
                    self.report.killed_at[point.name] += 1
                    return
                if self._cut["replace"]:
                    self.report.killed_restoring_at[point.name] += 1
                    return
            self.report.random_kills += 1
        self.report.wrong.append(f"{point.name} is not reached" + " restoring" * restoring)

    def kill_a_build(self) -> None:
        """The service must go on without its build process."""
        with self._round() as service:
            self._verified(service)
            with self._writing(service):
                deadline = time.monotonic() + _LONGEST_S
                while (building := service.building()) is None and time.monotonic() < deadline:
                    time.sleep(0.005)
                time.sleep(self._dice.uniform(0, 0.2))
                if building is not None:
                    if service.building() == building:
                        os.kill(building, signal.SIGKILL)
                        self.report.kills_of_builds += 1
                    time.sleep(0.2)
                if service.ended(0):
                    self.report.wrong.append("the service ended with its build process")
        self.report.random_kills += 1

    def stop(self) -> None:
        """One round that ends in order; what is there is verified as after a crash."""
        with self._round(how=signal.SIGTERM) as service:
            self._verified(service)
            self._write(service, self._dice.uniform(0.02, 0.5), signal.SIGTERM)
        self.report.stops += 1

    def verify(self) -> None:
        """A last look."""
        with self._round(how=signal.SIGTERM) as service:
            self._verified(service)

    # ── parts of rounds ──────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def _round(
        self,
        *,
        at: str = "",
        full: float = 0.0,
        damage: bool | None = None,
        how: signal.Signals = signal.SIGKILL,
    ) -> Iterator[Service]:
        if damage or (damage is None and self._dice.random() < 0.1):
            self._damage()
        self._ended_by_us = False
        self._cut.clear()
        service = self._launcher.start(at=at, full=full)
        self.report.starts += 1
        with contextlib.suppress(Dead):  # by its own observer, while it starts or is verified
            yield service
        died = service.ended(0) and not self._ended_by_us
        status = service.kill(how)
        hits = service.hits()
        self.report.reached.update(hit for hit in hits if hit[0] not in "@!")
        killed = any(hit.startswith("!") for hit in hits)
        if (died and not killed) or status not in (-signal.SIGKILL, -signal.SIGTERM, 0):
            self.report.wrong.append(f"the service ended by itself: {status}")
        log = self._launcher.log.read_text()
        self.report.wrong += errors_in(log)[:3]
        if self.report.faults:
            told = [line for line in log.splitlines() if "middleware: request" not in line]
            self._say("\n".join(told[-60:]))
            raise Faulty

    def _verified(self, service: Service, *, restore: bool | None = None) -> None:
        service.wait_for_start()
        client = service.client()
        try:
            if not self._prepared:
                for name, kind in SHARED.items():
                    client.ask("PUT", f"/v1/collections/{name}", kind.body(8))
                self._prepared = True
            if restore is None:
                restore = self._dice.random() < 0.5
            seed = self._dice.randrange(2**32)
            data = self._launcher.data
            self.report.take(verify(client, self._writers, data, seed, restore=restore))
        finally:
            client.close()

    def _write(
        self,
        service: Service,
        seconds: float,
        how: signal.Signals = signal.SIGKILL,
        *,
        quiet_after_s: float = _LONGEST_S,
    ) -> None:
        """Write and query; when it is quiet, only query: then covers are built."""
        with self._writing(service, how) as stop_writing:
            ended = service.ended(min(seconds, quiet_after_s))
            if not ended and quiet_after_s < seconds:
                stop_writing.set()
                service.ended(seconds - quiet_after_s)

    @contextlib.contextmanager
    def _writing(
        self, service: Service, how: signal.Signals = signal.SIGKILL
    ) -> Iterator[threading.Event]:
        """Have everybody write, until the block ends and the service is dead."""
        if self.report.faults:
            raise Dead
        stop, stop_writing = threading.Event(), threading.Event()
        readers = [Reader(service, name, kind, stop) for name, kind in SHARED.items()]
        threads: Sequence[threading.Thread] = [
            *readers,
            *(
                threading.Thread(target=writer.write, args=(service, stop_writing), daemon=True)
                for writer in self._writers
            ),
        ]
        for thread in threads:
            thread.start()
        yield stop_writing
        # Killed while requests are in flight; an orderly stop lets them end.
        self._ended_by_us = not service.ended(0)
        if self._ended_by_us:
            service.tell(how)
        stop_writing.set()
        stop.set()
        for thread in threads:
            thread.join()
        for writer in self._writers:
            self.report.counts.add(writer.counts)
            self._cut.update(writer.counts.cut)
            writer.counts = Counts()
            self.report.wrong += writer.faults
        for reader in readers:
            self.report.wrong += reader.faults

    def _damage(self) -> None:
        """Flip a bit of some derived file."""
        files = sorted(self._launcher.data.glob("collections/*/segments/*/**/*.*"))
        files = [file for file in files if file.is_file() and file.stat().st_size]
        if files:
            path = self._dice.choice(files)
            raw = bytearray(path.read_bytes())
            raw[self._dice.randrange(len(raw))] ^= 1 << self._dice.randrange(8)
            path.write_bytes(raw)
            self.report.damaged += 1


class Faulty(Exception):
    """A fault was found: the directory is left as it is."""


def crash(
    folder: Path,
    *,
    seed: int,
    kills: int,
    points: Sequence[WritePoint],
    builds: int,
    stops: int,
    restoring: Sequence[WritePoint] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Kill a service so often at random, and once at each point, in an order drawn by the seed.

    restoring   points to kill at once more, in a restore that replaces
    """
    run = Run(folder, seed, say)
    began = time.monotonic()
    rounds: list[Callable[[], None]] = [
        *[run.kill_at_random] * kills,
        *[run.kill_a_build] * builds,
        *[run.stop] * stops,
        *[lambda point=point: run.kill_at(point) for point in points],  # type: ignore[misc]  # mypy infers no defaults of lambdas
        *[functools.partial(run.kill_at, point, restoring=True) for point in restoring],
    ]
    random.Random(seed).shuffle(rounds)
    try:
        for number, one in enumerate(rounds):
            one()
            if number % 10 == 0:
                say(f"{number}/{len(rounds)} {time.monotonic() - began:.0f} s")
        run.verify()
    except Faulty:
        pass
    finally:
        run.close()
        run.report.seconds = time.monotonic() - began
    return run.report
