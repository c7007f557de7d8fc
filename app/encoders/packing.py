"""Cut texts into batches, and batches into runs: pure functions of lengths."""

from __future__ import annotations

from collections.abc import Sequence


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


def cut_runs(tokens: Sequence[int], limit_tokens: int, spare_tokens: int) -> list[list[int]]:
    """Cut a batch into runs of similar length, the largest first.

    A run goes through the graph in one call. Many small runs cost calls and small products; few
    large ones cost padding, and leave a core's cache.

    tokens        token count of each text
    limit_tokens  most tokens of one run, padding included, unless its only text has more; 0 makes
                  a run of each text
    spare_tokens  most padding of one run; 0 puts only texts of one length together
    returns       runs of positions in `tokens`; every position is in exactly one
    """
    runs: list[list[int]] = []
    padding = 0  # of the last run
    for text in sorted(range(len(tokens)), key=tokens.__getitem__):
        length = tokens[text]
        if runs:
            last = runs[-1]
            # Lengths ascend, so this text would be the longest of the run.
            grown = padding + len(last) * (length - tokens[last[-1]])
            if grown <= spare_tokens and (len(last) + 1) * length <= limit_tokens:
                last.append(text)
                padding = grown
                continue
        runs.append([text])
        padding = 0
    # The runtime's memory grows with the first, and the rest fits into it (not measured).
    runs.sort(key=lambda run: -len(run) * tokens[run[-1]])
    return runs
