"""The queue against a model of it: every job ends once, and nothing is lost, run twice or kept."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.encoders.base import LaneName, OutputKind, Prepared
from app.encoders.turns import LANES
from app.encoders.waiting import Job, State, Waiting, Work

TEXTS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6)
OUTPUTS: tuple[OutputKind, ...] = ("tokens", "sparse")


class Queue(RuleBasedStateMachine):
    """Workers and callers in any order, one step at a time, by a clock that only rules move."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = Waiting()
        self.now = 0.0
        self.jobs: list[tuple[Job, list[str]]] = []
        self.ended: dict[Job, str] = {}
        self.hands: list[list[Work]] = []
        self.running: list[list[Work]] = []

    @rule(
        texts=TEXTS,
        lane=st.sampled_from(LANES),
        output=st.sampled_from(OUTPUTS),
        patience=st.one_of(st.just(float("inf")), st.floats(0, 3)),
    )
    def submit(self, texts: list[str], lane: LaneName, output: OutputKind, patience: float) -> None:
        count = len(texts)
        due = self.now + patience
        job = Job(lane, output, [None] * count, [0] * count, count, self.now, due)
        self.waiting.put(job, texts, lambda text: 1)
        self.jobs.append((job, texts))

    @rule(seconds=st.floats(0.1, 2))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job, _ = data.draw(st.sampled_from(self.jobs))
        if self.waiting.cancel(job):
            self.end(job, "cancelled")

    @rule(lane=st.sampled_from(LANES), budget=st.integers(1, 5))
    def draw(self, lane: LaneName, budget: int) -> None:
        hand: list[Work] = []
        self.waiting.draw(lane, budget, self.now, hand)
        assert len(hand) <= budget
        assert all(work.state is State.DRAWN for work in hand)
        self.tell_lapsed()
        if hand:
            self.hands.append(hand)

    @precondition(lambda self: self.hands)
    @rule(refused=st.integers(0, 8))
    def prepare(self, refused: int) -> None:
        hand = self.hands.pop(0)
        for number, work in enumerate(hand):
            work.prepared = Prepared(work.given, 1, 1)
            if number == refused:
                self.fail([work])
        for output in OUTPUTS:
            self.waiting.publish([work for work in hand if work.output == output])

    @rule(lane=st.sampled_from(LANES))
    def take(self, lane: LaneName) -> None:
        hand: list[Work] = []
        self.waiting.take(lane, self.now, hand)
        self.tell_lapsed()
        assert len({work.output for work in hand}) <= 1
        if hand:
            self.running.append(hand)

    @precondition(lambda self: self.running)
    @rule(fails=st.booleans())
    def run_batch(self, fails: bool) -> None:
        batch = self.running.pop(0)
        if fails:
            self.fail(batch)
            return
        for job in self.waiting.finish(batch, [(work.given, work.output) for work in batch]):
            self.end(job, "done")

    def fail(self, works: list[Work]) -> None:
        for job, _ in self.waiting.give_up(works):
            self.end(job, "failed")

    def tell_lapsed(self) -> None:
        for job in self.waiting.lapsed:
            assert job.due <= self.now
            self.end(job, "late")
        self.waiting.lapsed = []

    def end(self, job: Job, how: str) -> None:
        assert job not in self.ended, "a job ended twice"
        self.ended[job] = how
        if how == "done":
            texts = next(texts for one, texts in self.jobs if one is job)
            expected: list[Any] = [(text, job.output) for text in texts]
            assert job.outputs == expected

    @invariant()
    def the_counts_are_those_of_what_waits(self) -> None:
        for lane in LANES:
            expected = sum(
                work.waits
                for job, _ in self.jobs
                for work in job.works
                if job.lane == lane and not job.over
            )
            assert self.waiting.inputs[lane] == self.waiting.sizes[lane] == expected

    @invariant()
    def equal_inputs_run_once_at_a_time(self) -> None:
        alive = [(work.given, work.output) for hand in self.running for work in hand
                 if work.state is State.RUNNING]  # fmt: skip
        assert len(alive) == len(set(alive))

    def teardown(self) -> None:
        self.now = 0.0 if not self.jobs else self.now
        for _ in range(len(self.jobs) * 8 + 8):
            while self.hands:
                self.prepare(99)
            while self.running:
                self.run_batch(False)
            for lane in self.waiting.lanes(LANES):
                self.draw(lane, 5)
                self.take(lane)
        assert self.waiting.lanes(LANES) == []
        assert {job for job, _ in self.jobs} == set(self.ended)
        assert self.waiting.all_jobs() == []
        assert not self.waiting._works, "finished works are kept"
        assert set(self.waiting.inputs.values()) == {0}


Queue.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTheQueue = Queue.TestCase


def job(lane: LaneName, count: int, due: float = float("inf")) -> Job:
    return Job(lane, "tokens", [None] * count, [0] * count, count, 0.0, due)


def published(waiting: Waiting, lane: LaneName) -> None:
    """Draw what waits in a lane, and let it be taken."""
    hand: list[Work] = []
    waiting.draw(lane, 100, 0.0, hand)
    for work in hand:
        work.prepared = Prepared(work.given, 1, 1)
    waiting.publish(hand)


def test_what_a_query_wants_too_is_not_taken_for_the_import_any_more() -> None:
    waiting = Waiting()
    waiting.put(job("bulk", 1), ["a"], lambda text: 1)
    published(waiting, "bulk")
    waiting.put(job("query", 1), ["a"], lambda text: 1)
    taken: list[Work] = []
    waiting.take("bulk", 0.0, taken)
    assert not taken
    waiting.take("query", 0.0, taken)
    assert [work.given for work in taken] == ["a"]


def test_what_gets_late_before_it_is_prepared_or_after_that_is_not_run() -> None:
    waiting = Waiting()
    waiting.put(job("write", 1, due=1.0), ["a"], lambda text: 1)
    published(waiting, "write")
    waiting.put(job("write", 1, due=1.0), ["b"], lambda text: 1)
    hand: list[Work] = []
    waiting.take("write", 1.0, hand)
    assert not hand
    waiting.draw("write", 100, 1.0, hand)
    assert not hand
    assert len(waiting.lapsed) == waiting.expired == 2


def test_a_job_that_is_over_leaves_its_lane_and_holds_nothing() -> None:
    waiting = Waiting()
    gone, done = job("write", 2), job("write", 1, due=1.0)
    waiting.put(gone, ["a", "b"], lambda text: 1)
    assert waiting.cancel(gone)
    assert (gone.works, gone.outputs) == ([], [])
    waiting.put(done, ["c"], lambda text: 1)
    published(waiting, "write")
    hand: list[Work] = []
    waiting.take("write", 0.0, hand)
    assert waiting.finish(hand, ["made"]) == [done]
    assert waiting.lanes(LANES) == []
