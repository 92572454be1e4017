"""Reads what ``/metrics`` answers."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.running import RunningProxy


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample's value by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(proxy: RunningProxy, name: str, **labels: str) -> float:
    """Return one sample of a running proxy; 0 for one that was never touched."""
    return values(proxy.get("/metrics").text).get((name, frozenset(labels.items())), 0.0)
