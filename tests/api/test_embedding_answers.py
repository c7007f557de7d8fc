"""Embeddings are written in pieces, so that nobody waits for a large answer."""

from __future__ import annotations

import asyncio

import numpy as np
import orjson
import pytest

from app.api.answers import written
from app.api.embeddings import embeddings_written, outputs_written
from app.service.embedding import Embedded


@pytest.mark.parametrize("count", [0, 1, 21, 22, 512])
def test_pieces_are_together_what_one_piece_would_be(count: int) -> None:
    vectors = np.random.default_rng(count).standard_normal((count, 384)).astype(np.float32)
    embedded = Embedded("m", "dense", vectors, [1] * count)
    assert written(asyncio.run(outputs_written(embedded, "float"))) == written(vectors)
    listed = orjson.loads(written(asyncio.run(embeddings_written(embedded, "float"))))
    assert [one["index"] for one in listed] == list(range(count))
    found = np.array([one["embedding"] for one in listed], np.float32).reshape(count, 384)
    np.testing.assert_array_equal(found, vectors)


def test_everybody_else_has_a_turn_between_two_pieces() -> None:
    embedded = Embedded("m", "dense", np.ones((512, 384), np.float32), [1] * 512)

    async def turns() -> int:
        done = asyncio.create_task(outputs_written(embedded, "float"))
        count = 0
        while not done.done():
            await asyncio.sleep(0)
            count += 1
        return count

    # 512 × 384 numbers are 24 pieces of 8,192.
    assert asyncio.run(turns()) >= 24
