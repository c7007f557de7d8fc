"""Text to token ids, in Rust; the only importer of `tokenizers`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import tokenizers

from app.encoders.manifest.pair import Truncate
from app.errors import InvalidText

CHARS_PER_TOKEN = 4  # English word pieces; with other scripts a round is a few batches more


class Tokenizer:
    """A model's `tokenizer.json`, cut to a length of ours. Thread-safe.

    vocabulary  how many tokens there are; their ids are below it
    special     ids of those that stand for no text: the beginning, the end, padding, …

    The file's own truncation and padding are switched off: they say how the model was trained, and
    padding belongs to whoever knows the batch.
    """

    def __init__(self, path: Path, max_tokens: int) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=max_tokens)
        self.max_tokens = max_tokens
        added = self._tokenizer.get_added_tokens_decoder()
        self.special = {number for number, token in added.items() if token.special}
        self.vocabulary = self._tokenizer.get_vocab_size(with_added_tokens=True)

    def id_of(self, piece: str) -> int:
        """The id of one piece of the vocabulary. Raises ValueError if it has none."""
        found = self._tokenizer.token_to_id(piece)
        if found is None:
            raise ValueError(f"the tokenizer has no piece {piece!r}")
        return int(found)

    def pieces(self) -> dict[str, int]:
        """All pieces, those that were added included, and their ids."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with its special tokens, at most `max_tokens` long.

        On the caller's thread and without the GIL; `app` switches the library's own threads off.
        """
        # "fast" leaves out character offsets, which nobody here asks for.
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def whole(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with its special tokens, however many they are."""
        return [encoding.ids for encoding in self._uncut.encode_batch_fast(list(texts))]

    def accepted(self, ids: Sequence[int]) -> list[int]:
        """Cut ids that a caller sent. Raises InvalidText (pointer `/i`) for one that is none."""
        if min(ids) >= 0 and max(ids) < self.vocabulary:
            return self.cut(ids)
        wrong = next(place for place, token in enumerate(ids) if not 0 <= token < self.vocabulary)
        raise InvalidText(
            f"the tokens of this encoder have ids below {self.vocabulary}; a text that another "
            "tokenizer has cut cannot be read: send the text itself",
            pointer=f"/{wrong}",
        )

    def cut(
        self, ids: Sequence[int], *, at_start: bool = False, most: int | None = None
    ) -> list[int]:
        """Cut ids to `most`, or `max_tokens`, as a text is cut.

        That is from one end, but for the special token there.

        So the ids of a text, special tokens included, make what the text itself makes.
        """
        most = most or self.max_tokens
        if len(ids) <= most:
            return list(ids)
        if at_start:
            rest = ids[len(ids) - most :]
            return [ids[0] if ids[0] in self.special else rest[0], *rest[1:]]
        last = ids[-1] if ids[-1] in self.special else ids[most - 1]
        return [*ids[: most - 1], last]

    @cached_property
    def _uncut(self) -> tokenizers.Tokenizer:
        """A second one, made when it is asked for: to cut is a state of the first."""
        uncut = tokenizers.Tokenizer.from_str(self._tokenizer.to_str())
        uncut.no_truncation()
        return uncut


class PairTokenizer:
    """A model's `tokenizer.json` on pairs of texts. Thread-safe.

    max_tokens  of both texts together, special tokens included
    truncate    which text of a pair that is too long is cut: see `cut_pair`

    Raises ValueError if there is no room for two texts, or the tokenizer makes no pairs.
    """

    def __init__(self, path: Path, max_tokens: int, truncate: Truncate) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._truncate = truncate
        self._room = max_tokens - self._tokenizer.num_special_tokens_to_add(True)
        if self._room < 2:
            raise ValueError(f"{max_tokens} tokens have no room for two texts")
        word = self._tokenizer.encode("a", add_special_tokens=False)
        shown = self._tokenizer.post_process(word, word)
        # Which tokens were added around the two texts, which all tokenizers keep in their order.
        added = shown.special_tokens_mask
        if len(added) - sum(added) != 2 * len(word):
            raise ValueError("the tokenizer makes no pairs")
        first = added.index(0)
        second = added.index(0, first + len(word)) if len(word) else first
        borders = (0, first), (first + len(word), second), (second + len(word), len(added))
        self._added = [shown.ids[start:end] for start, end in borders]
        self._types = [shown.type_ids[start:end] for start, end in borders]
        self._type_of = shown.type_ids[first], shown.type_ids[second]

    def ids(
        self, pairs: Sequence[tuple[str, str]], most_tokens: Sequence[int | None]
    ) -> list[tuple[list[int], list[int]]]:
        """Token ids and types of each pair, special tokens included.

        most_tokens  of each second text; None leaves it to the room
        """
        # Queries are the same many times: each text is read once.
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        read = {text: encoding.ids for text, encoding in zip(texts, encodings, strict=True)}
        return [
            self._whole(read[first], read[second][:most])
            for (first, second), most in zip(pairs, most_tokens, strict=True)
        ]

    def _whole(self, first: list[int], second: list[int]) -> tuple[list[int], list[int]]:
        one, other = cut_pair(len(first), len(second), self._room, self._truncate)
        before, between, after = self._added
        ids = [*before, *first[:one], *between, *second[:other], *after]
        before, between, after = self._types
        of_one, of_other = self._type_of
        return ids, [*before, *[of_one] * one, *between, *[of_other] * other, *after]


def guessed_tokens(chars: int) -> int:
    """Guess how many tokens a text of that many characters has: for packing, before it is read."""
    return 1 + chars // CHARS_PER_TOKEN


def cut_pair(first: int, second: int, room: int, truncate: Truncate) -> tuple[int, int]:
    """Say how many tokens of two texts are kept, so that both fit into a room.

    truncate  "second": the second is cut, and the first only if it has more than half of the room;
              "longest": the longer one is cut until both are equal, then both
    """
    if first + second <= room:
        return first, second
    half = room // 2
    if truncate == "second":
        first = min(first, max(half, room - second))
        return first, room - first
    if min(first, second) <= half:
        return (first, room - first) if first <= second else (room - second, second)
    return (room - half, half) if first > second else (half, room - half)
