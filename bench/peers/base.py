"""What a system under test has to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.papers import Clauses, Columns, Data
from bench.process import Memory

M = 16
EF_CONSTRUCTION = 200
"""Every system that lets its graph be chosen gets this one: ours, and hnswlib's usual setting."""

WIDTHS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""What is swept: `ef`, unless the system says otherwise. None is the system's own default."""


@dataclass(frozen=True)
class Stage:
    """What a system had spent and used when its first, unfiltered graph was ready."""

    build_s: float
    memory: Memory


class System(ABC):
    """One system in its own process; constructing it builds its index on all cores.

    modes       ways to search the same index → the widths to sweep, in order; the empty name is
                the system itself
    compiles    whether `form` stands in for a filter language the system has not; it is then
                timed apart
    what        one line for the report: version, index, how it filters
    idle_s      of the construction, seconds in which it waited and built nothing
    plain       for systems that build more than one graph, one after the other
    """

    modes: ClassVar[Mapping[str, Sequence[int | None]]] = {"": WIDTHS}
    compiles: ClassVar[bool] = False
    distribution: ClassVar[str]
    what: ClassVar[str]
    idle_s: float = 0.0
    plain: Stage | None = None

    @abstractmethod
    def __init__(self, data: Data, columns: Columns, folder: Path, cores: int) -> None:
        """Load `data` and build; `folder` is empty and belongs to the system."""

    @abstractmethod
    def form(self, clauses: Clauses) -> Any:
        """Write a filter as a caller of this system would hold it."""

    @abstractmethod
    def search(self, query: NDArray[np.float32], form: Any) -> Sequence[int]:
        """Find the K nearest passing rows: what is timed."""

    def prepare(self, mode: str, width: int | None) -> None:  # noqa: B027  # nothing to set
        """Set the width, and drop what was remembered of earlier queries if the system can."""

    def close(self) -> None:  # noqa: B027  # nothing to close
        """Let go of files and threads."""
