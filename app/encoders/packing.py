"""Cut waiting texts into rounds and batches: pure functions of lengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def count_round(chars: Iterable[int], budget_chars: int) -> int:
    """Count how many of the first waiting texts make the next round.

    chars         lengths in order of arrival; no more of them is consumed than needed
    budget_chars  most characters of a round, unless its first text alone has more
    returns       0 only if nothing waits
    """
    texts = taken = 0
    for length in chars:
        taken += length
        if texts and taken > budget_chars:
            break
        texts += 1
    return texts


def pack(tokens: Sequence[int], budget_tokens: int) -> list[list[int]]:
    """Cut texts into batches of similar length, shortest first.

    tokens         token count of each text
    budget_tokens  most tokens of one batch, padding included: texts × longest
    returns        batches of positions in `tokens`; every position is in exactly one. A text over
                   the budget goes alone: the tokenizer bounds it, and starving it helps nobody.

    Shortest first, because a request with few short texts is then answered first.
    """
    batches: list[list[int]] = []
    for text in sorted(range(len(tokens)), key=tokens.__getitem__):
        # Lengths ascend, so this text is the longest of the batch it joins.
        if batches and (len(batches[-1]) + 1) * tokens[text] <= budget_tokens:
            batches[-1].append(text)
        else:
            batches.append([text])
    return batches
