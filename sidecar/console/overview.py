"""What the dashboard shows, put together from the journal, the live turns, the figures and the probes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from sidecar.console.configuration import shown_step
from sidecar.console.models import CancelsOut, LatencyOut, LiveOut, OutboxOut, Overview, TurnOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import Metric

    from sidecar.config import Settings
    from sidecar.console.health import Readiness
    from sidecar.console.ports import Board, LiveTurns, MetricsSource
    from sidecar.engine.ports import Clock
    from sidecar.turn.state import Cause

MINUTES: Final = 60
PROBED_EACH_S: Final = 10.0
"""An open dashboard looks each second; the upstream need not see that."""
LIVE_MAX: Final = 100
STEPS_MAX: Final = 50
UNDONE_MAX: Final = 500
"""The latest cancelled turns by which latencies are told."""
CLOSED: Final = "sidecar_upstream_close_seconds"
ORDER: Final = ("upstream_closed", "cancel", "rollback", "rollback_turn", "verify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observatory:
    """Where one looks."""

    settings: Callable[[], Settings]
    clock: Clock
    board: Board
    live: LiveTurns
    metrics: MetricsSource
    readiness: Readiness

    async def overview(self) -> Overview:
        """Look once. Raises PeerError."""
        at = self.clock()
        return Overview(
            at=at,
            version=version("cancel-sidecar"),
            ready=await self.readiness.reasons(PROBED_EACH_S),
            live=await self._live(),
            cancels=await self._cancels(at),
            latencies=await self._latencies(),
            outbox=await self._outbox(),
        )

    async def _live(self) -> LiveOut:
        count, turns = await self.live.newest(LIVE_MAX)
        return LiveOut(count=count, turns=[TurnOut.of(turn) for turn in turns])

    async def _cancels(self, at: float) -> CancelsOut:
        since = (at // 60 - MINUTES + 1) * 60
        minutes: list[dict[Cause, int]] = [{} for _ in range(MINUTES)]
        for minute, cause, number in await self.board.cancels_by_minute(since=since):
            if minute < MINUTES:  # a clock may have been set back
                minutes[minute][cause] = number
        return CancelsOut(since=since, minutes=minutes)

    async def _latencies(self) -> list[LatencyOut]:
        seconds: defaultdict[str, list[float]] = defaultdict(list)
        for kind, one in await self.board.latest_undone(UNDONE_MAX):
            seconds[kind].append(max(0.0, one))
        told = {name: _latency(name, sorted(values)) for name, values in seconds.items()}
        if (closed := _of_histogram("upstream_closed", await self.metrics.families())) is not None:
            told[closed.name] = closed
        return [told[name] for name in ORDER if name in told]

    async def _outbox(self) -> OutboxOut:
        settings = self.settings()
        sizes = await self.board.outbox_sizes()
        leased, pending, dead = [await self.board.oldest_steps(state, STEPS_MAX) for state in _OWED_AND_DEAD]
        owed = sorted([*leased, *pending], key=lambda row: row.id)[:STEPS_MAX]
        return OutboxOut(
            counts=dict(sizes.counts),
            oldest_owed_at=sizes.oldest_owed_at,
            owed=[shown_step(settings, row) for row in owed],
            dead=[shown_step(settings, row) for row in dead],
        )


_OWED_AND_DEAD: Final = ("leased", "pending", "dead")


def _latency(name: str, seconds: Sequence[float]) -> LatencyOut:
    """Sum up sorted seconds."""

    def part(quantile: float) -> float:
        return seconds[min(len(seconds) - 1, int(quantile * len(seconds)))]

    return LatencyOut(name=name, count=len(seconds), p50=part(0.50), p95=part(0.95), p99=part(0.99))


def _of_histogram(name: str, families: Iterable[Metric]) -> LatencyOut | None:
    """Sum up a histogram: each part by the bound of the bucket that it falls into; None where it has nothing."""
    samples = [sample for family in families if family.name == CLOSED for sample in family.samples]
    buckets = sorted((float(one.labels["le"]), one.value) for one in samples if one.name == f"{CLOSED}_bucket")
    total = buckets[-1][1] if buckets else 0
    if not total:
        return None
    longest = max((bound for bound, _ in buckets[:-1]), default=0.0)

    def part(quantile: float) -> float:
        return min(longest, next(bound for bound, number in buckets if number >= quantile * total))

    return LatencyOut(name=name, count=int(total), p50=part(0.50), p95=part(0.95), p99=part(0.99))
