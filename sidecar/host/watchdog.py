"""Shows the supervisor that the process is alive: that its loop turns, and that its journal takes transactions.

A journal that says no, such as one on a full disk that cannot grow, has answered: a restart would mend nothing and
end every stream. Only where it does not answer at all is the watchdog left to bite.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sidecar.engine.service import PeriodicService
from sidecar.errors import JournalUnavailableError

if TYPE_CHECKING:
    from sidecar.host.supervisor import Supervisor

TELLINGS: Final = 3
"""How often it is told within the time in which it has to hear something: one may come late."""

log = structlog.get_logger()


class Pulse(Protocol):
    """What is asked whether it is alive."""

    async def probe(self) -> None:
        """Come back once a transaction was begun and ended. Raises JournalUnavailableError."""


class Watchdog(PeriodicService):
    """Tells a supervisor that asks for it. `within_s` is the time in which it has to hear something."""

    def __init__(self, supervisor: Supervisor, journal: Pulse, *, within_s: float) -> None:
        super().__init__(within_s / TELLINGS)
        self._supervisor = supervisor
        self._journal = journal
        self._patience_s = within_s / TELLINGS

    async def run_once(self) -> int:
        """Tell it once, if there is a reason to; give how often it was told."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._journal.probe()
        except TimeoutError:
            log.error("journal_silent", for_s=self._patience_s)  # noqa: TRY400  (no bug: no traceback)
            return 0
        except JournalUnavailableError as error:
            log.warning("journal_unwell", error=str(error))
        self._supervisor.alive()
        return 1
