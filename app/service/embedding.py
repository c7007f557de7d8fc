"""Encoding what callers send, without storing it: the forms of inputs, and the use case.

An input comes in one of these forms, and a list may mix them:

    "a text"
    [101, 7592, 102]     a text as the ids of its tokens, those of this encoder's tokenizer
    {"text": "a text"}   an object with one member, which says what the input is
    {"text": "a text", "expert": "law"}     and, for a router, which expert it is for

A single input may stand without a list around it. Objects are read by
`_MEMBERS`: another kind of input is a row there and a function.

Errors blame the JSON pointer of an input, also those that the encoder itself finds later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from app.config import Settings
from app.encoders.base import Cut, Encoded, EncoderInfo, LaneName, OutputKind, TextKind
from app.encoders.dimensions import lengths_in_words, makes, shortened
from app.encoders.inputs import Input, Routed, Tokens
from app.encoders.pooling import normalise
from app.errors import InvalidField, InvalidText, LikewiseError
from app.service.checks import check_batch, check_text, place
from app.service.encoding import FEW_TEXTS, Encoding, lane_of
from app.service.lanes import Lane
from app.service.objects import points_of, record_of
from app.types import F32


class Encode(Protocol):
    """Encodes inputs in one of the encoder's lanes, as `Encoding.encode` does."""

    async def __call__(
        self,
        encoder: str,
        inputs: Sequence[Input],
        kind: TextKind,
        output: OutputKind,
        *,
        lane: LaneName | None,
    ) -> Encoded: ...


@dataclass(frozen=True, slots=True)
class ToEmbed:
    """Inputs to encode, and where their parts stand in the request's body.

    inputs      as they came
    model       None is the default encoder
    dimensions  how many numbers of each vector to keep; None is all
    cut         where an input loses what is too much for the model
    normalise   bring vectors to length one, whatever the encoder does
    """

    inputs: object
    model: str | None = None
    dimensions: int | None = None
    kind: TextKind = "document"
    output: OutputKind = "dense"
    cut: Cut = "end"
    normalise: bool = False
    inputs_at: str = "/input"
    dimensions_at: str = "/dimensions"
    cut_at: str = "/truncate"


@dataclass(frozen=True, slots=True)
class Embedded:
    """What an encoder made: `outputs` as in `Encoded`, and the tokens of each input."""

    model: str
    output: OutputKind
    outputs: F32 | list[Any]
    tokens: list[int]

    @property
    def vectors(self) -> F32:
        """The dense vectors, [input, dim] float32."""
        return Encoded(self.outputs, self.tokens).vectors


@dataclass(frozen=True, slots=True)
class Inputs:
    """Checked inputs, and the JSON pointer of each."""

    values: list[Input]
    pointers: list[str]

    def placed(self, pointer: str | None) -> str | None:
        """The place in the body of an encoder's pointer, which counts inputs: `/i…`."""
        if pointer is None:
            return None
        number, slash, rest = pointer.removeprefix("/").partition("/")
        return self.pointers[int(number)] + slash + rest


async def embed(
    wanted: ToEmbed, *, encoding: Encoding, encode: Encode, lane: Lane, settings: Settings
) -> Embedded:
    """Check inputs on `lane` and encode them.

    Raises what `Encoding.usable` and `encode` raise, and InvalidField, InvalidText or LimitExceeded
    with the pointer of what is wrong.
    """

    def prepare() -> tuple[EncoderInfo, Inputs]:
        try:
            info = encoding.usable(wanted.model or encoding.default)
        except LikewiseError as error:
            error.pointer = "/model"
            raise
        _check_output(wanted, info)
        inputs = read_inputs(
            wanted.inputs,
            wanted.inputs_at,
            limit=settings.max_inputs,
            max_chars=settings.max_text_chars,
        )
        if wanted.cut != "end":
            inputs = _fitted(inputs, wanted, info.name, encoding)
        return info, inputs

    info, inputs = await lane.run(prepare)
    try:
        # Many clients do not say what a text is for; with a few of them somebody is waiting.
        asked = "query" if len(inputs.values) <= FEW_TEXTS else wanted.kind
        urgency = lane_of(asked, len(inputs.values))
        encoded = await encode(info.name, inputs.values, wanted.kind, wanted.output, lane=urgency)
    except LikewiseError as error:
        error.pointer = inputs.placed(error.pointer)
        raise
    embedded = Embedded(info.name, wanted.output, encoded.outputs, encoded.tokens)
    cut = wanted.dimensions not in (None, info.dimension)
    if wanted.output == "dense" and (cut or (wanted.normalise and not info.unit)):
        return await lane.run(lambda: _finished(embedded, wanted, info))
    return embedded


