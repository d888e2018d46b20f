"""How full the outbox is, as gauges; it is the journal's, and so told once, however many processes there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.metrics_core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

STATES: Final = ("pending", "leased", "dead", "dropped")


def outbox_families(counts: Mapping[str, int], *, oldest_age_s: float) -> Iterator[Metric]:
    """Give the gauges; a state of which there is no step is 0."""
    steps = GaugeMetricFamily("sidecar_outbox_steps", "Steps in the outbox, but for delivered ones.", labels=("state",))
    for state in STATES:
        steps.add_metric((state,), counts.get(state, 0))
    yield steps
    yield GaugeMetricFamily(
        "sidecar_outbox_oldest_age_seconds", "How long the oldest step has been owed; 0: none is.", value=oldest_age_s
    )
