"""Joins the console to a parent: what only workers know is asked of all of them, and told as one."""

from __future__ import annotations

import pickle
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.app.console import Operated, console
from sidecar.telemetry.merged import Remembered
from sidecar.upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractAsyncContextManager

    from prometheus_client import Metric

    from sidecar.app.parent import Parent
    from sidecar.console.ports import Probe
    from sidecar.engine.ports import Clock
    from sidecar.telemetry.metrics import Metrics
    from sidecar.workers.crew import Crew
    from sidecar.workers.link import Message


async def figures_message(metrics: Metrics, pid: int) -> Message:
    """Give a worker's figures as it tells them to its parent."""
    families = tuple(await metrics.families())
    return {"pid": pid, "families": b64encode(pickle.dumps(families)).decode()}


@dataclass(frozen=True, slots=True)
class CrewMetrics:
    """The figures of the parent and of all workers, those that ended included."""

    own: Metrics
    crew: Crew
    remembered: Remembered = field(default_factory=Remembered)

    async def families(self) -> Iterable[Metric]:
        """Give them as they are now. Raises JournalUnavailableError where a worker does not answer."""
        for number, answer in (await self.crew.switch.ask_each({"what": "figures"})).items():
            families = pickle.loads(b64decode(answer["families"]))  # noqa: S301  (a worker's own words)
            self.remembered.take(number, answer["pid"], families)
        self.remembered.take(-1, 0, tuple(await self.own.families()))
        return self.remembered.together()


def crew_console(parent: Parent, clock: Clock) -> AbstractAsyncContextManager[str]:
    """Serve a parent's console within the context; give its URL, or nothing where there is none."""
    operated = Operated(
        in_force=parent.in_force,
        host=parent.host,
        metrics=CrewMetrics(parent.metrics, parent.crew),
        probes=_probes(parent, clock),
        reloader=parent.reloader,
        on_order=lambda: parent.crew.switch.tell_all({"what": "orders"}),
    )
    return console(operated, clock)


def _probes(parent: Parent, clock: Clock) -> dict[str, Probe]:
    async def upstream() -> None:
        pool = UpstreamPool(parent.in_force.settings.upstream)
        try:
            (await pool.connect(fresh=True)).abort()
        finally:
            await pool.close()

    async def journal() -> None:
        await parent.journal.check(at=clock())

    async def outbox() -> str | None:
        sizes = await parent.journal.outbox_sizes()
        age_s = 0.0 if sizes.oldest_owed_at is None else clock() - sizes.oldest_owed_at
        limit_s = parent.in_force.settings.console.outbox_age_max_s
        return None if age_s <= limit_s else f"a call has been owed for {age_s:.0f} s; see `sidecar outbox list`"

    async def process() -> str | None:
        if parent.stopping:
            return "stopping"
        return None if parent.crew.switch.numbers else "no worker is there; they are being replaced"

    return {"process": process, "upstream": upstream, "journal": journal, "outbox": outbox}
