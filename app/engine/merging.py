"""When to build and what to merge: a pure choice from sizes.

Few segments make fast queries, and every rebuild costs time, so segments grow like a log-structured
merge tree: the new rows swallow every segment that is not much larger than what has been
swallowed so far. The largest swallowed segment is *extended* if it is healthy: its graph stays and
only the new rows are inserted, which costs what they cost alone. A segment with too many dead slots
is rebuilt without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GROWTH = 20
"""A segment is merged with new rows if they are at least a 20th of it: copying a row that stays
costs about a 100th of inserting one into the graph (measured at 384-d), so copies stay cheap."""

IDLE_GROWTH = 10 * GROWTH
"""The same when nothing is being written: a pause is no reason to copy a million rows for 500."""

DEAD_SHARE = 0.2
"""Above this share of dead slots a segment is rebuilt: walks pay for every dead node they pass."""

IDLE_DEAD_SHARE = DEAD_SHARE / 2
"""The same when nothing is being written: dead slots take memory and disk as live ones do."""

IDLE_HEAD = 512
"""When nothing is being written, heads this large are built in too: below it a scan is cheap."""


@dataclass(frozen=True, slots=True)
class Size:
    """A segment's slots, and how many are alive."""

    slots: int
    live: int

    def sick(self, share: float) -> bool:
        """Tell whether more than a share of the slots is dead."""
        return self.slots - self.live > share * self.slots


@dataclass(frozen=True, slots=True)
class Merge:
    """What to build one segment from.

    sources   numbers of the segments that it replaces
    base      the one among them to extend, or None to build anew
    """

    sources: tuple[int, ...]
    base: int | None


def choose_merge(
    segments: Sequence[Size], head: int, *, head_points: int, idle: bool
) -> Merge | None:
    """Choose the next build, if one is due; a due build always takes the head in.

    head          live points of the head
    head_points   how many of them make a build due
    idle          whether writing has paused, so that tidying up costs nobody
    """
    share = IDLE_DEAD_SHARE if idle else DEAD_SHARE
    sick = {number for number, size in enumerate(segments) if size.sick(share)}
    enough = head_points if not idle else min(head_points, IDLE_HEAD)
    due = head >= head_points or (idle and segments and head >= enough) or sick
    if not due and not (idle and len(segments) > 1):
        return None

    growth = IDLE_GROWTH if idle else GROWTH
    taken = set(sick)
    rows = head + sum(segments[number].live for number in sick)
    for number in sorted(range(len(segments)), key=lambda at: segments[at].slots):
        if number in taken:
            continue
        if (taken or rows) and segments[number].slots > growth * rows:
            break
        taken.add(number)
        rows += segments[number].live
    if rows == 0 and not taken:
        return None
    if not due and len(taken) < 2:
        return None  # tidying one segment into itself tidies nothing
    healthy = [number for number in taken if number not in sick]
    base = max(healthy, key=lambda at: segments[at].slots, default=None)
    return Merge(tuple(sorted(taken)), base)
