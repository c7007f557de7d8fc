"""The words of a segment: postings for ranking, a dictionary for prefixes, texts for phrases.

    words.*.npy          the postings (`app.postings.postings`), whose terms are numbers of words
    stream.npy           uint32[any], the terms of all slots as they stand in the texts, as places
                         in the postings' terms; `GAP_PLACE` between two texts of one field
    ends.npy             int64[1 + slots × fields], where each slot's each field ends in the stream
    dictionary.blob.npy, dictionary.ends.npy, dictionary.numbers.npy
                         uint8[bytes], int64[terms], uint64[terms]: the terms' texts in UTF-8 end to
                         end, ascending, and their numbers

Building takes numpy alone: the build process does without compiled code.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.errors import CorruptFile
from app.postings.postings import MOST_OCCURRENCES, Lists, Postings, build
from app.text.analysis import GAP, Document, Term, analyzer_of, counted
from app.types import I64, U8, U32, U64
from app.vectors.arrays import map_array, read_only, save_array

GAP_PLACE = 2**32 - 1


class WordReader(Protocol):
    """The words of a part: of a segment, or of a head as it was at one moment.

    fields   text fields
    """

    @property
    def slots(self) -> int: ...

    @property
    def fields(self) -> int: ...

    @property
    def lengths(self) -> U32: ...

    def lists(self, terms: U64) -> Lists: ...

    def starting(self, prefix: str) -> list[int]:
        """List the numbers of the terms that begin so, of this part or of others besides."""
        ...

    def stream(self) -> tuple[NDArray[np.unsignedinteger], I64]:
        """Give the terms of all slots in their order, and where each field ends."""
        ...

    def places(self, numbers: U64) -> NDArray[np.unsignedinteger]:
        """Say ascending numbers of terms as the stream does; those that do not stand in it are
        left out."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Dictionary:
    """Terms by their texts."""

    blob: U8
    ends: I64
    numbers: U64

    def __len__(self) -> int:
        return self.ends.size

    def __getitem__(self, at: int) -> bytes:
        start = int(self.ends[at - 1]) if at else 0
        return self.blob[start : int(self.ends[at])].tobytes()

    def starting(self, prefix: str) -> list[int]:
        """List the numbers of the terms that begin so."""
        first = prefix.encode()
        low = bisect_left(self, first)
        # No byte of UTF-8 is 0xFF: behind this one stands nothing that begins so.
        high = bisect_left(self, first + b"\xff", low)
        found: list[int] = self.numbers[low:high].tolist()
        return found

    @classmethod
    def of(cls, terms: Iterable[Term]) -> Dictionary:
        """Sort terms, all different."""
        listed = sorted((term.text.encode(), term.number) for term in terms)
        lengths = np.fromiter((len(text) for text, _ in listed), np.int64, len(listed))
        return cls(
            np.frombuffer(b"".join(text for text, _ in listed), np.uint8),
            np.cumsum(lengths),
            np.array([number for _, number in listed], dtype=np.uint64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SegmentWords:
    """The arrays above. A `WordReader`, safe for any number of threads."""

    postings: Postings
    terms: U32
    ends: I64
    dictionary: Dictionary

    @property
    def slots(self) -> int:
        """Count the slots."""
        return int(self.postings.lengths.shape[0])

    @property
    def fields(self) -> int:
        """Count the text fields."""
        return int(self.postings.lengths.shape[1])

    @property
    def lengths(self) -> U32:
        """Give the words of each text: uint32[slots, fields]."""
        return self.postings.lengths

    def lists(self, terms: U64) -> Lists:
        """Find the postings of terms: uint64[any]."""
        return self.postings.lists(terms)

    def starting(self, prefix: str) -> list[int]:
        """List the numbers of the terms that begin so."""
        return self.dictionary.starting(prefix)

    def stream(self) -> tuple[NDArray[np.unsignedinteger], I64]:
        """Give the terms of all slots in their order, and where each field ends."""
        return self.terms, self.ends

    def places(self, numbers: U64) -> NDArray[np.unsignedinteger]:
        """Say ascending numbers of terms as the stream does, leaving out unknown ones."""
        known = self.postings.terms
        if known.size == 0:
            return np.empty(0, dtype=np.uint32)
        at = np.minimum(np.searchsorted(known, numbers), known.size - 1)
        places: U32 = at[known[at] == numbers].astype(np.uint32)
        return places

    def save(self, folder: Path) -> list[Path]:
        """Write the files, which the caller syncs."""
        paths = self.postings.save(folder, "words")
        for name, array in (
            ("stream", self.terms),
            ("ends", self.ends),
            ("dictionary.blob", self.dictionary.blob),
            ("dictionary.ends", self.dictionary.ends),
            ("dictionary.numbers", self.dictionary.numbers),
        ):
            save_array(folder / f"{name}.npy", array)
            paths.append(folder / f"{name}.npy")
        return paths

    @classmethod
    def open(cls, folder: Path, slots: int, fields: int) -> SegmentWords:
        """Map the files. Raises CorruptFile where they are not those of so many slots."""
        opened = cls(
            Postings.open(folder, "words", slots, fields=fields),
            map_array(folder / "stream.npy", (np.uint32,), 1),
            map_array(folder / "ends.npy", (np.int64,), 1),
            Dictionary(
                map_array(folder / "dictionary.blob.npy", (np.uint8,), 1),
                map_array(folder / "dictionary.ends.npy", (np.int64,), 1),
                map_array(folder / "dictionary.numbers.npy", (np.uint64,), 1),
            ),
        )
        if not opened._sound(slots, fields):
            raise CorruptFile("the arrays of the words do not fit together", path=str(folder))
        return opened

    def _sound(self, slots: int, fields: int) -> bool:
        """Tell whether compiled code, which checks no bounds, may go by the arrays."""
        bounds = self.dictionary.ends
        return bool(
            self.ends.shape == (1 + slots * fields,)
            and self.ends[0] == 0
            and self.ends[-1] == self.terms.size
            and np.all(self.ends[1:] >= self.ends[:-1])
            and bounds.size == self.dictionary.numbers.size
            and np.all(bounds[1:] >= bounds[:-1])
            and (bounds[-1] if bounds.size else 0) == self.dictionary.blob.size
            and (not bounds.size or bounds[0] >= 0)
        )


def build_words(documents: Iterable[Document], fields: int, language: str | None) -> SegmentWords:
    """Index the documents of slots 0, 1, 2, …

    language   that they were analysed for
    """
    streams, terms, weights, lengths = [], [], [], []
    ends = [0]
    words: set[str] = set()
    for document in documents:
        own = counted(document)
        streams.append(document.stream)
        ends += [ends[-1] + end for end in document.ends]
        terms.append(own.terms)
        weights.append(np.minimum(own.counts, MOST_OCCURRENCES).astype(np.uint16))
        lengths.append(own.lengths)
        words |= document.words
    slots = len(streams)
    bounds = np.zeros(slots + 1, dtype=np.int64)
    np.cumsum([each.size for each in terms], out=bounds[1:])
    postings = build(
        bounds,
        np.concatenate([np.empty(0, dtype=np.uint64), *terms]),
        np.concatenate([np.empty((0, fields), dtype=np.uint16), *weights]),
        np.array(lengths, dtype=np.uint32).reshape(slots, fields),
    )
    stream = np.concatenate([np.empty(0, dtype=np.uint64), *streams])
    places = np.searchsorted(postings.terms, stream).astype(np.uint32)
    places[stream == GAP] = GAP_PLACE
    term = analyzer_of(language).term
    return SegmentWords(
        postings,
        read_only(places),
        np.array(ends, dtype=np.int64),
        Dictionary.of({term(word) for word in words}),
    )
