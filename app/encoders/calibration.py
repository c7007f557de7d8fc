"""Inputs that calibrate a text encoder: rows of random tokens, the same at every build.

No data is needed: the largest numbers in a network depend on its weights and on the special tokens
more than on what a text says. Scales that random tokens found gave the same fidelity as scales from
texts (docs/decisions/0018).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from app.encoders.quantise import Feeds

ROWS = {16: 24, 64: 16, 256: 4}
"""How many rows of which length. Long ones matter as attention then averages over many tokens."""

SEED = 18


def random_rows(frame: Sequence[int], words: int, longest: int) -> Iterator[Feeds]:
    """Make rows of tokens for a text graph, and types for one that reads pairs.

    frame    the special tokens that the tokenizer puts around a text
    words    how many tokens the vocabulary has
    longest  most tokens of a row that the network takes
    """
    # RandomState is frozen by NumPy's policy (NEP 19): every build finds the same scales.
    random = np.random.RandomState(SEED)
    middle = len(frame) // 2
    for length, count in ROWS.items():
        inside = max(min(length, longest) - len(frame), 1)
        for _ in range(count):
            row = [*frame[:middle], *random.randint(0, words, inside), *frame[middle:]]
            ids = np.array([row[:longest]], np.int64)
            second = (np.arange(ids.shape[1]) * 2 >= ids.shape[1]).astype(np.int64)
            yield {
                "input_ids": ids,
                "attention_mask": np.ones_like(ids),
                "token_type_ids": second[None],
            }
