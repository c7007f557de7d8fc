"""docs/operations.md agrees with the code and with its own formulas."""

from __future__ import annotations

import re
from pathlib import Path

from app.api.problems import STATUS
from app.config import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")

# Measured at 60,000 points of 384 numbers: bench/README.md.
POINTS, DIMENSION, RAW = 60_000, 384, 4 * 384


def test_the_formulas_give_what_was_measured() -> None:
    assert round(1.99 * RAW) == round(6.4 * DIMENSION + 599)
    assert round(0.46 * RAW) == DIMENSION + 323
    assert round(262 * 2**20 / POINTS) == round(10.4 * DIMENSION + 585)


def test_the_sizing_table_follows_from_the_formulas() -> None:
    rows = re.findall(r"^\| (\d+) \|((?: [\d.]+ GB \|){4})$", PAGE, re.M)
    assert [int(dimension) for dimension, _ in rows] == [128, 384, 768, 1024, 1536]
    for dimension, cells in rows:
        d = int(dimension)
        by_formula = (4 * d, 6.4 * d + 599, d + 323, 10.4 * d + 585)
        assert re.findall(r"[\d.]+", cells) == [f"{each / 1000:.1f}" for each in by_formula]


def test_every_problem_that_is_not_the_callers_says_what_an_operator_does() -> None:
    explained = set(
        re.findall(r"^\| `([a-z-]+)` \|", PAGE.partition("## By problem code")[2], re.M)
    )
    assert explained == {
        kind.code for kind, status in STATUS.items() if status >= 500 or status == 429
    }


def test_every_setting_that_is_named_exists() -> None:
    named = set(re.findall(r"LIKEWISE_[A-Z_]+", PAGE))
    assert named <= {f"LIKEWISE_{name.upper()}" for name in Settings.model_fields}