def _check_output(wanted: ToEmbed, info: EncoderInfo) -> None:
    several = wanted.output == "all" and len(info.outputs) > 1
    if wanted.output not in info.outputs and not several:
        raise InvalidField(
            f"encoder {info.name!r} makes {' and '.join(info.outputs)} outputs only",
            pointer="/output",
        )
    if wanted.dimensions is not None and not makes(info, wanted.dimensions):
        raise InvalidField(
            f"encoder {info.name!r} makes vectors of {lengths_in_words(info)} only",
            pointer=wanted.dimensions_at,
        )


def _fitted(inputs: Inputs, wanted: ToEmbed, name: str, encoding: Encoding) -> Inputs:
    try:
        values = encoding.fitted(name, inputs.values, wanted.kind, wanted.cut)
    except InvalidField as error:
        error.pointer = wanted.cut_at
        raise
    except LikewiseError as error:
        error.pointer = inputs.placed(error.pointer)
        raise
    return Inputs(values, inputs.pointers)


def _finished(embedded: Embedded, wanted: ToEmbed, info: EncoderInfo) -> Embedded:
    vectors = shortened(embedded.vectors, wanted.dimensions or info.dimension, unit=info.unit)
    if wanted.normalise and not info.unit:
        vectors = normalise(vectors)
    return replace(embedded, outputs=vectors)


def read_inputs(raw: object, at: str, *, limit: int, max_chars: int) -> Inputs:
    """Read inputs in any of their forms.

    at         JSON pointer of `raw`
    limit      most inputs
    max_chars  most characters, or tokens, of one text

    Raises InvalidField, InvalidText or LimitExceeded.
    """
    if isinstance(raw, (str, dict)) or (isinstance(raw, list) and raw and isinstance(raw[0], int)):
        return Inputs([_read(raw, at, max_chars)], [at])
    if not isinstance(raw, list):
        raise InvalidText("expected a text, a list of token ids, or a list of inputs", pointer=at)
    check_batch(len(raw), what="inputs", limit=limit, pointer=at)
    pointers = [place(at, number) for number in range(len(raw))]
    return Inputs(
        [_read(one, pointer, max_chars) for one, pointer in zip(raw, pointers, strict=True)],
        pointers,
    )


def _read(raw: object, at: str, max_chars: int) -> Input:
    if isinstance(raw, str):
        return check_text(raw, limit=max_chars, pointer=at)
    if isinstance(raw, list):
        return _tokens(raw, at, max_chars)
    if isinstance(raw, dict) and "expert" in raw:
        return _routed(raw, at, max_chars)
    if isinstance(raw, dict) and len(raw) == 1:
        ((member, value),) = raw.items()
        if member in _MEMBERS:
            return _MEMBERS[member](value, place(at, member), max_chars)
    known = ", ".join(_MEMBERS)
    raise InvalidText(
        f"expected a text, a list of token ids, or an object with one of the members {known}",
        pointer=at,
    )


def _tokens(raw: list[object], at: str, limit: int) -> Tokens:
    if not raw or len(raw) > limit:
        raise InvalidText(f"a text has 1-{limit} tokens, received {len(raw)}", pointer=at)
    for number, token in enumerate(raw):
        if type(token) is not int:
            raise InvalidText("expected the id of a token, an integer", pointer=place(at, number))
    return tuple(raw)  # type: ignore[arg-type]  # they are integers, as was just seen


def _text(raw: object, at: str, max_chars: int) -> Input:
    if not isinstance(raw, str):
        raise InvalidText("expected a text", pointer=at)
    return check_text(raw, limit=max_chars, pointer=at)


def _routed(raw: dict[str, object], at: str, max_chars: int) -> Input:
    expert = raw["expert"]
    if not isinstance(expert, str):
        raise InvalidField("expected the name of an expert", pointer=place(at, "expert"))
    rest = {member: value for member, value in raw.items() if member != "expert"}
    return Routed(_read(rest, at, max_chars), expert)


_MEMBERS: dict[str, Callable[[object, str, int], Input]] = {
    "text": _text,
    "record": record_of,
    "points": points_of,
}
"""Member of an input's object → what reads its value: the value, its pointer, most characters."""
