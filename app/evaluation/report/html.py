"""A report as one HTML file: no script, no font and no picture from anywhere else.

Plots are inline SVG with a title and a description, and the numbers of each stand below it in a
table. Whatever came from outside (names, notes, configurations) is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape

from app import __version__
from app.evaluation.report import svg
from app.evaluation.report.style import STYLE
from app.evaluation.report.words import (
    NONE,
    TASKS,
    apart,
    best,
    by_query,
    fact,
    findings,
    measure_title,
    measures_of,
    number,
    probability,
    query_measure,
    share,
    signed,
    verdict,
    worst,
)
from app.evaluation.results import LOWER_IS_BETTER, Comparison, Outcome, Run

_CURVES = {
    "recall": ("Recall by depth", "results looked at", "recall", True),
    "precision": ("Precision by recall", "recall", "precision", False),
    "roc": ("True accepts by false accepts", "false accept rate", "true accept rate", True),
    "rejection": ("Answers by accepted strangers", "strangers accepted", "answered rightly", False),
    "reliability": ("Accuracy by confidence", "confidence", "accuracy", False),
}
_MOST_COMPARED = 12


def html_from_outcome(outcome: Outcome) -> str:
    """Write the report."""
    title = f"{TASKS.get(outcome.task, outcome.task)}: {outcome.data}"
    sections = [
        _measures(outcome),
        _comparisons(outcome),
        _curves(outcome),
        _decades(outcome),
        _queries(outcome),
        _facts(outcome),
        _configurations(outcome),
    ]
    notes = "".join(f"<p class='soft'>{escape(note)}.</p>" for note in outcome.notes)
    found = "".join(f"<li>{escape(one)}</li>" for one in findings(outcome))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{STYLE}</style>'
        f"</head>\n<body><main><header><h1>{escape(title)}</h1>{notes}"
        f"<ul class='findings'>{found}</ul></header>\n{''.join(sections)}"
        f"<footer class='soft'><p>Measured {escape(outcome.at)} by likewise {escape(__version__)}. "
        "Intervals hold 95 %: bootstrap over queries, paired where two configurations are "
        "compared; p by tossing the sign of each query.</p></footer></main></body></html>\n"
    )


def _measures(outcome: Outcome) -> str:
    measures = measures_of(outcome)
    if not measures:
        return ""
    figures = []
    for measure in measures:
        rows = []
        for place, run in enumerate(outcome.runs):
            one = run.estimates.get(measure)
            if one is not None:
                kind = f"c{place % 8 + 1}"
                rows.append(
                    svg.Bar(run.name, one.value, one.low, one.high, number(one.value), kind)
                )
        title = measure_title(measure)
        lower = ", lower is better" if measure in LOWER_IS_BETTER else ""
        description = "; ".join(
            f"{row.label} {row.shown}, {number(row.low)} to {number(row.high)}" for row in rows
        )
        top = 1.0 if all(0 <= row.value <= 1 for row in rows) else None
        figures.append(
            _figure(title, f"Mean and interval{lower}", svg.bars(title, description, rows, top))
        )
    head = ["configuration", *map(measure_title, measures)]
    body = []
    for run in outcome.runs:
        cells = [f"<th scope='row'>{escape(run.name)}</th>"]
        for measure in measures:
            one = run.estimates.get(measure)
            mark = " class='best'" if run.name in best(outcome.runs, measure) else ""
            cells.append(
                "<td></td>"
                if one is None
                else f"<td{mark}>{number(one.value)}<small>{number(one.low)} to "
                f"{number(one.high)}</small></td>"
            )
        body.append("".join(cells))
    shown = _table("Measures of every configuration", head, body)
    return f"<section><h2>Measures</h2>{shown}<div class='grid'>{''.join(figures)}</div></section>"


def _comparisons(outcome: Outcome) -> str:
    if not outcome.comparisons:
        return ""
    figures = []
    for run in outcome.runs[1:]:
        own = [one for one in outcome.comparisons if one.of == run.name]
        if not own:
            continue
        rows = [_difference(one) for one in own[:_MOST_COMPARED]]
        title = f"{run.name} against {own[0].against}"
        description = "; ".join(f"{row.label} {row.shown}, {row.kind}" for row in rows)
        caption = "Paired differences with intervals: right of the line is more"
        figures.append(_figure(title, caption, svg.forest(title, description, rows)))
        differences = apart(outcome, run, query_measure(outcome) or "")
        if differences:
            values = [value for _, value in differences]
            measure = measure_title(query_measure(outcome) or "")
            up, down = sum(v > 1e-12 for v in values), sum(v < -1e-12 for v in values)
            told = f"better on {up} queries, worse on {down}, equal on {len(values) - up - down}"
            title = f"{measure}, query by query"
            caption = f"{run.name} less {own[0].against}: {told}"
            figures.append(_figure(title, caption, svg.waterfall(title, caption, values)))
    head = ["comparison", "measure", "difference", "p", "wins", "losses", "ties", "verdict"]
    body = []
    for one in outcome.comparisons:
        gap, told = one.difference, verdict(one)
        counted = (gap.wins, gap.losses, gap.ties) if by_query(one) else (NONE, NONE, NONE)
        counts = "".join(f"<td>{count}</td>" for count in counted)
        span = f"{signed(gap.low)} to {signed(gap.high)}"
        body.append(
            f"<th scope='row'>{escape(f'{one.of} against {one.against}')}</th>"
            f"<td>{escape(measure_title(one.measure))}</td>"
            f"<td>{signed(gap.value)}<small>{span}</small></td>"
            f"<td>{escape(probability(gap.p))}</td>{counts}<td class='{told}'>{told}</td>"
        )
    table = _table("Differences on the same queries", head, body)
    return (
        f"<section><h2>Comparison</h2><p class='soft'>Query by query, against the first "
        f"configuration.</p><div class='grid'>{''.join(figures)}</div>{table}</section>"
    )


def _difference(one: Comparison) -> svg.Bar:
    gap = one.difference
    shown = f"{signed(gap.value)}, p {probability(gap.p)}"
    if math.isnan(gap.p):
        shown = signed(gap.value)
    title = measure_title(one.measure)
    return svg.Bar(title, gap.value, gap.low, gap.high, shown, verdict(one))


def _curves(outcome: Outcome) -> str:
    figures = []
    for name in dict.fromkeys(curve.name for run in outcome.runs for curve in run.curves):
        title, x_title, y_title, log_x = _CURVES.get(name, (name, "x", "y", False))
        drawn = []
        for run in outcome.runs:
            own = [curve for curve in run.curves if curve.name == name]
            x, y = (own[0].x, own[0].y) if own else ([], [])
            drawn.append(svg.Line(run.name, x, y))
        ends = "; ".join(f"{line.label} ends at {number(line.y[-1])}" for line in drawn if line.y)
        plot = svg.lines(
            title, ends, drawn, x_title, y_title, log_x=log_x, diagonal=name == "reliability"
        )
        if plot:
            numbers = _numbers(title, x_title, drawn)
            figures.append(_figure(title, f"{y_title} over {x_title}".capitalize(), plot, numbers))
    if not figures:
        return ""
    return (
        f"<section><h2>Curves</h2>{_legend(outcome.runs)}"
        f"<div class='grid'>{''.join(figures)}</div></section>"
    )


def _numbers(title: str, x_title: str, drawn: Sequence[svg.Line]) -> str:
    """The numbers behind a plot, a line at a time, thinned to what can be read."""
    body = []
    for line in drawn:
        step = max(1, math.ceil(len(line.x) / 12))
        places = sorted({*range(0, len(line.x), step), len(line.x) - 1} - {-1})
        body += [
            f"<th scope='row'>{escape(line.label)}</th><td>{fact(line.x[place])}</td>"
            f"<td>{number(line.y[place])}</td>"
            for place in places
        ]
    table = _table(title, ["configuration", x_title, "value"], body)
    return f"<details><summary>Numbers</summary>{table}</details>"


def _decades(outcome: Outcome) -> str:
    runs = [run for run in outcome.runs if run.decades]
    measure = query_measure(outcome)
    if not runs or measure is None:
        return ""
    drawn = []
    for run in outcome.runs:
        own = [d for d in run.decades if d.high > 0 and measure in d.values]
        drawn.append(svg.Line(run.name, [d.high for d in own], [d.values[measure] for d in own]))
    title = f"{measure_title(measure)} by share of the collection"
    told = "; ".join(
        f"{line.label} {number(y)} up to {share(x)}"
        for line in drawn
        for x, y in zip(line.x, line.y, strict=True)
    )
    plot = svg.lines(
        title, told, drawn, "share, up to", measure_title(measure), log_x=True, close=True
    )
    figure = _figure(title, "Rare on the left, frequent on the right", plot) if plot else ""
    tables = []
    for run in runs:
        names = list(dict.fromkeys(name for decade in run.decades for name in decade.values))
        body = [
            f"<th scope='row'>{share(d.low)} to {share(d.high)}</th><td>{d.queries}</td>"
            + "".join(f"<td>{fact(d.values.get(name, float('nan')))}</td>" for name in names)
            for d in run.decades
        ]
        head = ["share", "queries", *map(measure_title, names)]
        tables.append(_table(run.name, head, body))
    return (
        "<section><h2>By share of the collection</h2><p class='soft'>Queries by how much of the "
        "collection passes their filter, or shares their label.</p>"
        f"{_legend(outcome.runs)}<div class='grid'>{figure}</div>{''.join(tables)}</section>"
    )


def _queries(outcome: Outcome) -> str:
    measure = query_measure(outcome)
    if measure is None:
        return ""
    tables = []
    for run in outcome.runs[1:]:
        differences = apart(outcome, run, measure)
        for title, some in (
            (f"{run.name}: lost most", [pair for pair in differences[:10] if pair[1] < 0]),
            (f"{run.name}: won most", [p for p in reversed(differences[-10:]) if p[1] > 0]),
        ):
            if some:
                body = [
                    f"<th scope='row'>{escape(query)}</th><td>{signed(value)}</td>"
                    for query, value in some
                ]
                tables.append(_table(title, ["query", measure_title(measure)], body))
    lowest = worst(outcome.runs[0], measure)
    if lowest:
        body = [
            f"<th scope='row'>{escape(query)}</th><td>{number(value)}</td>"
            for query, value in lowest
        ]
        title = f"{outcome.runs[0].name}: lowest"
        tables.append(_table(title, ["query", measure_title(measure)], body))
    if not tables:
        return ""
    return f"<section><h2>Queries</h2><div class='grid'>{''.join(tables)}</div></section>"


def _facts(outcome: Outcome) -> str:
    names = list(dict.fromkeys(name for run in outcome.runs for name in run.facts))
    if not names:
        return ""
    body = [
        f"<th scope='row'>{escape(run.name)}</th>"
        + "".join(f"<td>{fact(run.facts.get(name, float('nan')))}</td>" for name in names)
        for run in outcome.runs
    ]
    table = _table("Other numbers", ["configuration", *names], body)
    return f"<section><h2>Besides</h2>{table}</section>"


def _configurations(outcome: Outcome) -> str:
    parts = [
        f"<h3>{escape(run.name)}</h3>"
        f"<pre>{escape(json.dumps(dict(run.members), indent=2, ensure_ascii=False))}</pre>"
        for run in outcome.runs
    ]
    return f"<section><h2>Configurations</h2>{''.join(parts)}</section>"


def _legend(runs: Sequence[Run]) -> str:
    items = "".join(
        f"<li>{svg.swatch(place)}{escape(run.name)}</li>" for place, run in enumerate(runs)
    )
    return f"<ul class='legend'>{items}</ul>"


def _figure(title: str, caption: str, plot: str, more: str = "") -> str:
    return (
        f"<figure><h3>{escape(title)}</h3><figcaption>{escape(caption)}</figcaption>"
        f"{plot}{more}</figure>"
    )


def _table(caption: str, head: Sequence[str], body: Sequence[str]) -> str:
    """Write a table that scrolls in itself where it is too wide; `body` are cells as HTML."""
    columns = "".join(f"<th scope='col'>{escape(name)}</th>" for name in head)
    rows = "".join(f"<tr>{cells}</tr>" for cells in body)
    return (
        f"<div class='scroll' tabindex='0' role='region' aria-label='{escape(caption)}'><table>"
        f"<caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
