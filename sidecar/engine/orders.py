"""Carries out what the operator orders from another process: an order lies in the journal until it is carried out.

Only the running sidecar steps turns, so that the command line never writes over what happens at the same moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sidecar.engine.ports import StepUpdate
from sidecar.engine.service import PeriodicService
from sidecar.turn.events import CancelRequested, StepDropped
from sidecar.turn.state import Cause, State, StepState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.ports import Clock, Order
    from sidecar.turn.state import Turn

INTERVAL_S: Final = 0.5

log = structlog.get_logger()


class OrderBook(Protocol):
    """The journal's orders. Every coroutine raises JournalUnavailableError."""

    async def orders(self) -> Sequence[Order]:
        """Give the orders, first come first."""

    async def forget_order(self, order: Order) -> None:
        """Forget an order that was carried out."""


class Orders(PeriodicService):
    """Cancels what the operator wants cancelled, and drops the steps that they want no more."""

    def __init__(self, book: OrderBook, driver: Driver, clock: Clock) -> None:
        super().__init__(INTERVAL_S)
        self._book = book
        self._driver = driver
        self._clock = clock

    async def run_once(self) -> int:
        """Carry out every order; give their number."""
        ordered = await self._book.orders()
        for order in ordered:
            turn = await self._carry_out(order)
            await self._book.forget_order(order)
            state, step = turn.state.value if turn else None, order.step.value if order.step else None
            log.info("order", turn=order.turn_id, drops=step, reason=order.reason, state=state)
        return len(ordered)

    async def _carry_out(self, order: Order) -> Turn | None:
        at = self._clock()
        if order.step is None:
            return await self._driver.apply(order.turn_id, CancelRequested(at=at, cause=Cause.OPERATOR))
        update = StepUpdate(
            turn_id=order.turn_id,
            kind=order.step,
            state=StepState.DROPPED,
            attempts=order.attempts,
            due_at=at,
            error=order.reason,
        )
        return await self._driver.apply(order.turn_id, StepDropped(at=at, kind=order.step), update)


CANCELLABLE: Final = frozenset({State.OPEN, State.ANSWERED, State.CONFIRMING, State.COMPLETED})
"""What an operator may cancel: a completed turn at any time, for there is nobody to be surprised by it but them."""
