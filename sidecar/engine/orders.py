"""Carries out what the operator orders from another process: an order lies in the journal until it is carried out.

Only the running sidecar steps turns, so that the command line never writes over what happens at the same moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sidecar.engine.service import PeriodicService
from sidecar.turn.events import CancelRequested
from sidecar.turn.state import Cause, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.ports import Clock

INTERVAL_S: Final = 0.5

log = structlog.get_logger()


class OrderBook(Protocol):
    """The journal's orders. Every coroutine raises JournalUnavailableError."""

    async def orders(self) -> Sequence[str]:
        """Give the ids of turns that are to be cancelled, in the order of the orders."""

    async def drop_order(self, turn_id: str) -> None:
        """Forget an order that was carried out."""


class Orders(PeriodicService):
    """Cancels what the operator wants cancelled."""

    def __init__(self, book: OrderBook, driver: Driver, clock: Clock) -> None:
        super().__init__(INTERVAL_S)
        self._book = book
        self._driver = driver
        self._clock = clock

    async def run_once(self) -> int:
        """Carry out every order; give their number."""
        ordered = await self._book.orders()
        for turn_id in ordered:
            event = CancelRequested(at=self._clock(), cause=Cause.OPERATOR)
            turn = await self._driver.apply(turn_id, event)
            await self._book.drop_order(turn_id)
            log.info("order", turn=turn_id, state=turn.state.value if turn else None)
        return len(ordered)


CANCELLABLE: Final = frozenset({State.OPEN, State.ANSWERED, State.CONFIRMING, State.COMPLETED})
"""What an operator may cancel: a completed turn at any time, for there is nobody to be surprised by it but them."""
