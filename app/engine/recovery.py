"""From a collection's store and folders to the parts that readers see.

Whatever state a crash left, the store decides: segments that it lists are opened, everything else
in the folder is rubbish, and rows that stand in no segment go into the head, where they are found
exactly until they are built again. A damaged segment is taken off the list; a system that refuses
files (no descriptors, no permission) says nothing about them, and its OSError passes.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from app.engine.parts import Effect, Parts, analysed, living, prepared
from app.errors import StorageFull, StoredDataError
from app.postings.words import WordReader
from app.segments.covers import Covers
from app.segments.segment import Segment
from app.segments.words import open_words, words_folder
from app.storage.files import remove_folder
from app.storage.store import Store, StoreReader, attributes_from_json
from app.storage.write_points import WritePoint, reached
from app.types import I64, Lexical, VectorField

_log = logging.getLogger(__name__)


class Recovered(NamedTuple):
    """What readers are to see, and the segments that were too damaged for it."""

    parts: Parts
    damaged: list[str]


def recover(
    folder: Path,
    store: Store,
    fields: Sequence[VectorField],
    lexical: Lexical | None,
    *,
    vectors_on_disk: bool,
) -> Recovered:
    """Open what the store lists, remove what it does not, load the rest into the head.

    folder            of the collection's segments
    vectors_on_disk   as in `Segment.open`
    """
    parts = Parts(fields, lexical)
    alive = store.rows()
    covered: list[I64] = [np.empty(0, dtype=np.int64)]
    damaged: list[str] = []
    used: set[str] = set()
    for name in store.segments():
        try:
            segment = Segment.open(
                folder / name,
                fields=fields,
                vectors_on_disk=vectors_on_disk,
            )
        except StoredDataError as exc:
            _log.warning("a segment is rebuilt from the store: %s", exc, extra=_facts(folder, name))
            damaged.append(name)
            continue
        used |= {name, *_open_covers(segment)}
        words = None if lexical is None else _opened_words(segment, lexical)
        if words is not None and lexical is not None:
            used.add(words_folder(segment.folder, lexical).name)
        opened = living(segment, alive, words)
        parts.swap((), opened)
        covered.append(opened.live_rows())
    if damaged:
        with contextlib.suppress(StorageFull):  # then the next start finds them missing
            store.write(lambda writer: writer.replace_segments(damaged, []))
        reached(WritePoint.DAMAGE_UNLISTED)
    for each in folder.iterdir():
        if each.name not in used:  # of a build that never counted, or no longer does
            remove_folder(each)

    loose: list[int] = np.setdiff1d(alive, np.concatenate(covered)).tolist()
    load_head(parts, store, fields, loose)
    return Recovered(parts, damaged)


def load_head(
    parts: Parts, store: StoreReader, fields: Sequence[VectorField], rows: Sequence[int]
) -> None:
    """Append stored rows, ascending, to the head."""
    for start in range(0, len(rows), store.read_ahead):
        scanned = list(store.scan(rows[start : start + store.read_ahead], vectors=True))
        points = [point for _, point in scanned]
        attributes = [attributes_from_json(point.attributes) for point in points]
        effect = Effect(
            rows=[row for row, _ in scanned],
            points=points,
            vectors=prepared(fields, points),
            attributes=attributes,
            documents=analysed(parts.snapshot.lexical, points, attributes),
        )
        parts.publish([effect])


def _open_covers(segment: Segment) -> list[str]:
    """Take the newest covers of a segment that verify; names their folder, if there is one."""
    found = sorted(
        segment.folder.parent.glob(f"{segment.name}.covers.*"),
        key=lambda folder: (len(folder.name), folder.name),
        reverse=True,
    )
    for folder in found:
        try:
            segment.covers = Covers.open(folder, slots=segment.slots)
        except StoredDataError as exc:
            _log.warning("covers are not used: %s", exc, extra=_facts(folder.parent, folder.name))
            continue
        return [folder.name]
    return []


def _opened_words(segment: Segment, lexical: Lexical) -> WordReader | None:
    """Open a segment's words; None if they are to be built."""
    if not words_folder(segment.folder, lexical).exists():
        return None
    try:
        return open_words(segment.folder, lexical, segment.slots)
    except StoredDataError as exc:
        _log.warning(
            "words are built again: %s", exc, extra=_facts(segment.folder.parent, segment.name)
        )
        return None


def _facts(folder: Path, segment: str) -> dict[str, Any]:
    """Tell in a log line where: the collection is named when it is open, its folder always is."""
    return {"facts": {"job": "open", "folder": folder.parent.name, "segment": segment}}
