from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.exchange import CollectionStatistics, Statistics, Storage
from app.metrics.accounts import Requests, Work
from app.metrics.exposition import OTHER, Told, rendered
from app.metrics.families import FAMILIES, metrics_table
from app.service.checks import NAME
from app.tally import POWERS, SECONDS, Histogram

from .reading import read, value

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def size(name: str, points: int) -> CollectionStatistics:
    return CollectionStatistics(name, points, 1, 2, 3, 4, 5, 6)


def told(*collections: CollectionStatistics, work: Work | None = None) -> Told:
    commits = Histogram(SECONDS), Histogram(POWERS)
    statistics = Statistics(list(collections), 0, 0, *commits, {}, {})
    return Told(
        Requests(), work or Work(), {"search": (1, 2)}, [], None, statistics, Storage(9, 3, True)
    )


def test_a_histogram_ends_with_all_values_and_its_sum() -> None:
    work = Work()
    for seconds in (0.0001, 0.3, 99.0):
        work.stages["search"].note(seconds)
    samples = read(rendered(told(work=work), most_collections=1).decode())
    name = "likewise_query_stage_seconds"
    buckets = {
        float(dict(labels)["le"]): count
        for labels, count in samples[f"{name}_bucket"].items()
        if dict(labels)["stage"] == "search"
    }
    assert (buckets[0.0001], buckets[0.25], buckets[0.5], buckets[float("inf")]) == (1, 1, 2, 3)
    assert value(samples, f"{name}_count", {"stage": "search"}) == 3
    assert value(samples, f"{name}_sum", {"stage": "search"}) == pytest.approx(99.3001)


def test_only_the_largest_collections_have_metrics_of_their_own() -> None:
    work = Work()
    for name, recall in (("large", 1.0), ("small", 0.8), ("gone", 0.6)):
        work.recalled(name, recall)
    sizes = [size("small", 1), size("large", 10), size("middle", 5), size("tiny", 0)]
    samples = read(rendered(told(*sizes, work=work), most_collections=2).decode())

    def by_collection(name: str) -> dict[str, float]:
        return {dict(labels)["collection"]: found for labels, found in samples[name].items()}

    assert by_collection("likewise_collection_points") == {"large": 10, "middle": 5, OTHER: 1}
    assert by_collection("likewise_collection_store_bytes") == {"large": 6, "middle": 6, OTHER: 12}
    assert by_collection("likewise_self_check_recall_count") == {"large": 1, OTHER: 2}
    assert by_collection("likewise_self_check_recall_mean") == {
        "large": 1.0,
        OTHER: pytest.approx(0.7),
    }
    assert value(samples, "likewise_collections") == 4
    assert not NAME.fullmatch(OTHER), "a collection could be called that"


def test_a_method_that_callers_make_up_makes_no_labels() -> None:
    requests = Requests()
    for number in range(100):
        requests.note(f"METHOD{number}", "-", 405, 0.001)
    assert list(requests.routes) == [("-", "other")]
    assert requests.routes["-", "other"].statuses == {405: 100}


def test_names_keep_the_rules_of_prometheus() -> None:
    for family in FAMILIES:
        assert re.fullmatch(r"likewise_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_ms"))
        if family.kind != "counter" and any(
            word in family.meaning.lower() for word in ("time of", "time from")
        ):
            assert family.name.endswith("_seconds")


def test_every_metric_is_documented_as_the_command_prints_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert metrics_table() in page, "docs/operations.md lacks what `likewise metrics` prints"
