"""The figures of several processes, told as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sidecar.telemetry.merged import Remembered, merged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric


def process(turns: int, live: int = 0, route: str = "/chat") -> tuple[Metric, ...]:
    """Give the figures of a process that has counted so many turns, each of a second."""
    registry = CollectorRegistry()
    counter = Counter("turns", "Turns.", ("route",), registry=registry)
    took = Histogram("took_seconds", "Time.", buckets=(0.5, 2.0), registry=registry)
    for _ in range(turns):
        counter.labels(route).inc()
        took.observe(1.0)
    Gauge("live", "Turns under way.", registry=registry).set(live)
    Gauge("sidecar_build_info", "Always 1.", registry=registry).set(1)
    return tuple(registry.collect())


def value(families: Iterable[Metric], name: str, **labels: str) -> float | None:
    found = [one.value for metric in families for one in metric.samples if one.name == name and one.labels == labels]
    assert len(found) <= 1
    return found[0] if found else None


def test_counts_and_sizes_are_added_up() -> None:
    together = merged([process(2, live=1), process(3, live=4)])
    assert value(together, "turns_total", route="/chat") == 5
    assert value(together, "live") == 5
    assert value(together, "took_seconds_count") == 5
    assert value(together, "took_seconds_bucket", le="0.5") == 0
    assert value(together, "took_seconds_bucket", le="2.0") == 5


def test_labels_stay_apart_and_what_is_alike_stays_so() -> None:
    together = merged([process(2), process(3, route="/other")])
    assert value(together, "turns_total", route="/chat") == 2
    assert value(together, "turns_total", route="/other") == 3
    assert value(together, "sidecar_build_info") == 1


def test_one_that_ended_takes_no_counts_along_but_its_sizes() -> None:
    remembered = Remembered()
    remembered.take(0, 100, process(2, live=1))
    remembered.take(1, 101, process(1, live=1))
    remembered.take(0, 102, process(0))
    remembered.take(0, 102, process(4, live=2))
    together = remembered.together()
    assert value(together, "turns_total", route="/chat") == 2 + 1 + 4
    assert value(together, "live") == 1 + 2
    remembered.take(0, 103, process(0))
    assert value(remembered.together(), "turns_total", route="/chat") == 2 + 1 + 4
