"""What was generated for nobody, as counters; the sums are kept where the answers are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

LABELS = ("route", "cause")


class Wasted(Protocol):
    """A sum: answers, bytes of their bodies, seconds from the leaving to the upstream's end."""

    answers: int
    bytes: int
    seconds: float


class WasteCollector(Collector):
    """Reads sums, by (route, cause), whenever it is asked."""

    def __init__(self, sums: Mapping[tuple[str, str], Wasted]) -> None:
        self._sums = sums

    def collect(self) -> Iterator[Metric]:
        """Give the sums as they are now."""
        answers = CounterMetricFamily("sidecar_unseen_answers", "Answers that ran on after the client.", labels=LABELS)
        count = CounterMetricFamily("sidecar_wasted_bytes", "Bytes of answers that nobody saw.", labels=LABELS)
        seconds = CounterMetricFamily(
            "sidecar_wasted_seconds", "From the leaving to the upstream's end.", labels=LABELS
        )
        for labels, wasted in tuple(self._sums.items()):
            answers.add_metric(labels, wasted.answers)
            count.add_metric(labels, wasted.bytes)
            seconds.add_metric(labels, wasted.seconds)
        yield from (answers, count, seconds)
