"""Plots as inline SVG, 360 units wide: of a phone's width one to one, and side by side on a desk.

Colours are classes (`c1` … `c8`, `better`, `worse`), which the page's style fills for light and
dark. Every plot has a title and a description for those who do not see it. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH = 360

_ROW = 26
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 40


class Bar(NamedTuple):
    """A value with its interval; nan for what there is not."""

    label: str
    value: float
    low: float
    high: float
    shown: str
    kind: str


class Line(NamedTuple):
    """A line of a plot."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def bars(title: str, description: str, rows: Sequence[Bar], top: float | None = None) -> str:
    """Draw horizontal bars from 0, each with its interval; below 0 to the left."""
    values = [x for row in rows for x in (row.value, row.low, row.high) if not math.isnan(x)]
    low, high = min([0.0, *values]), max([top or 0.0, *values, 1e-9])
    at = _scale(low, high, 4, WIDTH - 4)
    parts = []
    for number, row in enumerate(rows):
        y = number * (_ROW + 16) + 4
        parts.append(_text(4, y + 11, _cut(row.label), "label"))
        parts.append(_text(WIDTH - 4, y + 11, row.shown, "value end"))
        if math.isnan(row.value):
            continue
        left, right = sorted((at(0), at(row.value)))
        parts.append(_rect(left, y + 18, max(right - left, 1), 12, row.kind))
        parts += _interval(at, row, y + 24)
    if low < 0:
        parts.append(_line(at(0), 0, at(0), len(rows) * (_ROW + 16), "axis"))
    return _svg(title, description, len(rows) * (_ROW + 16) + 2, parts)


def forest(title: str, description: str, rows: Sequence[Bar]) -> str:
    """Draw differences as points with intervals, around a line at 0."""
    values = [x for row in rows for x in (row.value, row.low, row.high) if not math.isnan(x)]
    most = max([abs(x) for x in values] + [1e-9])
    at = _scale(-most * 1.05, most * 1.05, 8, WIDTH - 8)
    height = len(rows) * (_ROW + 16)
    parts = [_line(at(0), 0, at(0), height, "axis")]
    for number, row in enumerate(rows):
        y = number * (_ROW + 16) + 4
        parts.append(_text(4, y + 11, _cut(row.label), "label"))
        parts.append(_text(WIDTH - 4, y + 11, row.shown, "value end"))
        if not math.isnan(row.low):
            parts.append(_line(at(row.low), y + 25, at(row.high), y + 25, f"whisker {row.kind}"))
        if not math.isnan(row.value):
            parts.append(
                f'<circle class="{row.kind}" cx="{at(row.value):.1f}" cy="{y + 25}" r="5"/>'
            )
    parts.append(_text(8, height + 14, f"−{most:.2g}", "tick"))
    parts.append(_text(at(0), height + 14, "0", "tick middle"))
    parts.append(_text(WIDTH - 8, height + 14, f"+{most:.2g}", "tick end"))
    return _svg(title, description, height + 20, parts)


def waterfall(title: str, description: str, differences: Sequence[float]) -> str:
    """Draw a difference for each query as a bar, from the worst to the best."""
    most = max([abs(x) for x in differences] + [1e-9])
    height = 170
    up = _scale(-most, most, height - 8, 8)
    wide = (WIDTH - _LEFT - _RIGHT) / max(1, len(differences))
    parts = []
    for value in (most, most / 2, 0.0, -most / 2, -most):
        parts.append(
            _line(_LEFT, up(value), WIDTH - _RIGHT, up(value), "axis" if not value else "grid")
        )
        parts.append(_text(_LEFT - 6, up(value) + 4, _short(value), "tick end"))
    for number, value in enumerate(differences):
        if value:
            top, bottom = sorted((up(value), up(0)))
            left = _LEFT + number * wide
            kind = "better" if value > 0 else "worse"
            parts.append(_rect(left, top, max(wide * 0.86, 0.4), bottom - top, kind, corner=0))
    parts.append(
        _text((WIDTH + _LEFT) / 2, height + 14, "queries, from worst to best", "tick middle")
    )
    return _svg(title, description, height + 20, parts)


