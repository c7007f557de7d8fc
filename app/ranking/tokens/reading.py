"""Aggregations and matchings as a query spells them: strict, bounded, each fault with its place.

A kind alone is a string: `"max"`. With parameters it is an object: `{"kind": "lse", "tau": 0.1}`.
A kind takes its own parameters and no others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeAlias

from app.errors import InvalidQuery
from app.ranking.tokens.aggregation import Aggregation
from app.ranking.tokens.matching import KINDS, Matching

ISA_TAU = 0.01  # UCoFiA's: a softmax of a softmax at .05 is nearly a mean

Reader: TypeAlias = Callable[[object, str], Any]


def aggregation_from(raw: object, pointer: str) -> Aggregation:
    """Read an aggregation from decoded JSON; `pointer` is where it stands in the request.

    Raises InvalidQuery, pointing at the exact place, and nothing else for anything JSON can hold.
    """
    kind, given = _split(raw, pointer, tuple(_AGGREGATIONS), "aggregation")
    if kind == "isa":
        given = {"tau": ISA_TAU} | given
    return Aggregation(kind, **_parameters(given, pointer, kind, _AGGREGATIONS[kind]))


def matching_from(raw: object, pointer: str) -> Matching:
    """Read a matching from decoded JSON; `pointer` is where it stands in the request.

    Raises InvalidQuery, pointing at the exact place, and nothing else for anything JSON can hold.
    """
    kind, given = _split(raw, pointer, tuple(_MATCHERS), "matching")
    verify = None
    if "verify" in given:
        if kind == "segment":
            _refuse("a segment is in order already: it takes no check", f"{pointer}/verify")
        verify = _choice(given.pop("verify"), f"{pointer}/verify", ("topology", "cycle"), "check")
    parameters = _parameters(given, pointer, kind, _MATCHERS[kind])
    return Matching(KINDS[kind](**parameters), verify)  # type: ignore[arg-type]  # one of two words


def _split(
    raw: object, pointer: str, kinds: tuple[str, ...], what: str
) -> tuple[Any, dict[str, object]]:
    if isinstance(raw, str):
        return _choice(raw, pointer, kinds, what), {}
    if not isinstance(raw, dict):
        _refuse(f'expected a kind of {what}, or an object with "kind"', pointer)
    given = dict(raw)
    if "kind" not in given:
        _refuse(f'expected "kind", one of {_listed(kinds)}', pointer)
    return _choice(given.pop("kind"), f"{pointer}/kind", kinds, what), given


def _parameters(
    given: dict[str, object], pointer: str, kind: str, readers: Mapping[str, Reader]
) -> dict[str, Any]:
    for name in given:
        if name not in readers:
            known = _listed(tuple(readers)) if readers else "no parameters"
            _refuse(f"{kind} has no such parameter; it takes {known}", _under(pointer, name))
    return {name: readers[name](value, f"{pointer}/{name}") for name, value in given.items()}


def _choice(raw: object, pointer: str, known: tuple[str, ...], what: str) -> str:
    if isinstance(raw, str) and raw in known:
        return raw
    _refuse(f"expected a {what}, one of {_listed(known)}", pointer)


def _number(low: float, high: float, *, also: tuple[float | None, ...] = ()) -> Reader:
    """Read a number of low … high, or one of `also`."""
    others = "".join(" or null" if one is None else f" or {one:g}" for one in also)

    def read(raw: object, pointer: str) -> float | None:
        if raw is None and None in also:
            return None
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            inside = low <= raw <= high or raw in also
            if inside and math.isfinite(raw):
                return float(raw)
        _refuse(f"expected a number of {low:g} … {high:g}{others}", pointer)

    return read


def _integer(low: int, high: int) -> Reader:
    def read(raw: object, pointer: str) -> int:
        if isinstance(raw, int) and not isinstance(raw, bool) and low <= raw <= high:
            return raw
        _refuse(f"expected an integer of {low} … {high}", pointer)

    return read


def _boolean(raw: object, pointer: str) -> bool:
    if isinstance(raw, bool):
        return raw
    _refuse("expected true or false", pointer)


_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def _scales(raw: object, pointer: str) -> tuple[float, ...]:
    if not isinstance(raw, list) or not 1 <= len(raw) <= len(_SCALES):
        _refuse(f"expected a list of 1 … {len(_SCALES)} scales", pointer)
    for at, one in enumerate(raw):
        if isinstance(one, bool) or not isinstance(one, int | float) or one not in _SCALES:
            _refuse("expected a scale: 0.25, 0.5, 1, 2 or 4", f"{pointer}/{at}")
        if one in raw[:at]:
            _refuse("expected each scale once", f"{pointer}/{at}")
    return tuple(float(one) for one in raw)


def _refuse(detail: str, pointer: str) -> NoReturn:
    raise InvalidQuery(detail, pointer=pointer)


def _under(pointer: str, name: object) -> str:
    return f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)


_TAU = _number(0.01, 1_000)  # below .01 it is max, and float32 products decide nothing more
_SOFT: dict[str, Reader] = {"tau": _TAU, "topk": _integer(1, 1_024), "symmetric": _boolean}

_AGGREGATIONS: Final[dict[str, dict[str, Reader]]] = {
    "mean": {"symmetric": _boolean},
    "max": {"symmetric": _boolean},
    "lse": _SOFT,
    "attend": _SOFT,
    "isa": _SOFT,
    "regulated": _SOFT | {"steps": _integer(0, 10), "agreement_tau": _TAU},
}

_MATCHERS: Final[dict[str, dict[str, Reader]]] = {
    "mutual_nn": {"ratio": _number(0.01, 1)},
    "sinkhorn": {
        "tau": _TAU,
        "dustbin": _number(-1, 1),
        "iterations": _integer(1, 1_000),
        "least": _number(0, 1),
    },
    "graph": {"top": _integer(1, 32), "sigma": _number(0.001, 10)},
    "segment": {
        "threshold": _number(-1, 1),
        "gap": _number(0, 10, also=(None,)),
        "reverse": _boolean,
        "cyclic": _boolean,
    },
    "anchors": {"anchors": _integer(3, 256), "radius": _number(0.5, 50)},
    "dense": {
        "scales": _scales,
        "tau": _TAU,
        "smooth_features": _number(0.01, 10, also=(0,)),
        "smooth_cost": _integer(0, 8),
    },
}
