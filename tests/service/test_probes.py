from __future__ import annotations

import asyncio
import threading

import pytest

from app.errors import ShuttingDown
from app.service.probes import Probes


def test_who_asks_meanwhile_gets_the_same_answer_and_who_asks_later_a_new_one() -> None:
    async def scenario() -> list[int]:
        probes, gate, made = Probes(questions=1), threading.Event(), []

        def answer() -> int:
            gate.wait(10)
            made.append(1)
            return len(made)

        asked = [asyncio.ensure_future(probes.ask("how", answer)) for _ in range(1000)]
        await asyncio.sleep(0)
        gate.set()
        together = set(await asyncio.gather(*asked))
        found = [*together, await probes.ask("how", answer)]
        probes.close()
        return found

    assert asyncio.run(scenario()) == [1, 2]


def test_one_that_goes_away_does_not_take_the_answer_from_the_others() -> None:
    async def scenario() -> str:
        probes, gate = Probes(questions=1), threading.Event()

        def answer() -> str:
            gate.wait(10)
            return "well"

        leaving = asyncio.ensure_future(probes.ask("how", answer))
        staying = asyncio.ensure_future(probes.ask("how", answer))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        gate.set()
        found = await staying
        probes.close()
        return found

    assert asyncio.run(scenario()) == "well"


def test_a_fault_is_raised_to_all_and_the_next_question_is_asked_anew() -> None:
    async def scenario() -> str:
        probes = Probes(questions=1)
        asked = [probes.ask("how", lambda: 1 / 0) for _ in range(3)]
        assert all(
            isinstance(error, ZeroDivisionError)
            for error in await asyncio.gather(*asked, return_exceptions=True)
        )
        found = await probes.ask("how", lambda: "well")
        probes.close()
        with pytest.raises(ShuttingDown):
            await probes.ask("how", lambda: "well")
        return found

    assert asyncio.run(scenario()) == "well"
