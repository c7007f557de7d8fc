"""A report as Markdown: what was found, tables, no plots."""

from __future__ import annotations

import json

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
from app.evaluation.results import Outcome


def markdown_from_outcome(outcome: Outcome) -> str:
    """Write the report. Names are escaped, so that none can end a cell or make a link."""
    parts = [f"# {TASKS.get(outcome.task, _safe(outcome.task))}: {_safe(outcome.data)}", ""]
    parts += [f"{_safe(note)}." for note in outcome.notes]
    parts += ["", *(f"- {_safe(found)}" for found in findings(outcome)), "", "## Measures", ""]
    measures = measures_of(outcome)
    parts += _table(
        ["configuration", *map(measure_title, measures)],
        [
            [_safe(run.name), *(_cell(outcome, run.name, measure) for measure in measures)]
            for run in outcome.runs
        ],
    )
    parts += ["", "Intervals hold 95 % (bootstrap over queries).", ""]
    parts += _comparisons(outcome) + _decades(outcome) + _facts(outcome) + _queries(outcome)
    parts += ["## Configurations", ""]
    for run in outcome.runs:
        members = json.dumps(dict(run.members), ensure_ascii=False).replace("`", "\\u0060")
        parts.append(f"- {_safe(run.name)}: `{members}`")
    return "\n".join([*parts, "", f"Measured {_safe(outcome.at)} by likewise.", ""])


def _cell(outcome: Outcome, name: str, measure: str) -> str:
    (run,) = (run for run in outcome.runs if run.name == name)
    estimate = run.estimates.get(measure)
    if estimate is None:
        return ""
    value = number(estimate.value)
    value = f"**{value}**" if name in best(outcome.runs, measure) else value
    return f"{value} ({number(estimate.low)} to {number(estimate.high)})"


def _comparisons(outcome: Outcome) -> list[str]:
    if not outcome.comparisons:
        return []
    rows = [
        [
            _safe(f"{one.of} against {one.against}"),
            measure_title(one.measure),
            f"{signed(one.difference.value)} "
            f"({signed(one.difference.low)} to {signed(one.difference.high)})",
            probability(one.difference.p),
            f"{one.difference.wins} / {one.difference.losses} / {one.difference.ties}"
            if by_query(one)
            else NONE,
            verdict(one),
        ]
        for one in outcome.comparisons
    ]
    head = ["comparison", "measure", "difference", "p", "wins / losses / ties", "verdict"]
    return ["## Comparison", "", *_table(head, rows), ""]


def _decades(outcome: Outcome) -> list[str]:
    parts: list[str] = []
    for run in outcome.runs:
        if not run.decades:
            continue
        names = list(dict.fromkeys(name for decade in run.decades for name in decade.values))
        rows = [
            [
                f"{share(decade.low)} to {share(decade.high)}",
                str(decade.queries),
                *(fact(decade.values.get(name, float("nan"))) for name in names),
            ]
            for decade in run.decades
        ]
        parts += [f"## By share of the collection: {_safe(run.name)}", ""]
        parts += [*_table(["share", "queries", *map(measure_title, names)], rows), ""]
    return parts


def _facts(outcome: Outcome) -> list[str]:
    names = list(dict.fromkeys(name for run in outcome.runs for name in run.facts))
    if not names:
        return []
    rows = [
        [_safe(run.name), *(fact(run.facts.get(name, float("nan"))) for name in names)]
        for run in outcome.runs
    ]
    return ["## Besides", "", *_table(["configuration", *names], rows), ""]


def _queries(outcome: Outcome) -> list[str]:
    measure = query_measure(outcome)
    if measure is None:
        return []
    parts: list[str] = []
    for run in outcome.runs[1:]:
        differences = apart(outcome, run, measure)
        chosen = (
            [*differences[:5], *reversed(differences[-5:])]
            if len(differences) > 10
            else (differences)
        )
        rows = [[_safe(query), signed(value)] for query, value in chosen if value]
        if rows:
            title = f"Queries that {_safe(run.name)} changed most, by {measure_title(measure)}"
            parts += [f"## {title}", "", *_table(["query", "difference"], rows), ""]
    lowest = [[_safe(query), number(value)] for query, value in worst(outcome.runs[0], measure, 5)]
    if lowest:
        title = f"Worst queries of {_safe(outcome.runs[0].name)}, by {measure_title(measure)}"
        parts += [f"## {title}", "", *_table(["query", "value"], lowest), ""]
    return parts


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|---{'|---:' * (len(head) - 1)}|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def _safe(text: str) -> str:
    flat = " ".join(text.split())
    for sign in "\\`*_[]<>|":
        flat = flat.replace(sign, f"\\{sign}")
    return flat
