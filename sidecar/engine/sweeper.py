"""The sweeper finds the overdue: turns still open or answered when their temporary conversation has grown too old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from sidecar.engine.service import PeriodicService
from sidecar.turn.events import Expired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.ports import Clock, Journal

INTERVAL_MAX_S: Final = 30.0
BATCH: Final = 1000

log = structlog.get_logger()


class Sweeper(PeriodicService):
    """Has what is older than `temp_ttl_s` rolled back (M9)."""

    def __init__(self, journal: Journal, driver: Driver, clock: Clock, *, temp_ttl_s: float) -> None:
        super().__init__(_interval_s(temp_ttl_s))
        self._journal = journal
        self._driver = driver
        self._clock = clock
        self._temp_ttl_s = temp_ttl_s

    def use(self, *, temp_ttl_s: float) -> None:
        """Take another age for too old."""
        self._temp_ttl_s = temp_ttl_s
        self.reschedule(_interval_s(temp_ttl_s))

    async def run_once(self) -> int:
        """Expire every overdue turn; give their number.

        Each is told once: while the journal cannot be written, a live turn that has moved on still stands there as
        open, and would be found for ever.
        """
        expired: set[str] = set()
        while batch := [turn_id for turn_id in await self._overdue() if turn_id not in expired]:
            for turn_id in batch:
                await self._driver.apply(turn_id, Expired(at=self._clock()))
            expired.update(batch)
        if expired:
            log.info("swept", expired=len(expired))
        return len(expired)

    async def _overdue(self) -> Sequence[str]:
        return await self._journal.overdue(created_before=self._clock() - self._temp_ttl_s, limit=BATCH)


def _interval_s(temp_ttl_s: float) -> float:
    return min(INTERVAL_MAX_S, temp_ttl_s / 4)
