"""Encoding what callers send, without storing it: the forms of inputs, and the use case.

An input comes in one of these forms, and a list may mix them:

    "a text"
    [101, 7592, 102]     a text as the ids of its tokens, those of this encoder's tokenizer
    {"text": "a text"}   an object with one member, which says what the input is
    {"image": "…"}       an image as base64, a data: URL, or a URL if the service fetches images;
                         clients of Jina call it `bytes` or `url`
    {"text": "a text", "expert": "law"}     and, for a router, which expert it is for

An input that the encoder does not read goes to another one of its space, if there is one.

A single input may stand without a list around it. Objects are read by
`_MEMBERS`: another kind of input is a row there and a function.

Errors blame the JSON pointer of an input, also those that the encoder itself finds later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from app.config import Settings
from app.encoders.base import Cut, Encoded, EncoderInfo, LaneName, OutputKind, TextKind
from app.encoders.dimensions import lengths_in_words, makes, shortened
from app.encoders.inputs import Input, Picture, Routed, Tokens
from app.encoders.pipeline.arrays import unit
from app.errors import InvalidField, InvalidText, LikewiseError, LimitExceeded
from app.service.checks import check_batch, check_text, place, placed_input
from app.service.encoding import FEW_TEXTS, Encoding, lane_of
from app.service.images import Given, ImageInputs, ImageUrl
from app.service.lanes import Lane
from app.service.readers import IMAGE, TEXT, Readers, modality_of
from app.service.structured import points_of, record_of
from app.types import F32

MOST_NUMBERS = 1 << 24
"""Of all outputs of a request: 64 MiB of float32, and about 200 MB as JSON. A vector of each token
of a long text has more of them than the text has characters."""


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
        most_numbers: float,
    ) -> Encoded: ...


@dataclass(frozen=True, slots=True)
class ToEmbed:
    """Inputs to encode, and where their parts stand in the request's body.

    inputs      as they came
    model       None is the default encoder
    dimensions  how many numbers of each vector to keep; None is all
    cut         where an input loses what is too much for the model
    normalise   bring vectors to length one, whatever the encoder does
    strings     what strings among the inputs are
    """

    inputs: object
    model: str | None = None
    dimensions: int | None = None
    kind: TextKind = "document"
    output: OutputKind = "dense"
    cut: Cut = "end"
    normalise: bool = False
    strings: Literal["text", "image"] = "text"
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

    values: list[Given]
    pointers: list[str]


async def embed(
    wanted: ToEmbed,
    *,
    encoding: Encoding,
    encode: Encode,
    lane: Lane,
    settings: Settings,
    images: ImageInputs,
    readers: Readers,
) -> Embedded:
    """Check inputs on `lane` and encode them, each with the encoder of the space that reads it.

    Raises what `Encoding.usable` and `encode` raise, and InvalidField, InvalidText or LimitExceeded
    with the pointer of what is wrong.
    """

    def prepare() -> tuple[EncoderInfo, Inputs, dict[str, list[int]]]:
        try:
            info = encoding.usable(wanted.model or encoding.default)
        except LikewiseError as error:
            error.pointer = "/model"
            raise
        _check_output(wanted, info)
        inputs = read_inputs(
            wanted.inputs,
            wanted.inputs_at,
            strings=wanted.strings,
            limit=settings.max_inputs,
            max_chars=settings.max_text_chars,
            images=images,
        )
        shares = _shares(info.name, inputs, readers)
        for other in shares.keys() - {info.name}:
            _check_output(wanted, encoding.usable(other))
        if wanted.cut != "end":
            inputs = _fitted(inputs, shares, wanted, encoding)
        return info, inputs, shares

    info, inputs, shares = await lane.run(prepare)
    parts = [
        await _encoded(encode, images, encoder, inputs, places, wanted)
        for encoder, places in shares.items()
    ]
    embedded = _together(info.name, wanted.output, parts, list(shares.values()))
    cut = wanted.dimensions not in (None, info.dimension)
    if wanted.output == "dense" and (cut or (wanted.normalise and not info.unit)):
        return await lane.run(lambda: _finished(embedded, wanted, info))
    return embedded


def _together(
    model: str, output: OutputKind, parts: Sequence[Encoded], shares: Sequence[Sequence[int]]
) -> Embedded:
    """Put what several encoders made back into the order of the inputs."""
    if len(parts) == 1:
        return Embedded(model, output, parts[0].outputs, parts[0].tokens)
    order = np.argsort([place for places in shares for place in places])
    tokens = [count for part in parts for count in part.tokens]
    outputs: F32 | list[Any]
    if output == "dense":
        outputs = np.concatenate([part.vectors for part in parts])[order]
    else:
        unordered = [one for part in parts for one in part.outputs]
        outputs = [unordered[place] for place in order]
    return Embedded(model, output, outputs, [tokens[place] for place in order])


def _shares(encoder: str, inputs: Inputs, readers: Readers) -> dict[str, list[int]]:
    """Who reads what: encoder → places of its inputs."""
    shares: dict[str, list[int]] = {}
    known: dict[str, str] = {}
    for place_, (value, at) in enumerate(zip(inputs.values, inputs.pointers, strict=True)):
        modality = modality_of(value)
        if modality not in known:
            try:
                known[modality] = readers.reader(encoder, modality, None, "")
            except LikewiseError as error:
                error.pointer = at
                raise
        shares.setdefault(known[modality], []).append(place_)
    return shares


async def _encoded(
    encode: Encode,
    images: ImageInputs,
    encoder: str,
    inputs: Inputs,
    places: Sequence[int],
    wanted: ToEmbed,
) -> Encoded:
    try:
        values = await images.fetched([inputs.values[place_] for place_ in places])
        # Many clients do not say what a text is for; with a few of them somebody is waiting.
        asked = "query" if len(inputs.values) <= FEW_TEXTS else wanted.kind
        urgency = lane_of(asked, len(inputs.values))
        return await encode(
            encoder,
            values,
            wanted.kind,
            wanted.output,
            lane=urgency,
            most_numbers=MOST_NUMBERS,
        )
    except LimitExceeded as error:
        error.pointer = wanted.inputs_at
        raise
    except LikewiseError as error:
        _blame(error, inputs, places)
        raise


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


def _fitted(
    inputs: Inputs, shares: dict[str, list[int]], wanted: ToEmbed, encoding: Encoding
) -> Inputs:
    """The same with texts cut as asked; nothing is cut off images."""
    values = list(inputs.values)
    for encoder, places in shares.items():
        given = [inputs.values[place_] for place_ in places]
        texts = [one for one in given if not isinstance(one, Picture | ImageUrl)]
        if not texts:
            continue
        try:
            fitted = encoding.fitted(encoder, texts, wanted.kind, wanted.cut)
        except InvalidField as error:
            error.pointer = wanted.cut_at
            raise
        except LikewiseError as error:
            _blame(error, inputs, places)
            raise
        for place_, value in zip(places, fitted, strict=True):
            values[place_] = value
    return Inputs(values, inputs.pointers)


def _blame(error: LikewiseError, inputs: Inputs, places: Sequence[int]) -> None:
    """Point to the input of the request that an encoder blames among those at these places."""
    error.pointer = placed_input(error.pointer, lambda number: inputs.pointers[places[number]])


def _finished(embedded: Embedded, wanted: ToEmbed, info: EncoderInfo) -> Embedded:
    dimension = wanted.dimensions or info.dimension
    vectors = shortened(embedded.vectors, dimension, renormalise=info.unit)
    if wanted.normalise and not info.unit:
        vectors = unit(vectors)
    return replace(embedded, outputs=vectors)


def read_inputs(
    raw: object,
    at: str,
    *,
    limit: int,
    max_chars: int,
    images: ImageInputs,
    strings: str = TEXT,
) -> Inputs:
    """Read inputs in any of their forms.

    at         JSON pointer of `raw`
    strings    what a string is: TEXT, or IMAGE
    limit      most inputs
    max_chars  most characters, or tokens, of one text

    Raises InvalidField, InvalidText, InvalidImage or LimitExceeded.
    """
    if isinstance(raw, (str, dict)) or (isinstance(raw, list) and raw and isinstance(raw[0], int)):
        return Inputs([_given(raw, at, max_chars, images, strings)], [at])
    if not isinstance(raw, list):
        raise InvalidText("expected a text, a list of token ids, or a list of inputs", pointer=at)
    check_batch(len(raw), what="inputs", limit=limit, pointer=at)
    pointers = [place(at, number) for number in range(len(raw))]
    return Inputs(
        [
            _given(one, pointer, max_chars, images, strings)
            for one, pointer in zip(raw, pointers, strict=True)
        ],
        pointers,
    )


def _given(raw: object, at: str, max_chars: int, images: ImageInputs, strings: str) -> Given:
    if strings == IMAGE and isinstance(raw, str):
        return images.check(raw, at)
    if isinstance(raw, dict) and len(raw) == 1:
        ((member, value),) = raw.items()
        if member in _IMAGES:
            return images.check(value, place(at, member))
    return _read(raw, at, max_chars)


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
    known = ", ".join((*_MEMBERS, IMAGE))
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


_IMAGES = (IMAGE, "bytes", "url")
"""Members of an input's object whose value is an image: ours, and those of Jina's clients."""

_MEMBERS: dict[str, Callable[[object, str, int], Input]] = {
    "text": _text,
    "record": record_of,
    "points": points_of,
}
"""Member of an input's object → what reads its value: the value, its pointer, most characters."""
