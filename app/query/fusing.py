"""Reading how lists become one: `fuse` and `normalise`; and the calibrations that these name."""

from __future__ import annotations

from dataclasses import replace

import orjson

from app.errors import CorruptFile
from app.query.limits import MOST_SOURCES, MOST_WEIGHT
from app.query.reading import Members, choice, items, number, refused
from app.query.running import Running
from app.ranking.calibration import Calibration, calibration_from
from app.ranking.fusion import METHODS, NORMALISATIONS, POSITIVE, Fusion, Normalisation
from app.types import NAME

CALIBRATION = "calibration"
"""The kind under which calibrations are kept."""

_NAMED = tuple(kind for kind in NORMALISATIONS if kind != "calibrated")


def read_fusion(
    raw: object, at: str, weights: list[float], normalise: object, normalise_at: str
) -> Fusion:
    """Read `fuse`: a method's name or an object with its options; and `normalise` beside it.

    weights   of the lists, where `fuse` has none
    """
    members = Members.short({} if raw is None else raw, "method", at, "fuse")
    if "weights" in members:
        given = items(members.raw("weights"), members.place("weights"), most=MOST_SOURCES)
        if len(given) != len(weights):
            raise refused(
                f"expected {len(weights)} weights, one for each list", members.place("weights")
            )
        place = members.place("weights")
        weights = [
            number(one, f"{place}/{i}", low=0, high=MOST_WEIGHT) for i, one in enumerate(given)
        ]
    method = members.choice("method", METHODS, "rrf")
    if "normalise" in members:
        if normalise is not None:
            raise refused("expected normalise here or beside fuse, received both", normalise_at)
        normalise, normalise_at = members.raw("normalise"), members.place("normalise")
    members.raw("normalise")  # known, though left out
    normalised = _normalise(normalise, normalise_at, len(weights))
    if method == "product":
        kinds = [one.kind for one in normalised]
        if any(kind not in POSITIVE for kind in kinds):
            raise refused(
                f"a product is of what is not negative: normalise by one of {', '.join(POSITIVE)}",
                at,
            )
    fusion = Fusion(
        method,
        tuple(weights),
        tuple(normalised),
        members.number("rank_constant", 60.0, low=0),
        members.number("floor", None, low=-1e30, high=1e30),
    )
    members.end()
    return fusion


def _normalise(raw: object, at: str, lists: int) -> list[Normalisation]:
    """Read a normalisation of all lists, or of each."""
    if raw is None:
        return [Normalisation()] * lists
    if not isinstance(raw, list | tuple):
        return [_normalisation(raw, at)] * lists
    each = items(raw, at, most=MOST_SOURCES)
    if len(each) != lists:
        raise refused(f"expected {lists} normalisations, one for each list", at)
    return [_normalisation(one, f"{at}/{place}") for place, one in enumerate(each)]


def _normalisation(raw: object, at: str) -> Normalisation:
    """Read a kind's name, or {softmax: {tau}}, {temperature: {tau, top}}, {calibrated: name}."""
    if isinstance(raw, str):
        return Normalisation(choice(raw, _NAMED, at))
    members = Members(raw, at, "normalise")
    given = [name for name in ("softmax", "temperature", "calibrated") if name in members]
    if len(given) != 1:
        raise refused(
            f"expected one of {', '.join(_NAMED)}, or an object with one of softmax, temperature "
            "and calibrated",
            at,
        )
    (kind,) = given
    place = members.place(kind)
    if kind == "calibrated":
        name = members.text(kind, most=64)
        if not NAME.fullmatch(name):
            raise refused("expected the name of a calibration", place)
        found = Normalisation(kind, name=name)
    else:
        options = Members(members.raw(kind), place, kind)
        tau = options.number("tau", None, low=1e-6, high=1e30)
        top = options.integer("top", 50, low=2, high=1000) if kind == "temperature" else 50
        options.end()
        found = Normalisation(kind, tau, top)
    members.end()
    return found


def resolved(fusion: Fusion, running: Running, at: str) -> Fusion:
    """Put the curves of stored calibrations in. Raises InvalidQuery where there is none."""
    how = fusion.normalise
    if not isinstance(how, tuple) or all(one.name is None for one in how):
        return fusion
    own = tuple(
        one if one.name is None else replace(one, curve=_curve(one.name, running, at))
        for one in how
    )
    return replace(fusion, normalise=own)


def _curve(name: str, running: Running, at: str) -> Calibration:
    kept = running.view.kept(CALIBRATION, name)
    if kept is None:
        raise refused(f"the collection has no calibration named {name!r}", at)
    return stored_calibration(kept.body)[0]


def stored_calibration(body: bytes) -> tuple[Calibration, dict[str, object]]:
    """Read a stored calibration: its curve, and all that it says. Raises CorruptFile."""
    try:
        told = orjson.loads(body)
        return calibration_from(told["curve"]), told
    except (ValueError, KeyError, TypeError) as exc:
        raise CorruptFile("a stored calibration cannot be read: put it again") from exc
