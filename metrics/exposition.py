"""Figures as Prometheus reads them. Needs prometheus_client, which the extra `metrics` brings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from metrics.histogram import LogHistogram

__all__ = ["CONTENT_TYPE", "Distribution", "Figure", "MissingExtra", "exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds: from a frame that is hardly touched to one that waited for an outage."""


class MissingExtra(ImportError):
    """prometheus_client is not installed."""


class Figure(msgspec.Struct, frozen=True):
    """One number, or one for each value of a label: `values` by label value, or {"": number}.

    A counter only grows; its name ends in `_total`.
    """

    name: str
    text: str
    values: Mapping[str, float]
    label: str = ""

    @property
    def counter(self) -> bool:
        """True if it only grows."""
        return self.name.endswith("_total")


class Distribution(msgspec.Struct, frozen=True):
    """Seconds of many things, as a histogram."""

    name: str
    text: str
    values: LogHistogram


def exposition(figures: Iterable[Figure | Distribution]) -> bytes:
    """The figures in the text format of Prometheus, version 0.0.4.

    Raises:
        MissingExtra: prometheus_client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError:
        raise MissingExtra("metrics need prometheus_client: pip install 'prometheus-client>=0.20' (Spillway's extra `metrics`)") from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures))
    return generate_latest(registry)


class _Collector:
    def __init__(self, figures: Iterable[Figure | Distribution]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for figure in self._figures:
            if isinstance(figure, Distribution):
                family: Any = HistogramMetricFamily(figure.name, figure.text)
                values = figure.values
                buckets = [(f"{bound:g}", values.up_to(bound)) for bound in _BOUNDS]
                family.add_metric([], [*buckets, ("+Inf", values.count)], values.sum)
            else:
                kind = CounterMetricFamily if figure.counter else GaugeMetricFamily
                family = kind(figure.name, figure.text, labels=[figure.label] if figure.label else [])
                for label, value in figure.values.items():
                    family.add_metric([label] if figure.label else [], value)
            yield family
