"""docs/similarity/tokens.md is run: its examples, its tables of parameters, its limits."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from app.errors import InvalidQuery
from app.ranking.tokens.aggregation import Aggregation
from app.ranking.tokens.cost import MAX_CANDIDATES, MAX_COST, MAX_TOKENS
from app.ranking.tokens.matching import KINDS
from app.ranking.tokens.reading import aggregation_from, matching_from

PAGE = (Path(__file__).parents[2] / "docs" / "similarity" / "tokens.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def rows(header: str) -> list[list[str]]:
    """Cells of the table whose header line begins like this."""
    table = PAGE[PAGE.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_example_runs() -> None:
    example, _ = blocks("python")  # the other one needs a service: tests/client/test_docs.py
    exec(compile(example, "tokens.md", "exec"), {})


def test_every_json_example_is_read() -> None:
    aggregations, matchings = blocks("json aggregation"), blocks("json matching")
    for one in aggregations:
        aggregation_from(orjson.loads(one), "")
    for one in matchings:
        matching_from(orjson.loads(one), "")
    assert len(aggregations) >= 3
    assert len(matchings) >= 5


def test_tables_name_every_kind_and_parameter() -> None:
    kinds = {row[0].strip("`") for row in rows("| kind | value of a row")}
    assert kinds == {"mean", "max", "lse", "attend", "isa", "regulated"}
    for kind in kinds:
        aggregation_from(kind, "")
    assert {row[0].strip("`") for row in rows("| kind | pairs")} == set(KINDS)


def test_defaults_of_aggregations_are_those_of_the_table() -> None:
    defaults = {row[0].strip("`"): row[2] for row in rows("| parameter | kinds")}
    assert defaults["tau"] == f"{Aggregation().tau}; isa {aggregation_from('isa', '').tau}"
    assert defaults["steps"] == str(Aggregation().steps)
    assert defaults["agreement_tau"] == str(Aggregation().agreement_tau)
    assert set(defaults) == set(Aggregation.__slots__) - {"kind"}


def test_parameters_of_matchings_are_those_of_the_table() -> None:
    told: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for names, kinds, default, _ in rows("| parameter | kind |"):
        for name in re.findall(r"`(\w+)`", names):
            for kind in kinds.split(", "):
                if kind in KINDS:
                    told[kind].add(name)
            if name != "verify" and kinds in KINDS:
                value = str(getattr(KINDS[kinds](), name))
                plain = value.replace(".0", "").replace("(", "[").replace(")", "]").lower()
                assert default.split(":")[0] in {value, plain, value.removesuffix(".0")}, name
    for kind, made in KINDS.items():
        assert told[kind] == set(made.__slots__), kind


@pytest.mark.parametrize("limit", [MAX_TOKENS, MAX_CANDIDATES, MAX_COST])
def test_the_page_states_the_limits(limit: int) -> None:
    assert f"{limit:,}" in PAGE


def test_limits_of_the_tables_are_those_of_the_reader() -> None:
    def refused(kind: str, name: str, value: object) -> bool:
        try:
            if kind in KINDS:
                matching_from({"kind": kind, name: value}, "")
            else:
                aggregation_from({"kind": kind, name: value}, "")
        except InvalidQuery:
            return True
        return False

    checked = 0
    for header, usual in (("| parameter | kinds", "regulated"), ("| parameter | kind |", "")):
        for names, kinds, _, limits in rows(header):
            span = re.match(r"(?:0: off, or )?([−\d.]+) … (\d+)", limits)
            if span is None:
                continue
            kind = usual or kinds.split(", ")[0]
            name = names.strip("`")
            low, high = (float(end.replace("−", "-")) for end in span.groups())
            whole = low.is_integer() and not refused(kind, name, int(low))
            for end, inside in ((low, True), (high, True), (low - 0.009, False), (high + 1, False)):
                value = int(end) if whole and end.is_integer() else end
                if not inside and end < 0.01 and "off" in limits and end == 0:
                    continue
                assert refused(kind, name, value) is not inside, (kind, name, value)
            checked += 1
    assert checked >= 14
