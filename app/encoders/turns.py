"""Whose turn it is: the order of the lanes, and how long a lower one lets the higher ones pass.

The higher lane goes first. But a lane that waits keeps an account of the work that was done for
higher lanes meanwhile, and once this is `patience_s` it has the next turn. So under any load a lane
gets one batch for every `patience_s` of work: queries cannot starve an import.
"""

from __future__ import annotations

from collections.abc import Collection

from app.encoders.base import LaneName

LANES: tuple[LaneName, ...] = ("query", "write", "bulk")
"""From the most urgent on."""


class Turns:
    """The account of one encoder. Not thread-safe.

    patience_s  seconds of work for higher lanes that a waiting lane puts up with
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._passed_s: dict[LaneName, float] = dict.fromkeys(LANES, 0.0)

    def choose(
        self, waiting: Collection[LaneName], own: Collection[LaneName] = LANES
    ) -> LaneName | None:
        """Say which of the waiting lanes is next, and count that as its turn.

        own      lanes that may be chosen without having waited for long
        returns  None if neither one of those nor one that is overdue waits
        """
        for lane in LANES:
            if lane not in waiting:
                self._passed_s[lane] = 0.0  # who does not wait is owed nothing
        overdue = [lane for lane in LANES if self._passed_s[lane] >= self._patience_s]
        first = [lane for lane in LANES if lane in waiting and lane in own]
        if not overdue and not first:
            return None
        chosen = max(overdue, key=self._passed_s.__getitem__) if overdue else first[0]
        self.served(chosen)
        return chosen

    def served(self, lane: LaneName) -> None:
        """Count that a lane had a turn."""
        self._passed_s[lane] = 0.0

    def took(self, lane: LaneName, seconds: float) -> None:
        """Charge work that was done for a lane to those below it."""
        for below in LANES[LANES.index(lane) + 1 :]:
            self._passed_s[below] += seconds
