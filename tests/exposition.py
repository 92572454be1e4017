"""Reads what ``/metrics`` answers."""

from __future__ import annotations

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from tests.running import RunningProxy


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample's value by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def totals(proxy: RunningProxy, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    """Return the sums of a figure of a running proxy by the values of ``labels``, without what is 0."""
    sums: Counter[tuple[str, ...]] = Counter()
    for (of, given), number in values(proxy.get("/metrics").text).items():
        if of == name and number:
            sums[tuple(dict(given)[label] for label in labels)] += int(number)
    return sums


def value(proxy: RunningProxy, name: str, **labels: str) -> float:
    """Return one sample of a running proxy; 0 for one that was never touched."""
    return values(proxy.get("/metrics").text).get((name, frozenset(labels.items())), 0.0)
