"""What every encoder of texts does before its graph: prompts, tokens, and where they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.encoders.base import Cut, TextKind
from app.encoders.inputs import Input, Tokens, check_unicode
from app.encoders.manifest import TextInput
from app.encoders.tokenizer import Tokenizer, guessed_tokens
from app.errors import InvalidText


class TextReader:
    """Reads texts as a manifest's [text] says. Thread-safe.

    name  the encoder's, for messages
    """

    def __init__(self, name: str, text: TextInput, folder: Path) -> None:
        self._name = name
        self._prompts = {"query": text.query_prompt, "document": text.document_prompt}
        self.tokenizer = Tokenizer(folder / text.tokenizer, text.max_tokens)

    def addressed(self, inputs: Sequence[Input], kind: TextKind) -> list[str | Tokens]:
        """Put the model's prompt for this kind before each text; ids of tokens stay as they are.

        Raises InvalidText (pointer `/i`) for anything else.
        """
        prompt = self._prompts[kind]
        addressed: list[str | Tokens] = []
        for place, given in enumerate(inputs):
            if isinstance(given, tuple):
                addressed.append(given)
                continue
            if not isinstance(given, str):
                raise InvalidText(f"{self._name} reads texts only", pointer=f"/{place}")
            check_unicode(given, f"/{place}")
            addressed.append(prompt + given if prompt else given)
        return addressed

    def fitted(
        self, inputs: Sequence[Input], kind: TextKind, cut: Cut, most: int | None = None
    ) -> list[Input]:
        """Turn texts, with their prompts, into ids of tokens, special ones included.

        most  of each text; None leaves it to the model

        Raises InvalidText (pointer `/i`) for what is no text, and for the first that is longer if
        `cut` is "never".
        """
        addressed = self.addressed(inputs, kind)
        most = self.tokenizer.max_tokens if most is None else most
        tokenised = iter(self.tokenizer.whole([one for one in addressed if isinstance(one, str)]))
        fitted: list[Input] = []
        for place, one in enumerate(addressed):
            ids = list(one) if isinstance(one, tuple) else next(tokenised)
            if cut == "never" and len(ids) > most:
                raise InvalidText(
                    f"{self._name} reads at most {most} tokens, received {len(ids)}; shorten the "
                    "text, or allow that it is cut",
                    pointer=f"/{place}",
                    limit=most,
                    received=len(ids),
                )
            fitted.append(tuple(self.tokenizer.cut(ids, at_start=cut == "start", most=most)))
        return fitted

    def estimate(self, given: str | Tokens) -> int:
        """Tokens of a text, guessed from its length."""
        tokens = len(given) if isinstance(given, tuple) else guessed_tokens(len(given))
        return min(tokens, self.tokenizer.max_tokens)

    def read(self, given: Sequence[str | Tokens]) -> list[list[int] | InvalidText]:
        """Tokenise texts, and check the ids of those that are tokens already."""
        tokenised = iter(self.tokenizer.ids([one for one in given if isinstance(one, str)]))
        return [self._accepted(one) if isinstance(one, tuple) else next(tokenised) for one in given]

    def _accepted(self, tokens: Tokens) -> list[int] | InvalidText:
        try:
            return self.tokenizer.accepted(tokens)
        except InvalidText as error:
            return error
