"""Joins the console to one process that runs turns."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.config import OFF
from sidecar.console.server import Backstage, listening
from sidecar.telemetry.outbox import outbox_families

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from prometheus_client import Metric

    from sidecar.app.assemble import Sidecar
    from sidecar.console.ports import MetricsSource, Probe
    from sidecar.engine.ports import Clock
    from sidecar.journal.store import SqliteJournal

NOWHERE: Final = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """The console's MetricsSource: the processes' own figures, and the outbox's."""

    metrics: MetricsSource
    journal: SqliteJournal
    clock: Clock

    async def families(self) -> Iterable[Metric]:
        """Give them as they are now."""
        sizes = await self.journal.outbox_sizes()
        age_s = 0.0 if sizes.oldest_owed_at is None else max(0.0, self.clock() - sizes.oldest_owed_at)
        return (*await self.metrics.families(), *outbox_families(sizes.counts, oldest_age_s=age_s))


@asynccontextmanager
async def console_of(sidecar: Sidecar, clock: Clock) -> AsyncIterator[str]:
    """Serve a sidecar's console within the context; give its URL, or nothing where there is none."""
    settings = sidecar.in_force.settings.console
    if settings.address == OFF:
        yield NOWHERE
        return
    figures = Figures(sidecar.metrics, sidecar.journal, clock)
    backstage = Backstage(settings=settings, metrics=figures, probes=_probes(sidecar, clock))
    async with listening(backstage) as url:
        yield url


def watch_sizes(sidecar: Sidecar) -> None:
    """Have the sizes of what is under way asked for whenever the figures are read."""
    front, driver, edge = sidecar.front, sidecar.driver, sidecar.edge
    sidecar.metrics.watch(
        {
            "open_connections": ("Connections of clients.", lambda: len(front.connections)),
            "open_exchanges": ("Exchanges under way.", lambda: front.under_way),
            "live_turns": (
                "Turns under way: open streams, and what is undone.",
                lambda: driver.live_count,
            ),
            "draining_answers": ("Abandoned answers read on for their ids.", lambda: len(edge.draining)),
            "idle_upstream_connections": ("Connections kept for a next request.", lambda: sidecar.edge.pool.idle_count),
        }
    )
    sidecar.metrics.watch_waste(edge.waste.sums)


def _probes(sidecar: Sidecar, clock: Clock) -> dict[str, Probe]:
    async def upstream() -> None:
        connection = await sidecar.edge.pool.connect(fresh=True)
        connection.abort()

    async def journal() -> None:
        await sidecar.journal.check(at=clock())

    async def outbox() -> str | None:
        sizes = await sidecar.journal.outbox_sizes()
        age_s = 0.0 if sizes.oldest_owed_at is None else clock() - sizes.oldest_owed_at
        limit_s = sidecar.in_force.settings.console.outbox_age_max_s
        return None if age_s <= limit_s else f"a call has been owed for {age_s:.0f} s; see `sidecar outbox list`"

    async def process() -> str | None:
        return "stopping" if sidecar.stopping else None

    return {"process": process, "upstream": upstream, "journal": journal, "outbox": outbox}
