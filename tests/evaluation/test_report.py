"""Reports: what they say, that nothing from outside gets out of its place, and how they look."""

from __future__ import annotations

import json
import re
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.evaluation.bootstrap import Difference
from app.evaluation.report.html import html_from_outcome
from app.evaluation.report.markdown import markdown_from_outcome
from app.evaluation.report.words import fact, findings, number, share, verdict
from app.evaluation.results import (
    Comparison,
    compared,
    decades,
    json_from_outcome,
    outcome_from_json,
)

from .browser import CHROMIUM, Seen, seen
from .outcomes import HOSTILE, nothing, whole


class Page(HTMLParser):
    """What a browser would make of a page: elements that are never closed wrongly."""

    VOID = frozenset({"meta", "link", "br", "rect", "line", "circle", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_report_says_who_is_better_and_by_how_much() -> None:
    outcome = whole()
    first, second = findings(outcome)
    assert first.startswith("dense has nDCG@10 0.")
    assert re.fullmatch(
        r"hybrid is better than dense: \+0\.\d{3} nDCG@10 "
        r"\(\+0\.\d{3} to \+0\.\d{3}, p [=<] 0\.\d{3}\), "
        r"better on \d+, worse on \d+, equal on \d+\.",
        second,
    )
    for report in (html_from_outcome(outcome), markdown_from_outcome(outcome)):
        for words in ("nDCG@10", "EER", "q0", "ms p50", "1,234", "worse", "10⁻⁵"):
            assert words in report, words


def test_an_error_that_grows_is_worse() -> None:
    (one,) = (one for one in whole().comparisons if one.measure == "eer")
    assert one.difference.low > 0
    assert verdict(one) == "worse"


def test_what_chance_would_do_one_time_in_eight_is_unclear() -> None:
    few = Difference(0.067, 0.017, 0.133, 0.125, 4, 0, 56)
    assert verdict(Comparison("recall@100", "hybrid", "dense", few)) == "unclear"
    assert verdict(Comparison("recall@100", "hybrid", "dense", few._replace(p=0.01))) == "better"


def test_every_plot_has_a_title_a_text_and_its_numbers_in_a_table() -> None:
    page = Page(html_from_outcome(whole()))
    plots = [attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(plots) == 11
    for attrs in plots:
        assert len(attrs["aria-label"] or "") > 20
    names = [tag for tag, _ in page.tags]
    assert names.count("title") == len(plots) + 1
    assert names.count("desc") == len(plots)
    assert names.count("table") >= 10
    assert "script" not in names
    for tag, attrs in page.tags:  # nothing is fetched
        assert not {"src", "srcset"} & attrs.keys(), tag
        assert attrs.get("href", "data:,") == "data:,"


@pytest.mark.parametrize("place", ["name", "other", "query"])
def test_hostile_names_stay_text(place: str) -> None:
    outcome = whole(**{place: HOSTILE if place != "query" else "{} " + HOSTILE})
    plain = whole()
    page, expected = Page(html_from_outcome(outcome)), Page(html_from_outcome(plain))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in expected.tags]
    assert any("<script>alert(1)</script>" in text for text in page.text)
    report = markdown_from_outcome(outcome)
    assert not re.search(r"(?<!\\)[<\[`]", re.sub(r"`[^`]*`", "", report.replace("\\`", "")))
    for line in report.splitlines():
        if line.startswith("|"):  # no name makes a cell
            cells = re.split(r"(?<!\\)\|", line)
            assert len(cells) in {4, 5, 6, 7, 8}, line


def test_nothing_to_tell_is_told() -> None:
    for report in (html_from_outcome(nothing()), markdown_from_outcome(nothing())):
        assert "MAP@10" in report
        assert "–" in report
        assert "nan" not in report.replace("nan<", "").lower().replace("finance", "")


def test_results_come_back_from_a_file() -> None:
    outcome = whole()
    written = json.loads(json.dumps(json_from_outcome(outcome)))
    again = outcome_from_json(written)
    assert json_from_outcome(again) == json_from_outcome(outcome)
    assert html_from_outcome(again) == html_from_outcome(outcome)
    # differences of what is known query by query are found again, to the draw
    per_query = [one for one in outcome.comparisons if one.measure != "eer"]
    assert compared(again.runs, samples=300)[:2] == per_query
    del written["configurations"][0]["per_query"]
    assert outcome_from_json(written).runs[0].queries == []


@pytest.mark.parametrize("change", [{"format": "x"}, {"configurations": 1}, {"notes": None}])
def test_what_is_no_result_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        outcome_from_json(json_from_outcome(nothing()) | change)
    with pytest.raises(InvalidRequest):
        outcome_from_json([])


def test_decades_are_by_powers_of_ten() -> None:
    values = np.array([[1.0], [0.0], [1.0], [0.5], [np.nan]])
    found = decades(values, ["r"], [0.0, 0.001, 0.0011, 1.0, 0.5])
    assert [(d.low, d.high, d.queries) for d in found] == [
        (0, 0, 1), (pytest.approx(1e-4), pytest.approx(1e-3), 1),
        (pytest.approx(1e-3), pytest.approx(1e-2), 1), (0.1, 1, 2),
    ]  # fmt: skip
    assert [d.values for d in found] == [{"r": 1}, {"r": 0}, {"r": 1}, {"r": 0.5}]


def test_numbers_are_written_to_be_read() -> None:
    assert [number(x) for x in (0.12345, -0.5, float("nan"))] == ["0.123", "−0.500", "–"]
    assert [fact(x) for x in (1234.5, 3.21, 0.00123, 0)] == ["1,234", "3.21", "0.00123", "0"]
    assert [share(x) for x in (0, 1, 0.001, 1e-5, 1e-12)] == ["0", "1", "0.001", "10⁻⁵", "10⁻¹²"]


# ── in a browser ─────────────────────────────────────────────────────────────────────────────

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A web server over a folder: its address, and the folder."""
    folder = tmp_path_factory.mktemp("pages")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()
    thread.join()


def looked_at(pages: Any, text: str) -> Seen:
    address, folder = pages
    (Path(folder) / "page.html").write_text(text, encoding="utf-8")
    return seen(address, Path(folder))


@needs_browser
@pytest.mark.parametrize("names", ["plain", "hostile"])
def test_a_report_fits_and_complains_of_nothing(pages: Any, names: str) -> None:
    long = HOSTILE + "w" * 150
    outcome = whole() if names == "plain" else whole(long, long + "2", "{}" + long)
    found = looked_at(pages, html_from_outcome(outcome))
    assert found.console == []
    assert found.widths == {360: 360, 1280: 1280}
    assert found.plots == 11
    assert found.outside == 0


@needs_browser
def test_the_browser_would_notice(pages: Any) -> None:
    """What it looks for it finds, where it is."""
    wide = "<div style='width: 2000px'>.</div>"
    broken = "<svg role='img' width='50'><path d='M1,nan L'/><text x='900'>out</text></svg>"
    found = looked_at(pages, f"<!doctype html><body>{wide}{broken}")
    assert found.widths[360] > 2000
    assert found.console
    assert found.outside == 2  # in either frame
