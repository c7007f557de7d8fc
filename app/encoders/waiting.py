"""What waits for one encoder: jobs in lanes, and the inputs that they want.

Theory of operation. A **job** is one submission. What is run is a **work**: one input in one kind
of output, with the places of all jobs that wait for it. Equal inputs are one work for as long as it
exists, from its submission to its result, whichever lanes they came by. A work goes through

    WAITING   in the jobs that want it
    DRAWN     taken in a round, being prepared
    READY     in a batch that a worker may take
    RUNNING   in the graph
    OVER      done, failed or wanted by nobody any more

A round takes one input of each job in turn, so a job with thousands of inputs delays its neighbours
by no more than a round. A work belongs to the most urgent lane of its jobs: when a query wants what
an import waits for, the work changes lanes. References that thereby get stale, or because a job
went away, are passed over where they are met: a state or a lane differs.

Nothing here locks, waits or runs; `Batcher` holds its lock around every call.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import numpy as np

from app.encoders.base import Encoded, LaneName, OutputKind, Prepared
from app.encoders.inputs import Input, size_of
from app.encoders.turns import LANES
from app.types import F32


class State(Enum):
    """Where a work is; the module says what each means."""

    WAITING = auto()
    DRAWN = auto()
    READY = auto()
    RUNNING = auto()
    OVER = auto()


@dataclass(slots=True, eq=False)
class Job:
    """One submission. `missing` counts the inputs without an output.

    works    what it wants, by place
    next     place from which on its inputs may still be to be drawn
    arrived  when it was submitted, and `due` until when it must have begun (`time.monotonic`)
    """

    lane: LaneName
    output: OutputKind
    outputs: F32 | list[Any]
    tokens: list[int]
    missing: int
    arrived: float
    due: float = math.inf
    works: list[Work] = field(default_factory=list)
    next: int = 0
    begun: bool = False
    over: bool = False
    future: Future[Encoded] = field(default_factory=Future)

    def next_work(self) -> Work | None:
        """Take the first of its works that waits."""
        while self.next < len(self.works):
            work = self.works[self.next]
            self.next += 1
            if work.state is State.WAITING:
                return work
        return None


@dataclass(slots=True, eq=False)
class Work:
    """One input, run once for all that want it.

    guess     its cost before it is prepared, in tokens
    size      characters or bytes
    lane      the most urgent of the lanes of its jobs
    """

    given: Input
    output: OutputKind
    guess: int
    size: int
    lane: LaneName
    places: list[tuple[Job, int]] = field(default_factory=list)
    state: State = State.WAITING
    prepared: Prepared | None = None

    @property
    def waits(self) -> bool:
        """Whether it can still be left out."""
        return self.state is not State.RUNNING and self.state is not State.OVER


class Waiting:
    """All jobs of one encoder and their works.

    inputs, sizes   per lane: inputs that wait, and what they take (characters or bytes)
    lapsed          jobs found to be late; whoever calls tells their callers
    """

    def __init__(self) -> None:
        self.inputs: dict[LaneName, int] = dict.fromkeys(LANES, 0)
        self.sizes: dict[LaneName, int] = dict.fromkeys(LANES, 0)
        self.coalesced = self.cancelled = self.expired = 0
        self.lapsed: list[Job] = []
        self._works: dict[tuple[OutputKind, Input], Work] = {}
        self._jobs: dict[LaneName, OrderedDict[Job, None]] = {lane: OrderedDict() for lane in LANES}
        self._batches: dict[LaneName, deque[list[Work]]] = {lane: deque() for lane in LANES}

    def lanes(self, among: Iterable[LaneName]) -> list[LaneName]:
        """The lanes in which there is something to do."""
        return [lane for lane in among if self._batches[lane] or self._jobs[lane]]

    def put(self, job: Job, inputs: Sequence[Input], guess: Callable[[Input], int]) -> None:
        """Enter a job. Raises what `guess` raises, and then nothing was entered."""
        fresh = [guess(given) for given in inputs]
        for place, (given, cost) in enumerate(zip(inputs, fresh, strict=True)):
            key = (job.output, given)
            work = self._works.get(key)
            if work is None:
                work = Work(given, job.output, cost, size_of(given), job.lane)
                self._works[key] = work
            else:
                self.coalesced += 1
                self._hurry(work, job.lane)
            work.places.append((job, place))
            job.works.append(work)
            if work.state is not State.RUNNING:
                self._count(work, job, 1)
        self._jobs[job.lane][job] = None

    def draw(self, lane: LaneName, budget: int, now: float, hand: list[Work]) -> None:
        """Move the next round of a lane into `hand`: one input of each job in turn.

        budget  most tokens of a round, guessed; its first input may have more
        """
        jobs = self._jobs[lane]
        cost = 0
        while jobs:
            job = next(iter(jobs))
            if now >= job.due:
                self._lapse(job)
                continue
            work = job.next_work()
            if work is None:
                del jobs[job]
                continue
            if hand and cost + work.guess > budget:
                job.next -= 1
                return
            cost += work.guess
            work.state = State.DRAWN
            hand.append(work)
            jobs.move_to_end(job)

    def publish(self, batch: Sequence[Work]) -> Collection[LaneName]:
        """Let a batch of drawn works, all prepared and of one output, be taken.

        returns  the lanes that it went to
        """
        by_lane: dict[LaneName, list[Work]] = {}
        for work in batch:
            if work.state is State.DRAWN:
                work.state = State.READY
                by_lane.setdefault(work.lane, []).append(work)
        for lane, live in by_lane.items():
            self._batches[lane].append(live)
        return by_lane

    def ready(self, lane: LaneName) -> bool:
        """Tell whether a lane has a batch to be taken."""
        return bool(self._batches[lane])

    def take(self, lane: LaneName, now: float, hand: list[Work]) -> list[Job]:
        """Move the next batch of a lane, without what nobody waits for, into `hand`.

        returns  the jobs that begin with it
        """
        began = []
        batches = self._batches[lane]
        while batches and not hand:
            for work in batches.popleft():
                for job in {job for job, _ in work.places if now >= job.due}:
                    self._lapse(job)
                if work.state is not State.READY or work.lane != lane:
                    continue
                work.state = State.RUNNING
                hand.append(work)
                for job, _ in work.places:
                    self._count(work, job, -1)
                    if not job.begun:
                        job.begun = True
                        began.append(job)
        return began

    def finish(self, works: Sequence[Work], made: Iterable[Any]) -> list[Job]:
        """Hand the outputs of a batch to the jobs; returns those that are complete."""
        complete = []
        for work, out in zip(works, made, strict=True):
            assert work.prepared is not None
            self._end(work)
            for job, place in work.places:
                if job.over:
                    continue
                job.outputs[place] = out
                job.tokens[place] = work.prepared.tokens
                job.missing -= 1
                if job.missing == 0:
                    job.over = True
                    job.works = []
                    self._jobs[job.lane].pop(job, None)
                    complete.append(job)
        return complete

    def give_up(self, works: Iterable[Work]) -> list[tuple[Job, int]]:
        """Take works out; returns the jobs that fail with them, each with its first place."""
        failed = []
        for work in list(works):
            if work.state is State.OVER:
                continue
            for job, place in list(work.places):
                if self.remove(job):
                    failed.append((job, place))
            # The traceback of what failed holds the work; it must not hold those who are told.
            work.places = []
            self._end(work)
        return failed

    def remove(self, job: Job) -> bool:
        """Take a job out, with what only it wanted; False if it was over."""
        if job.over:
            return False
        job.over = True
        self._jobs[job.lane].pop(job, None)
        for place, work in enumerate(job.works):
            if not work.waits:
                continue
            self._count(work, job, -1)
            work.places.remove((job, place))
            if not work.places:
                self._end(work)
        # A job that went away must not hold memory for as long as somebody holds its future.
        job.works = []
        job.outputs = []
        return True

    def cancel(self, job: Job) -> bool:
        """Take a job out because its caller went away; False if it was over."""
        waiting = _waiting_in(job)
        removed = self.remove(job)
        self.cancelled += removed * waiting
        return removed

    def all_jobs(self) -> list[Job]:
        """Every job that waits for something that is not running, in no order."""
        works = [work for work in self._works.values() if work.waits]
        return list({job for work in works for job, _ in work.places})

    def _hurry(self, work: Work, lane: LaneName) -> None:
        """Let a work go by a more urgent lane from now on."""
        if LANES.index(lane) >= LANES.index(work.lane):
            return
        work.lane = lane
        if work.state is State.READY:
            self._batches[lane].append([work])

    def _lapse(self, job: Job) -> None:
        waiting = _waiting_in(job)
        if self.remove(job):
            self.expired += waiting
            self.lapsed.append(job)

    def _end(self, work: Work) -> None:
        work.state = State.OVER
        key = (work.output, work.given)
        if self._works.get(key) is work:
            del self._works[key]

    def _count(self, work: Work, job: Job, sign: int) -> None:
        self.inputs[job.lane] += sign
        self.sizes[job.lane] += sign * work.size


def _waiting_in(job: Job) -> int:
    return sum(work.waits for work in job.works)


def empty_outputs(output: OutputKind, count: int, dimension: int) -> F32 | list[Any]:
    """Room for the outputs of a job."""
    if output == "dense":
        return np.empty((count, dimension), np.float32)
    return [None] * count
