"""The words of a segment, for a lexical index: a folder beside the segment, made from the store.

    <segment>.words.<fingerprint>/   segment.json (checksums), and what `app.postings.words` lists

The fingerprint is of the fields, the language and the version of the analysis, so a folder's name
says whether it serves the index that a collection has. A segment itself does not change when a
collection gets such an index, gets another one, or loses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from app.postings.words import SegmentWords, build_words
from app.segments.folder import finished_folder, read_folder, well_described
from app.storage.store import StoreReader, attributes_from_json
from app.text.analysis import Document, document_of, fingerprint
from app.types import I64, Lexical

FORMAT = 1

_REPORTED = 5000  # slots between two reports of progress


def words_folder(segment: Path, lexical: Lexical) -> Path:
    """Name the folder of a segment's words."""
    return segment.with_name(f"{segment.name}.words.{fingerprint(lexical)}")


def write_words(
    segment: Path,
    store: StoreReader,
    rows: I64,
    lexical: Lexical,
    progress: Callable[[str, int, int], None],
) -> None:
    """Build the words of a segment and leave them, synced, beside it.

    rows   int64[slots] of the segment; those that are gone have no words
    """
    words = build_words(
        documents_of(store, rows.tolist(), lexical, progress), len(lexical.fields), lexical.language
    )
    with finished_folder(words_folder(segment, lexical)) as (work, files):
        files += words.save(work)
        files.describe({"format": FORMAT, "slots": words.slots, "fields": words.fields})


def open_words(segment: Path, lexical: Lexical, slots: int) -> SegmentWords:
    """Verify and map the words of a segment.

    Raises CorruptFile if they are missing, damaged or of other slots, IncompatibleFormat.
    """
    folder = words_folder(segment, lexical)
    with well_described(folder):
        read_folder(folder, FORMAT)
        return SegmentWords.open(folder, slots, len(lexical.fields))


def documents_of(
    store: StoreReader,
    rows: list[int],
    lexical: Lexical,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Iterator[Document]:
    """Analyse stored points, in the order of `rows`; one that is gone is an empty document."""
    none = document_of(lexical, {}, None)
    slot_of = {row: at for at, row in enumerate(rows)}
    slot = 0
    for row, point in store.scan(rows, vectors=False):
        while slot < slot_of[row]:
            yield none
            slot += 1
        yield document_of(lexical, attributes_from_json(point.attributes), point.text)
        slot += 1
        if slot % _REPORTED == 0:
            progress("words", slot, len(rows))
    yield from (none for _ in range(slot, len(rows)))