def lines(
    title: str,
    description: str,
    drawn: Sequence[Line],
    x_title: str,
    y_title: str,
    *,
    log_x: bool = False,
    diagonal: bool = False,
    close: bool = False,
) -> str:
    """Draw lines of values from 0 to 1, each with its colour, dashes and marks.

    close   whether the axis may begin above 0
    """
    xs = [x for line in drawn for x in line.x if x > 0 or not log_x]
    ys = [y for line in drawn for y in line.y if not math.isnan(y)]
    if not xs or not ys:
        return ""
    height = 230
    least, most = min(xs), max(xs)
    if not log_x:
        least, most = min(0.0, least), max(most, 1e-9)
    if least == most:
        least, most = (least / 2, most * 2) if log_x else (least - 1, most + 1)
    across = _scale(_log(least, log_x), _log(most, log_x), _LEFT, WIDTH - _RIGHT)
    # What is all near the top is looked at from nearer.
    y_low = math.floor(min(ys) * 10 - 1e-9) / 10 if close and min(ys) > 0.6 else 0.0
    y_high = 1.0
    up = _scale(y_low, y_high or 1.0, height - _BOTTOM, _TOP)
    parts = _axes(across, up, least, most, y_low, y_high, height, log_x)
    if diagonal:
        parts.append(_line(across(0), up(0), across(1), up(1), "grid dashed"))
    for number, line in enumerate(drawn):
        points = [
            (across(_log(x, log_x)), up(y))
            for x, y in zip(line.x, line.y, strict=True)
            if not math.isnan(y) and (x > 0 or not log_x)
        ]
        if not points:
            continue
        path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<path class="line l{number % 8 + 1}" d="{path}"/>')
        if len(points) <= 25:
            parts += [_mark(number, x, y) for x, y in points]
    parts.append(_text((WIDTH + _LEFT) / 2, height - 4, x_title, "tick middle"))
    parts.append(
        f'<text class="tick middle" transform="translate(10 {(height - _BOTTOM) / 2:.0f}) '
        f'rotate(-90)">{escape(y_title)}</text>'
    )
    return _svg(title, description, height, parts)


def swatch(number: int) -> str:
    """Draw the mark of a line, for a legend."""
    return (
        '<svg class="swatch" viewBox="0 0 28 12" aria-hidden="true">'
        f'<path class="line l{number % 8 + 1}" d="M1,6 L27,6"/>{_mark(number, 14, 6)}</svg>'
    )


# ── pieces ───────────────────────────────────────────────────────────────────────────────────


def _svg(title: str, description: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title)}. {escape(description)}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )


def _axes(
    across: Callable[[float], float],
    up: Callable[[float], float],
    least: float,
    most: float,
    y_low: float,
    y_high: float,
    height: int,
    log_x: bool,
) -> list[str]:
    parts = []
    for step in range(5):
        value = y_low + (y_high - y_low) * step / 4
        parts.append(_line(_LEFT, up(value), WIDTH - _RIGHT, up(value), "grid" if step else "axis"))
        parts.append(_text(_LEFT - 6, up(value) + 4, _short(value), "tick end"))
    ticks = _log_ticks(least, most) if log_x else [least + (most - least) * n / 4 for n in range(5)]
    for value in ticks:
        x = across(_log(value, log_x))
        parts.append(_line(x, height - _BOTTOM, x, height - _BOTTOM + 4, "axis"))
        where = "end" if x > WIDTH - 24 else "middle"
        parts.append(_text(x, height - _BOTTOM + 17, _short(value), f"tick {where}"))
    return parts


def _log_ticks(least: float, most: float) -> list[float]:
    """Powers of ten; within two of them also twice and five times these."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    steps = (1, 2, 5) if last - first <= 2 else (1,)
    ticks = [step * 10.0**exponent for exponent in range(first, last + 1) for step in steps]
    within = [tick for tick in ticks if least * (1 - 1e-9) <= tick <= most * (1 + 1e-9)]
    return within[:: max(1, math.ceil(len(within) / 7))] or [least, most]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    spread = (high - low) or 1.0
    return lambda value: start + (value - low) / spread * (end - start)


def _log(value: float, log: bool) -> float:
    return math.log10(value) if log else value


def _interval(at: Callable[[float], float], row: Bar, y: float) -> list[str]:
    if math.isnan(row.low):
        return []
    low, high = at(row.low), at(row.high)
    return [
        _line(low, y, high, y, "halo"),
        _line(low, y, high, y, "error"),
        _line(low, y - 4, low, y + 4, "error"),
        _line(high, y - 4, high, y + 4, "error"),
    ]


def _mark(number: int, x: float, y: float) -> str:
    """One of four shapes, so that lines differ without their colours too."""
    kind = f"c{number % 8 + 1}"
    if number % 4 == 0:
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>'
    if number % 4 == 1:
        return _rect(x - 3, y - 3, 6, 6, kind, corner=0)
    if number % 4 == 2:
        return f'<path class="{kind}" d="M{x:.1f},{y - 4:.1f} l4,7 h-8 z"/>'
    return f'<path class="{kind}" d="M{x:.1f},{y - 4:.1f} l4,4 l-4,4 l-4,-4 z"/>'


def _rect(x: float, y: float, wide: float, high: float, kind: str, corner: float = 2) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.2f}" height="{high:.1f}" '
        f'rx="{corner:g}"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _short(value: float) -> str:
    text = f"{value:.2g}" if abs(value) < 10 else f"{value:g}"
    return text.replace("-", "−")


def _cut(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
