"""Recovery runs once at boot, before anyone is listened to: every unsettled turn is settled by the laws.

What was answered is confirmed, what was not is cancelled (law 5); what was owed is owed on (law 2). What waits for a
call is left alone: the call's outcome moves it. So an outage's backlog holds up no start; what was under way does, but
that is no more than there were connections.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.engine import causes
from sidecar.engine.changes import change_of
from sidecar.engine.unobserved import UNOBSERVED
from sidecar.turn.events import Restarted
from sidecar.turn.machine import step

if TYPE_CHECKING:
    from sidecar.engine.ports import Clock, Journal, TurnObserver
    from sidecar.turn.state import Turn

BATCH: Final = 1000

log = structlog.get_logger()


async def recover(journal: Journal, clock: Clock, observer: TurnObserver = UNOBSERVED) -> int:
    """Settle what an earlier run left behind; give the number of turns looked at. Raises JournalUnavailableError."""
    await journal.release_leases()
    recovered, after = 0, ""
    committing: list[asyncio.Future[None]] = []
    while turns := await journal.unsettled(after=after, limit=BATCH):
        await asyncio.gather(*committing)  # a batch is read while the one before is written
        committing = [future for turn in turns for future in _restart(journal, turn, clock(), observer)]
        recovered += len(turns)
        after = turns[-1].id
    await asyncio.gather(*committing)
    if recovered:
        log.info("recovered", turns=recovered)
    return recovered


def _restart(journal: Journal, turn: Turn, at: float, observer: TurnObserver) -> list[asyncio.Future[None]]:
    after, effects = step(turn, Restarted(at=at))
    causes.tell(turn, after)
    observer.turn_moved(turn, after)
    change = change_of(after, effects, at=at)
    return [journal.submit(change)] if after != turn or change.owed else []
