"""What an evaluation came to: its runs compared, with their words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from app.evaluation.results import Outcome, Run, compared
from app.service.evaluation_request import ToEvaluate


def outcome_of(wanted: ToEvaluate, data: str, runs: Sequence[Run], notes: Sequence[str]) -> Outcome:
    """Compare all runs with the first; on a lane."""
    return Outcome(
        wanted.task,
        data,
        list(runs),
        compared(runs, samples=wanted.resamples, seed=wanted.seed),
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        list(notes),
    )
