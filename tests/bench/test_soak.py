"""The soak, in seconds: a real server under twice its load, stopped and started again."""

from __future__ import annotations

from bench.soak import soak
from bench.traffic import BLOCK, GONE, Blocks


def test_a_server_at_twice_its_load_loses_nothing_and_stops_in_order() -> None:
    report = soak(seconds=4.0, every_s=1.0, points=1000, connections=96, seed=7, calibration_s=1.0)
    # Memory and files still grow in the first seconds: what they settle at is the long run's.
    failed = [v for v in report.verdicts if not v.holds and "flat" not in v.claim]
    assert not failed
    assert report.acknowledged > 100
    assert len(report.rows) >= 2


def stored(block: int, state: tuple[int, int]) -> dict[int, dict[str, object]]:
    version, patched = state
    attributes = {"version": version, **({"patched": patched} if patched else {})}
    return {block * BLOCK + place: dict(attributes) for place in range(BLOCK)}


def test_the_model_notices_what_was_lost_half_written_or_written_against_its_answer() -> None:
    blocks = Blocks(1, seed=1)
    _, first, settle = blocks.begin("upsert") or (0, 0, lambda _: None)
    settle(200)
    assert blocks.wrong(stored(0, (first, 0))) == []
    assert blocks.wrong({}) == [0], "lost"
    half = stored(0, (first, 0))
    half.pop(3)
    assert blocks.wrong(half) == [0], "half"
    _, second, settle = blocks.begin("patch") or (0, 0, lambda _: None)
    settle(429)
    assert blocks.wrong(stored(0, (first, second))) == [0], "refused and yet done"
    _, third, settle = blocks.begin("delete") or (0, 0, lambda _: None)
    settle(None)
    assert blocks.states == [{GONE, (first, 0)}]
    assert blocks.wrong({}) == blocks.wrong(stored(0, (first, 0))) == []
    assert blocks.wrong(stored(0, (third, 0))) == [0], "never written"
