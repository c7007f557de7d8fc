"""Reads the text format with the parser of the Prometheus library."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]
"""Name of a sample → its labels, sorted → value."""


def read(text: str) -> Samples:
    """All samples; `_bucket`, `_sum` and `_count` of histograms are names of their own."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), f"{sample.name} came twice"
            found[sample.name][labels] = sample.value
    return found


def value(samples: Samples, name: str, labels: Mapping[str, str] | None = None) -> float:
    """One sample; 0 if there is none, as for a counter that never counted."""
    return samples.get(name, {}).get(tuple(sorted((labels or {}).items())), 0.0)
