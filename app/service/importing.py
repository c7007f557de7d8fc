"""Importing: a stream of lines, each one point, written batch by batch.

Theory of operation
-------------------
A batch is one atomic, durable write, like the upsert of a list. While one is encoded and written
the next one is read, and no more than that: so a stream is never read faster than it is written,
and two batches are in memory.

What is counted is lines. `Progress.next_line` is the promise: every good line before it is durable,
no line from it on was looked at. Whoever goes on from there misses nothing; whoever goes on from
further back writes the same points again, which changes nothing.

Two lines of the same id: the later one stays, as if they had been written one after the other. A
list of points refuses that instead (DuplicateId), since it is one thing with two meanings; but
where a batch of a stream ends is not the caller's doing, and what a file means must not depend
on it.

A bad line ends the import (everything before it is written) or is left out and counted. An
overloaded service does not end it: the batch waits, up to `PATIENCE_S`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from app.attributes.schema import check_conforms
from app.errors import InvalidRequest, LikewiseError, Overloaded
from app.service.deadlines import restart
from app.service.requests import NewPoint
from app.service.writing import Draft
from app.types import Definition

MOST_FAULTS = 100
"""Bad lines that are listed; the others are only counted."""

PATIENCE_S = 60.0
"""How long one batch waits for room in the queues before the import ends with Overloaded."""

Result = TypeVar("Result")


class Line(NamedTuple):
    """One line: the point that it holds, or why it holds none (the pointer is into the line)."""

    number: int
    point: NewPoint | InvalidRequest


class LineBatch(NamedTuple):
    """Lines in order, none of them blank.

    blank      how many blank lines there were among and behind them
    next_line  number of the first line that is not in this batch or an earlier one
    """

    lines: Sequence[Line]
    blank: int
    next_line: int


class Fault(NamedTuple):
    """A bad line and what is wrong with it."""

    line: int
    error: InvalidRequest


@dataclass(slots=True)
class Progress:
    """What has become of the lines before `next_line`.

    upserted   good lines, all durable
    failed     bad lines that were left out; the first `MOST_FAULTS` of them are in `faults`
    """

    next_line: int
    upserted: int = 0
    failed: int = 0
    blank: int = 0
    faults: list[Fault] = field(default_factory=list)

    def add(self, upserted: int, faults: Sequence[Fault], *, blank: int, next_line: int) -> None:
        """Count one batch."""
        self.upserted += upserted
        self.failed += len(faults)
        self.faults += faults[: MOST_FAULTS - len(self.faults)]
        self.blank += blank
        self.next_line = next_line

    def end(self, error: LikewiseError) -> LikewiseError:
        """Write into an error how far the import came."""
        error.context = {
            **error.context,
            "next_line": self.next_line,
            "upserted": self.upserted,
            "failed": self.failed,
        }
        return error


DraftOf = Callable[[Definition, Sequence[NewPoint]], Draft]


class BadLine(Exception):
    """Ends an import at its first bad line: the lines before it are written."""

    def __init__(self, upserted: int, fault: Fault) -> None:
        super().__init__()
        self.upserted = upserted
        self.fault = fault


Write = Callable[[Sequence[Line]], Awaitable[tuple[int, Sequence[Fault]]]]
"""Writes the good ones of some lines: how many they were, and the bad ones. Raises BadLine if those
are not to be left out."""


async def run(
    batches: AsyncIterator[LineBatch],
    write: Write,
    progress: Progress,
    *,
    on_progress: Callable[[], object] = lambda: None,
) -> None:
    """Write batch after batch, reading one ahead; `progress` is true whenever this waits.

    Raises what ended the import before the end of its lines, with `progress` in its context.
    """
    upcoming = asyncio.ensure_future(_following(batches))
    try:
        while (batch := await upcoming) is not None:
            upcoming = asyncio.ensure_future(_following(batches))
            upserted, faults = await patiently(partial(write, batch.lines))
            progress.add(upserted, faults, blank=batch.blank, next_line=batch.next_line)
            on_progress()
    except BadLine as bad:
        blank = max(0, bad.fault.line - progress.next_line - bad.upserted)
        progress.add(bad.upserted, (), blank=blank, next_line=bad.fault.line)
        bad.fault.error.context = {"line": bad.fault.line, **bad.fault.error.context}
        raise progress.end(bad.fault.error) from None
    except LikewiseError as error:
        raise progress.end(error) from None
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)


async def _following(batches: AsyncIterator[LineBatch]) -> LineBatch | None:
    return await anext(batches, None)


async def patiently(work: Callable[[], Awaitable[Result]]) -> Result:
    """Do work again and again while the service is overloaded, for `PATIENCE_S` at most.

    A stream has no deadline but its caller's: each part of it has time anew.
    """
    waited_s, pause_s = 0.0, 0.05
    while True:
        restart(PATIENCE_S)
        try:
            return await work()
        except Overloaded:
            if waited_s >= PATIENCE_S:
                raise
        chosen_s = pause_s * (0.5 + random.random())  # noqa: S311  # spreads those that wait
        await asyncio.sleep(chosen_s)
        waited_s, pause_s = waited_s + chosen_s, min(2 * pause_s, 2.0)


def sift(
    lines: Sequence[Line],
    definition: Definition,
    draft_of: DraftOf,
    *,
    skip: bool,
) -> tuple[Draft | None, int, list[Fault]]:
    """Draft the good lines, each id once, and tell how many they were and which were bad.

    draft_of  checks points against the collection, as for an upsert
    skip      False stops before the first bad line, which is then the only fault

    The draft is None if there is nothing to write.
    """
    points = [line.point for line in lines if isinstance(line.point, NewPoint)]
    if len(points) == len(lines):
        try:
            return _drafted(points, definition, draft_of), len(points), []
        except InvalidRequest:
            pass  # to be told which lines, one by one
    good: list[NewPoint] = []
    faults: list[Fault] = []
    for line in lines:
        error = _error_of(line, definition, draft_of)
        if error is None:
            assert isinstance(line.point, NewPoint)
            good.append(line.point)
            continue
        faults.append(Fault(line.number, error))
        if not skip:
            break
    return _drafted(good, definition, draft_of), len(good), faults


def marked_lines(
    lines: Sequence[Line], draft: Draft, faults: Mapping[int, InvalidRequest]
) -> list[Line]:
    """The same lines, with errors in the place of points that turned out to be bad.

    draft   made of the good ones of `lines`
    faults  by the place of their point in the draft
    """
    wrong = {(type(draft.ids[place]), draft.ids[place]): error for place, error in faults.items()}
    marked: list[Line] = []
    for line in reversed(lines):
        point = line.point
        if isinstance(point, NewPoint) and isinstance(point.id, str | int):
            # Of several lines with one id the last was drafted.
            error = wrong.pop((type(point.id), point.id), None)
            if error is not None:
                line = Line(line.number, error)
        marked.append(line)
    return marked[::-1]


def _error_of(line: Line, definition: Definition, draft_of: DraftOf) -> InvalidRequest | None:
    if isinstance(line.point, InvalidRequest):
        return line.point
    try:
        _drafted([line.point], definition, draft_of)
    except InvalidRequest as error:
        # It was checked as the only point of a list.
        error.pointer = (error.pointer or "").removeprefix("/points/0")
        return error
    return None


def _drafted(
    points: Sequence[NewPoint],
    definition: Definition,
    draft_of: DraftOf,
) -> Draft | None:
    if not points:
        return None
    draft = draft_of(definition, _last_of_each_id(points))
    if definition.schema:
        for index, attributes in enumerate(draft.attributes):
            check_conforms(attributes, definition.schema, f"/points/{index}/attributes")
    return draft


def _last_of_each_id(points: Iterable[NewPoint]) -> list[NewPoint]:
    last: dict[object, NewPoint] = {}
    for point in points:
        # What is no id is told by the checks; here it must only not be taken for another one.
        key = (type(point.id), point.id) if isinstance(point.id, str | int) else id(point)
        last.pop(key, None)
        last[key] = point
    return list(last.values())
