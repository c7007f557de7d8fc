from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import Future
from contextvars import ContextVar

import pytest

from app.errors import DeadlineExceeded, Overloaded, ShuttingDown
from app.service.deadlines import callers_own, deadline, in_time, restart
from app.service.lanes import LONGEST_RETRY_S, Lane

marked: ContextVar[str] = ContextVar("marked", default="")


def test_a_full_lane_refuses_and_recovers() -> None:
    async def scenario() -> None:
        lane = Lane("test", threads=1, queue=1)
        gate = threading.Event()
        held = [asyncio.ensure_future(lane.run(gate.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await lane.run(lambda: None)
        gate.set()
        assert await asyncio.gather(*held) == [True, True]
        assert await lane.run(lambda: "again") == "again"
        lane.close()

    asyncio.run(scenario())


def test_a_job_whose_caller_left_is_dropped_and_its_room_is_free_again() -> None:
    async def scenario() -> None:
        lane = Lane("test", threads=1, queue=1)
        gate, ran = threading.Event(), []
        running = asyncio.ensure_future(lane.run(gate.wait))
        waiting = asyncio.ensure_future(lane.run(lambda: ran.append(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        await running
        for _ in range(5):
            await lane.run(lambda: None)
        assert ran == []
        lane.close()

    asyncio.run(scenario())


def test_errors_pass_through_and_free_their_room() -> None:
    async def scenario() -> None:
        lane = Lane("test", threads=1, queue=1)
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                await lane.run(lambda: 1 / 0)
        lane.close()

    asyncio.run(scenario())


def test_a_job_sees_the_context_of_its_caller() -> None:
    async def scenario() -> str:
        lane = Lane("test", threads=1, queue=1)
        marked.set("caller")
        found = await lane.run(marked.get)
        lane.close()
        return found

    assert asyncio.run(scenario()) == "caller"


def test_a_closed_lane_says_that_the_service_stops() -> None:
    async def scenario() -> None:
        lane = Lane("test", threads=1, queue=1)
        lane.close()
        for _ in range(5):
            with pytest.raises(ShuttingDown):
                await lane.run(lambda: None)

    asyncio.run(scenario())


def test_a_job_that_is_dropped_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        lane = Lane("test", threads=1, queue=1)
        gate = threading.Event()
        running = asyncio.ensure_future(lane.run(gate.wait))
        while not lane.running:  # noqa: ASYNC110  # a thread sets it
            await asyncio.sleep(0.001)
        for _ in range(50):  # far more than the queue has room for, all while the thread is busy
            waiting = asyncio.ensure_future(lane.run(lambda: None))
            await asyncio.sleep(0)
            assert lane.waiting == 1
            waiting.cancel()
            await asyncio.wait([waiting])
            assert lane.waiting == 0
        gate.set()
        assert await running
        assert (lane.dropped, lane.refused, lane.running) == (50, 0, 0)
        lane.close()

    asyncio.run(scenario())


def test_a_job_that_waited_until_its_deadline_is_answered_then_and_never_begun() -> None:
    async def scenario() -> None:
        lane = Lane("test", threads=1, queue=5)
        gate, ran = threading.Event(), []
        running = asyncio.ensure_future(lane.run(gate.wait))
        await asyncio.sleep(0)
        deadline.set(time.monotonic() + 0.02)
        with pytest.raises(DeadlineExceeded):
            await lane.run(lambda: ran.append(1))
        assert not gate.is_set(), "it was not the thread that noticed"
        gate.set()
        assert await running
        with pytest.raises(DeadlineExceeded):  # and now the thread is free
            await lane.run(lambda: ran.append(1))
        deadline.set(math.inf)
        await lane.run(lambda: None)
        assert ran == []
        assert lane.expired == 2
        lane.close()

    asyncio.run(scenario())


def test_a_patient_lane_heeds_only_what_its_caller_named() -> None:
    async def scenario() -> None:
        lane = Lane("test", threads=1, queue=1, patient=True)
        deadline.set(time.monotonic() - 1)
        assert await lane.run(lambda: "done") == "done"
        callers_own.set(time.monotonic() - 1)
        with pytest.raises(DeadlineExceeded):
            await lane.run(lambda: None)
        restart(100)
        assert deadline.get() == callers_own.get()
        callers_own.set(math.inf)
        restart(100)
        assert 99 < deadline.get() - time.monotonic() <= 100
        lane.close()

    asyncio.run(scenario())


def test_a_job_that_has_begun_is_finished_and_answered_whatever_its_deadline() -> None:
    async def scenario() -> None:
        lane = Lane("test", threads=1, queue=1)
        begun = threading.Event()

        def work() -> str:
            begun.set()
            time.sleep(0.1)
            return "done"

        deadline.set(time.monotonic() + 0.05)
        assert await lane.run(work) == "done"
        assert begun.is_set()
        lane.close()

    asyncio.run(scenario())


def test_retry_after_follows_the_queue_and_the_pace_within_bounds() -> None:
    async def scenario() -> None:
        lane = Lane("test", threads=1, queue=8)
        await lane.run(lambda: time.sleep(0.4))  # the pace: two and a half a second
        gate = threading.Event()
        held = [asyncio.ensure_future(lane.run(gate.wait)) for _ in range(9)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await lane.run(lambda: None)
        assert 2 <= refused.value.retry_after_s <= 5
        lane._mean_s = 1000.0
        assert lane.retry_after_s() == LONGEST_RETRY_S
        gate.set()
        await asyncio.gather(*held)
        assert lane.retry_after_s() == 1
        lane.close()

    asyncio.run(scenario())


def test_a_future_of_others_is_cancelled_when_the_time_is_over() -> None:
    async def scenario() -> None:
        future: Future[int] = Future()
        deadline.set(time.monotonic() + 0.02)
        with pytest.raises(DeadlineExceeded):
            await in_time(future)
        assert future.cancelled()
        deadline.set(time.monotonic() + 10)
        done: Future[int] = Future()
        done.set_result(1)
        assert await in_time(done) == 1
        left: Future[int] = Future()
        task = asyncio.ensure_future(in_time(left))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left.cancelled()

    asyncio.run(scenario())
