"""The pruner keeps to retention: settled turns and tombstones that nobody will ask for any more are forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from sidecar.engine.service import PeriodicService

if TYPE_CHECKING:
    from sidecar.engine.ports import Clock, Journal

INTERVAL_MAX_S: Final = 60.0
BATCH: Final = 100
"""Few enough for nobody to notice that the journal's writer has to wait meanwhile."""

log = structlog.get_logger()


class Pruner(PeriodicService):
    """Forgets what was settled more than `retention_s` ago, in small transactions."""

    def __init__(self, journal: Journal, clock: Clock, *, retention_s: float) -> None:
        super().__init__(_interval_s(retention_s))
        self._journal = journal
        self._clock = clock
        self._retention_s = retention_s

    def use(self, *, retention_s: float) -> None:
        """Keep to another retention."""
        self._retention_s = retention_s
        self.reschedule(_interval_s(retention_s))

    async def run_once(self) -> int:
        """Forget all that is due; give the number of turns and tombstones."""
        pruned = 0
        while count := await self._prune_batch():
            pruned += count
        if pruned:
            log.info("pruned", count=pruned)
        return pruned

    async def _prune_batch(self) -> int:
        now = self._clock()
        return await self._journal.prune(settled_before=now - self._retention_s, now=now, limit=BATCH)


def _interval_s(retention_s: float) -> float:
    return min(INTERVAL_MAX_S, retention_s / 4)
