"""Text to token ids, in Rust; the only importer of `tokenizers`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
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

    def whole(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with its special tokens, however many they are."""
        return [encoding.ids for encoding in self._uncut.encode_batch_fast(list(texts))]

    def cut(self, ids: Sequence[int], *, at_start: bool = False) -> list[int]:
        """Cut ids to `max_tokens` as a text is cut: from one end, but for the special token there.

        So the ids of a text, special tokens included, make what the text itself makes.
        """
        if len(ids) <= self.max_tokens:
            return list(ids)
        if at_start:
            rest = ids[len(ids) - self.max_tokens :]
            return [ids[0] if ids[0] in self._special else rest[0], *rest[1:]]
        last = ids[-1] if ids[-1] in self._special else ids[self.max_tokens - 1]
        return [*ids[: self.max_tokens - 1], last]

    @cached_property
    def _uncut(self) -> tokenizers.Tokenizer:
        """A second one, made when it is asked for: to cut is a state of the first."""
        uncut = tokenizers.Tokenizer.from_str(self._tokenizer.to_str())
        uncut.no_truncation()
        return uncut
