"""How latencies are summed up, and the hour of cancels laid out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Histogram

from sidecar.console.health import Readiness
from sidecar.console.overview import CLOSED, MINUTES, Observatory, _latency, _of_histogram
from sidecar.engine.ports import OutboxSizes
from sidecar.turn.state import Cause, StepKind

if TYPE_CHECKING:
    from sidecar.console.models import Overview

NOW = 1_000_000.0 * 60 + 30


class Board:
    """A journal that tells what it was given."""

    def __init__(self, cancels: list[tuple[int, Cause, int]], undone: list[tuple[StepKind, float]]) -> None:
        self.cancels = cancels
        self.undone = undone
        self.since = 0.0

    async def outbox_sizes(self) -> OutboxSizes:
        return OutboxSizes(counts={}, oldest_owed_at=None)

    async def oldest_steps(self, state: str, limit: int) -> list[Any]:
        del state, limit
        return []

    async def cancels_by_minute(self, *, since: float) -> list[tuple[int, Cause, int]]:
        self.since = since
        return self.cancels

    async def latest_undone(self, limit: int) -> list[tuple[StepKind, float]]:
        return self.undone[:limit]


class Nothing:
    """No figures, no live turns."""

    async def families(self) -> tuple[Any, ...]:
        return ()

    async def newest(self, limit: int) -> tuple[int, list[Any]]:
        del limit
        return 0, []


def look(board: Board) -> Overview:
    async def once() -> Overview:
        observatory = Observatory(
            settings=lambda: None,  # type: ignore[arg-type, return-value]  # no step is shown
            clock=lambda: NOW,
            board=board,
            live=Nothing(),
            metrics=Nothing(),
            readiness=Readiness({}),
        )
        return await observatory.overview()

    return asyncio.run(once())


def test_the_hour_ends_with_the_minute_that_runs() -> None:
    board = Board([(0, Cause.CLOSED, 2), (59, Cause.RESET, 1), (60, Cause.CLOSED, 7)], [])
    cancels = look(board).cancels
    assert cancels.since == board.since == 1_000_000.0 * 60 - 59 * 60
    assert len(cancels.minutes) == MINUTES
    assert (cancels.minutes[0], cancels.minutes[59]) == ({Cause.CLOSED: 2}, {Cause.RESET: 1})
    assert sum(map(len, cancels.minutes)) == 2, "a clock that was set back adds no minute"


def test_latencies_stand_in_the_order_of_the_calls() -> None:
    undone = [(StepKind.VERIFY, 9.0), (StepKind.CANCEL, -0.1), (StepKind.ROLLBACK, 0.5)]
    latencies = look(Board([], undone)).latencies
    assert [one.name for one in latencies] == ["cancel", "rollback", "verify"]
    assert latencies[0].p50 == 0.0, "clocks differ; nothing takes less than no time"


def test_so_many_of_a_hundred_took_no_longer() -> None:
    latency = _latency("cancel", [float(number) for number in range(1, 101)])
    assert (latency.count, latency.p50, latency.p95, latency.p99) == (100, 51.0, 96.0, 100.0)
    assert _latency("cancel", [3.0]).p99 == 3.0


def test_a_histogram_tells_the_bound_of_a_bucket() -> None:
    registry = CollectorRegistry()
    histogram = Histogram(CLOSED, "-", buckets=(0.001, 0.01, 0.1), registry=registry)
    assert _of_histogram("upstream_closed", registry.collect()) is None
    for seconds in (0.0005, 0.0005, 0.005, 7.0):
        histogram.observe(seconds)
    latency = _of_histogram("upstream_closed", registry.collect())
    assert latency is not None
    assert (latency.count, latency.p50, latency.p95) == (4, 0.001, 0.1), "beyond the last bound, it is that bound"
