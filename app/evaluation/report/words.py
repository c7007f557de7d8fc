"""How reports write numbers, names and findings; the same words in every format."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.evaluation.results import LOWER_IS_BETTER, Comparison, Outcome, Run

_KINDS = {
    "ndcg": "nDCG",
    "map": "MAP",
    "mrr": "MRR",
    "recall": "Recall",
    "precision": "Precision",
    "hit": "Hit",
    "accuracy": "Accuracy",
    "gap": "GAP",
    "score gap": "Score gap",
    "eer": "EER",
    "ece": "ECE",
    "roc auc": "ROC AUC",
    "macro f1": "Macro F1",
    "micro f1": "Micro F1",
    "mean recall": "Mean recall",
    "spearman": "Spearman",
    "pearson": "Pearson",
    "rank agreement": "Rank agreement",
    "right at eer": "Right at EER",
}

TASKS = {
    "retrieval": "Retrieval",
    "ann": "Approximate search against exact",
    "conditional": "Conditional retrieval",
    "similarity": "Similarity against judgements",
    "verification": "Verification",
    "classification": "Classification by neighbours",
    "recognition": "Recognition with strangers",
}

NONE = "–"


def measure_title(name: str) -> str:
    """Write a measure's name as papers do: `ndcg@10` is nDCG@10."""
    if name.startswith("tar@far="):
        return f"TAR@FAR={name.partition('=')[2]}"
    kind, at, rest = name.partition("@")
    return f"{_KINDS.get(kind, kind)}{at}{rest}"


def number(value: float, digits: int = 3) -> str:
    """Write a number; what there is not is a dash."""
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}f}".replace("-", "−")


def fact(value: float) -> str:
    """Write a number of any size with three significant digits."""
    if math.isnan(value) or math.isinf(value):
        return number(value)
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """Write a difference with its sign."""
    text = number(value, digits)
    return text if math.isnan(value) or value <= 0 else f"+{text}"


def probability(p: float) -> str:
    """Write a p-value."""
    if math.isnan(p):
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def share(value: float) -> str:
    """Write a bound of a decade: 0.001, or 10⁻⁵."""
    if value == 0 or value >= 0.001:
        return f"{value:g}"
    exponent = round(math.log10(value))
    return "10⁻" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(-exponent))


LEVEL = 0.05
"""Where p is as large, nothing is called better or worse; intervals hold 95 % likewise."""


def verdict(one: Comparison) -> str:
    """Say what a comparison shows: better, worse, unclear; "equal" where nothing differs.

    The interval and p must agree: of four queries that changed, all for the better, the interval of
    draws lies above 0, though as many tossed coins fall alike one time in eight.
    """
    low, high = one.difference.low, one.difference.high
    if math.isnan(low) or math.isnan(high):
        return "unclear"
    if low == high == 0:
        return "equal"
    if one.difference.p >= LEVEL:
        return "unclear"
    if low > 0:
        return "worse" if one.measure in LOWER_IS_BETTER else "better"
    if high < 0:
        return "better" if one.measure in LOWER_IS_BETTER else "worse"
    return "unclear"


def main_measure(outcome: Outcome) -> str | None:
    """Choose the measure that the report is mostly about: the first that all runs have."""
    if not outcome.runs:
        return None
    names = list(outcome.runs[0].estimates)
    for run in outcome.runs[1:]:
        names = [name for name in names if name in run.estimates]
    return names[0] if names else None


def query_measure(outcome: Outcome) -> str | None:
    """Choose the measure by which queries are shown: the first that each has by itself."""
    if not outcome.runs:
        return None
    names = outcome.runs[0].measures
    return next((n for n in names if all(n in run.measures for run in outcome.runs)), None)


def by_query(one: Comparison) -> bool:
    """Tell whether a comparison counts queries, and is not one of the whole."""
    return bool(one.difference.wins + one.difference.losses + one.difference.ties)


def measures_of(outcome: Outcome) -> list[str]:
    """All measures, in the order in which they came."""
    return list(dict.fromkeys(name for run in outcome.runs for name in run.estimates))


def best(runs: Sequence[Run], measure: str) -> set[str]:
    """Names of the runs with the best value, if there is something to choose."""
    values = {
        run.name: run.estimates[measure].value
        for run in runs
        if measure in run.estimates and not math.isnan(run.estimates[measure].value)
    }
    if len(values) < 2:
        return set()
    most = (min if measure in LOWER_IS_BETTER else max)(values.values())
    found = {name for name, value in values.items() if abs(value - most) < 5e-4}
    return found if len(found) < len(values) else set()


def findings(outcome: Outcome) -> list[str]:
    """Say in sentences what was found, by the main measure."""
    measure = main_measure(outcome)
    if measure is None:
        return ["Nothing was measured."]
    title = measure_title(measure)
    first = outcome.runs[0]
    estimate = first.estimates[measure]
    things = "pairs" if outcome.task in ("similarity", "verification") else "queries"
    told = [
        f"{first.name} has {title} {number(estimate.value)} "
        f"({number(estimate.low)} to {number(estimate.high)}, {estimate.queries} {things})."
    ]
    words = {
        "better": "is better than",
        "worse": "is worse than",
        "unclear": "cannot be told from",
        "equal": "is the same as",
    }
    for one in outcome.comparisons:
        if one.measure != measure:
            continue
        gap = one.difference
        counts = ""
        if by_query(one):
            counts = f", better on {gap.wins}, worse on {gap.losses}, equal on {gap.ties}"
        told.append(
            f"{one.of} {words[verdict(one)]} {one.against}: {signed(gap.value)} {title} "
            f"({signed(gap.low)} to {signed(gap.high)}, p {_equals(gap.p)}){counts}."
        )
    return told


def _equals(p: float) -> str:
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"


def worst(run: Run, measure: str, most: int = 10) -> list[tuple[str, float]]:
    """Find the queries with the lowest values; errors are the other way round."""
    if measure not in run.measures:
        return []
    column = run.values[:, run.measures.index(measure)].tolist()
    pairs = [pair for pair in zip(run.queries, column, strict=True) if not math.isnan(pair[1])]
    return sorted(pairs, key=lambda pair: pair[1])[:most]


def apart(outcome: Outcome, other: Run, measure: str) -> list[tuple[str, float]]:
    """Differences of one run from the first, query by query, in ascending order."""
    first = outcome.runs[0]
    if measure not in first.measures or measure not in other.measures:
        return []
    ours = first.values[:, first.measures.index(measure)].tolist()
    theirs = other.values[:, other.measures.index(measure)].tolist()
    before = dict(zip(first.queries, ours, strict=True))
    found = [
        (query, value - before[query])
        for query, value in zip(other.queries, theirs, strict=True)
        if query in before
    ]
    return sorted((pair for pair in found if not math.isnan(pair[1])), key=lambda pair: pair[1])
