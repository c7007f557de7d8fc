from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from app.errors import Overloaded, ShuttingDown
from app.service.lanes import Lane

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
