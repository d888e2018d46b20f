"""What works on the journal from beside a running sidecar, or without one."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sidecar.config import InForce
from sidecar.engine.driver import Driver
from sidecar.engine.operator import OperatorDesk
from sidecar.journal.store import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.config import Settings


@asynccontextmanager
async def operator_journal(settings: Settings) -> AsyncIterator[OperatorDesk]:
    """Open the journal for the operator. Raises OperatorError."""
    clock = time.time
    journal = await SqliteJournal.open(settings.journal.path, plan_of=InForce(settings).plan_of, clock=clock, own=False)
    try:
        yield OperatorDesk(journal, Driver(journal, clock, on_owed=lambda: None), clock)
    finally:
        await journal.close()
