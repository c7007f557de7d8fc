"""Text to token ids, in Rust; the only importer of `tokenizers`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tokenizers


class Tokenizer:
    """A model's `tokenizer.json`, cut to a length of ours. Thread-safe.

    The file's own truncation and padding are switched off: they say how the model was trained, and
    padding belongs to whoever knows the batch.
    """

    def __init__(self, path: Path, max_tokens: int) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=max_tokens)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with its special tokens, at most `max_tokens` long.

        Releases the GIL and uses all cores for more than one text.
        """
        # "fast" leaves out character offsets, which nobody here asks for.
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
