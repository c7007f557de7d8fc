"""Texts as ids that fit a model: cut at their start or end, or refused."""

from __future__ import annotations

from collections.abc import Sequence

from app.encoders.base import Cut
from app.encoders.inputs import Tokens
from app.encoders.tokenizer import Tokenizer
from app.errors import InvalidText


def fitted(
    tokenizer: Tokenizer, given: Sequence[str | Tokens], cut: Cut, *, most: int, name: str
) -> list[Tokens]:
    """The ids of texts, special tokens included, at most `most` of each; ids are cut alike.

    name  of the encoder, for errors

    Raises InvalidText (pointer `/i`) for the first that is longer if `cut` is "never".
    """
    tokenised = iter(tokenizer.whole([one for one in given if isinstance(one, str)]))
    made: list[Tokens] = []
    for place, one in enumerate(given):
        ids = list(one) if isinstance(one, tuple) else next(tokenised)
        if cut == "never" and len(ids) > most:
            raise InvalidText(
                f"{name} reads at most {most} tokens, received {len(ids)}; shorten the text, or "
                "allow that it is cut",
                pointer=f"/{place}",
                limit=most,
                received=len(ids),
            )
        made.append(tuple(tokenizer.cut(ids, at_start=cut == "start", most=most)))
    return made
