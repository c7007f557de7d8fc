"""Outcomes to report on: with everything, with hostile names, with nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.evaluation.bootstrap import statistic
from app.evaluation.results import Curve, Outcome, compared, run_of

HOSTILE = "</svg><script>alert(1)</script> \"'&|` | [a](javascript:x)"


def whole(name: str = "dense", other: str = "hybrid", query: str = "q{}: what is it") -> Outcome:
    """Two configurations, of which the second is better, with every part that a report can have."""
    rng = np.random.default_rng(0)
    ranks = np.linspace(0, 1, 60)
    first = np.clip(ranks + rng.normal(0, 0.1, 60), 0, 1)
    second = np.clip(first + rng.normal(0.1, 0.15, 60), 0, 1)
    runs = []
    for label, values, lift in ((name, first, 0.0), (other, second, 0.1)):
        columns = np.stack([values, np.sqrt(values)], axis=1)
        columns[7, 0] = np.nan
        depths = [1.0, 2.0, 5.0, 10.0, 100.0]
        far = np.linspace(0, 1, 120)
        run = run_of(
            label,
            {"using": label, "filter": {"a": [1, "<b>"]}},
            [query.format(n) for n in range(60)],
            ["ndcg@10", "recall@10"],
            columns,
            shares=np.geomspace(2e-5, 1, 60).tolist(),
            facts={"ms p50": 3.21, "queries a second": 1234.5},
            curves=[
                Curve("recall", depths, [0.2 + lift, 0.3, 0.5, 0.7, 0.9 + lift / 2]),
                Curve("precision", (far[::12]).tolist(), (1 - far[::12] / 2).tolist()),
                Curve("roc", far.tolist(), (far ** (0.3 - lift)).tolist()),
                Curve("rejection", [0.0, 0.5, 1.0], [0.1, 0.6, 0.8]),
                Curve("reliability", [0.1, 0.9], [0.2, 0.8]),
            ],
            samples=300,
        )
        of = {"eer": lambda at, v=values: float(v[at].mean() / 4)}
        run.estimates["eer"] = statistic(of["eer"], 60, samples=50)
        runs.append(replace(run, wholes=of))
    notes = ["60 judged queries", f"made of {name}"]
    return Outcome(
        "retrieval", f"data {name}", runs, compared(runs, samples=300), "2026-01-01T00:00:00+00:00",
        notes,
    )  # fmt: skip


def nothing() -> Outcome:
    """One configuration whose queries have nothing relevant."""
    run = run_of("empty", {}, ["q"], ["map@10"], np.full((1, 1), np.nan))
    return Outcome("retrieval", "nothing", [run], [])
