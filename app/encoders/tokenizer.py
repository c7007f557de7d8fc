"""Text to token ids, in Rust; the only importer of `tokenizers`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tokenizers


class Tokenizer:
    """A model's `tokenizer.json`, cut to a length of ours. Thread-safe.

    vocabulary  how many tokens there are; their ids are below it

    The file's own truncation and padding are switched off: they say how the model was trained, and
    padding belongs to whoever knows the batch.
    """

    def __init__(self, path: Path, max_tokens: int) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=max_tokens)
        self.max_tokens = max_tokens
        added = self._tokenizer.get_added_tokens_decoder()
        self._special = {number for number, token in added.items() if token.special}
        self.vocabulary = self._tokenizer.get_vocab_size(with_added_tokens=True)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with its special tokens, at most `max_tokens` long.

        Releases the GIL and uses all cores for more than one text.
        """
        # "fast" leaves out character offsets, which nobody here asks for.
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def cut(self, ids: Sequence[int]) -> list[int]:
        """Cut ids to `max_tokens` as a text is cut: from the end, but for the token that ends it.

        So the ids of a text, special tokens included, make what the text itself makes.
        """
        if len(ids) <= self.max_tokens:
            return list(ids)
        last = ids[-1] if ids[-1] in self._special else ids[self.max_tokens - 1]
        return [*ids[: self.max_tokens - 1], last]
