"""The dashboard and the alert rules ask for what the service really tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api.problems import STATUS
from app.metrics.families import FAMILIES, PROCESS
from tests.docker.reading import ROOT, read_compose

from .conftest import Observed

DOCKER = ROOT / "docker"
DASHBOARD = json.loads((DOCKER / "grafana/dashboards/likewise.json").read_text("utf-8"))
ALERTS = yaml.safe_load((DOCKER / "prometheus/alerts.yml").read_text("utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")

OF_SCRAPES = {"instance", "job"}
"""Labels that Prometheus itself puts on what it scrapes; and its one metric is `up`."""

_SELECTED = re.compile(r"\b(?P<name>up|likewise_\w+|process_\w+)\b(?:\{(?P<matchers>[^}]*)\})?")
_MATCHER = re.compile(r'(?P<label>\w+)\s*(?P<how>=~|!~|!=|=)\s*"(?P<value>[^"]*)"')
_BY = re.compile(r"\bby\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Expression:
    where: str
    text: str

    @property
    def selected(self) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
        """Names of series, each with its matchers: label, operator, value."""
        for found in _SELECTED.finditer(self.text):
            matchers = _MATCHER.findall(found["matchers"] or "")
            yield found["name"], matchers

    @property
    def grouped_by(self) -> set[str]:
        return {label.strip() for labels in _BY.findall(self.text) for label in labels.split(",")}


EXPRESSIONS = [
    *(Expression(rule["alert"], rule["expr"]) for rule in RULES),
    *(
        Expression(f"{panel['title']}: {target['refId']}", target["expr"])
        for panel in PANELS
        for target in panel["targets"]
    ),
]


def series(observed: Observed) -> dict[str, set[str]]:
    """Names of real series with the labels that they have."""
    found = {
        name: {key for labels in each for key, _ in labels}
        for name, each in observed.samples.items()
    }
    return {**found, "up": set()}


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda one: one.where)
def test_every_series_and_label_that_is_asked_for_is_told(
    expression: Expression, observed: Observed
) -> None:
    real, named = series(observed), list(expression.selected)
    assert named, "an expression without a series"
    labels: set[str] = set()
    for name, matchers in named:
        assert name in real, name
        labels |= real[name]
        for label, how, value in matchers:
            assert label in real[name] | OF_SCRAPES, f"{name} has no label {label}"
            if how == "=" and label == "code":
                assert value in {kind.code for kind in STATUS}
            elif how == "=" and label not in OF_SCRAPES:
                told = {dict(each)[label] for each in observed.samples[name]}
                assert value in told, f"{name} never has {label}={value}"
    assert expression.grouped_by <= labels | OF_SCRAPES


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda one: one.where)
def test_expressions_are_whole(expression: Expression) -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert expression.text.count(opening) == expression.text.count(closing)
    # A counter, or a part of a histogram, means something only as a rate or an increase.
    for found in re.finditer(r"(likewise_\w+(?:_total|_bucket|_sum|_count))\b", expression.text):
        before = expression.text[: found.start()]
        assert re.search(r"(?:rate|increase)\($", before), found[0]


def test_a_missing_series_would_be_seen(observed: Observed) -> None:
    real = series(observed)
    ((name, _),) = Expression("", "rate(likewise_no_such_total[5m])").selected
    assert name not in real


def test_what_is_told_is_what_is_declared_and_all_of_it(observed: Observed) -> None:
    parts = ("", "_bucket", "_sum", "_count")
    declared = {
        family.name + part
        for family in FAMILIES
        for part in (parts[1:] if family.kind == "histogram" else parts[:1])
    }
    real = {name for name in observed.samples if not name.endswith("_created")}
    assert real == declared | set(PROCESS)
    for family in FAMILIES:
        for name in (family.name, f"{family.name}_count"):
            for labels in observed.samples.get(name, {}):
                assert {key for key, _ in labels} == set(family.labels), name


def test_the_dashboard_shows_every_metric_or_an_alert_does() -> None:
    asked = " ".join(expression.text for expression in EXPRESSIONS)
    missing = {family.name for family in FAMILIES if family.name not in asked}
    assert missing == set()


def test_panels_are_apart_and_known_by_number() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        own = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in own) < 24
        assert not own & cells, panel["title"]
        cells |= own


def test_every_alert_says_how_bad_it_is_and_is_explained() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    explained = re.findall(r"^### `(Likewise\w+)`", OPERATIONS, re.M)
    assert explained == names
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


# ── the files find each other ────────────────────────────────────────────────────────────────


def _in_container(service: str, path: str) -> Path:
    """The file of the repository that is at a path of a container."""
    for mount in read_compose()["services"][service]["volumes"]:
        source, target, *_ = mount.split(":")
        if source.startswith("./") and path.startswith(target):
            return DOCKER / source / path[len(target) :].lstrip("/")
    raise AssertionError(f"{path} is not in {service}")


def test_prometheus_finds_its_files_and_the_service() -> None:
    services = read_compose()["services"]
    (given,) = (word for word in services["prometheus"]["command"] if "config.file" in word)
    config = yaml.safe_load(_in_container("prometheus", given.partition("=")[2]).read_text("utf-8"))
    assert [_in_container("prometheus", path).name for path in config["rule_files"]] == [
        "alerts.yml"
    ]
    (scraped,) = config["scrape_configs"]
    assert scraped["job_name"] == "likewise"
    (target,) = scraped["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert services[host]["ports"][0].endswith(f":{port}")


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    folder = _in_container("grafana", "/etc/grafana/provisioning")
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text("utf-8"))[
        "datasources"
    ]
    host = re.fullmatch(r"http://(\w+):9090", source["url"])
    assert host is not None
    assert host[1] in read_compose()["services"]
    used = set(re.findall(r'"uid": "([^"]+)"', json.dumps(DASHBOARD["panels"])))
    assert used == {source["uid"]}
    (provider,) = yaml.safe_load((folder / "dashboards/likewise.yml").read_text("utf-8"))[
        "providers"
    ]
    assert (_in_container("grafana", provider["options"]["path"]) / "likewise.json").is_file()


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_monitoring_is_asked_for_pinned_confined_and_local(name: str) -> None:
    service = read_compose()["services"][name]
    assert service["profiles"] == ["monitoring"]
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
    (published,) = service["ports"]
    assert published.startswith("127.0.0.1:")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    for mount in service["volumes"]:
        assert mount.endswith(":ro") == mount.startswith("./"), mount
