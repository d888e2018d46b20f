"""What the operator may do from beside a running sidecar: look at turns and the outbox, have dead steps tried again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.engine.history import history_of
from sidecar.engine.orders import CANCELLABLE
from sidecar.turn.events import StepRevived
from sidecar.turn.state import StepState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.history import HistoryEntry, TurnHistory
    from sidecar.engine.ports import Clock, StepRow
    from sidecar.turn.state import Cause, State, Turn


REASON_CHARS_MAX: Final = 500
DROPPABLE: Final = frozenset({"pending", "leased", "dead"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFilter:
    """Which turns: those that have what is not None."""

    state: State | None = None
    cause: Cause | None = None
    route: str | None = None


ANY_TURN: Final = TurnFilter()
NEWEST: Final = (math.inf, "")
"""The place before all turns: when one was made, and its id."""
ID_MAX: Final = 2**63 - 1


class OperatorReads(Protocol):
    """The journal, as the operator reads it; newest first. Raises JournalUnavailableError."""

    async def turns(self, state: State | None = None, limit: int = 50) -> Sequence[Turn]:
        """Give turns, of one state or of all."""

    async def of_request(self, request_id: str, limit: int = 10) -> Sequence[Turn]:
        """Give the turns of a request id, whoever's they are."""

    async def page(
        self, which: TurnFilter = ANY_TURN, *, before: tuple[float, str] = NEWEST, limit: int = 50
    ) -> Sequence[Turn]:
        """Give turns that come after a place in their order: when one was made, and its id."""

    async def outbox(self, state: str | None = None, limit: int = 50, *, before: int = ID_MAX) -> Sequence[StepRow]:
        """Give rows of the outbox with ids below `before`, of one state or of all."""

    async def step(self, step_id: int) -> StepRow | None:
        """Give a row of the outbox."""

    async def dead_steps(self) -> Sequence[StepRow]:
        """Give all dead steps."""

    async def load(self, turn_id: str) -> Turn | None:
        """Give a turn."""

    async def steps_of(self, turn_id: str) -> Sequence[StepRow]:
        """Give a turn's rows of the outbox, in the order of their calls."""

    async def recorded(self, turn_id: str) -> Sequence[HistoryEntry]:
        """Give what was recorded of a turn, in the order in which it was."""

    async def order_cancel(self, turn_id: str, *, at: float) -> None:
        """Order a turn to be cancelled by whoever runs turns."""

    async def order_drop(self, row: StepRow, *, reason: str, at: float) -> None:
        """Order a step to be dropped by whoever runs turns."""


class OperatorDesk:
    """The operator's view and hand. `on_order` is called when there is an order: who runs turns need not be slow."""

    def __init__(
        self, journal: OperatorReads, driver: Driver, clock: Clock, on_order: Callable[[], None] = lambda: None
    ) -> None:
        self._journal = journal
        self._on_order = on_order
        self._driver = driver
        self._clock = clock

    async def turns(self, state: State | None = None, limit: int = 50) -> Sequence[Turn]:
        """Give turns, newest first."""
        return await self._journal.turns(state, limit)

    async def turn(self, turn_id: str) -> Turn | None:
        """Give a turn; None for an unknown one."""
        return await self._journal.load(turn_id)

    async def of_request(self, request_id: str) -> Sequence[Turn]:
        """Give the turns of a request id, whoever's they are, newest first."""
        return await self._journal.of_request(request_id)

    async def page(
        self, which: TurnFilter = ANY_TURN, *, before: tuple[float, str] = NEWEST, limit: int = 50
    ) -> Sequence[Turn]:
        """Give turns, newest first, that come after a place in that order."""
        return await self._journal.page(which, before=before, limit=limit)

    async def outbox(self, state: str | None = None, limit: int = 50, *, before: int = ID_MAX) -> Sequence[StepRow]:
        """Give rows of the outbox with ids below `before`, newest first."""
        return await self._journal.outbox(state, limit, before=before)

    async def history(self, turn_id: str) -> TurnHistory | None:
        """Give a turn and all that is known to have happened to it; None for an unknown one."""
        turn = await self._journal.load(turn_id)
        if turn is None:
            return None
        return history_of(turn, await self._journal.steps_of(turn_id), await self._journal.recorded(turn_id))

    async def cancel(self, turn_id: str) -> bool:
        """Have a turn cancelled by the running sidecar, or the next one; False where there is nothing to cancel."""
        turn = await self._journal.load(turn_id)
        if turn is None or turn.state not in CANCELLABLE:
            return False
        await self._journal.order_cancel(turn_id, at=self._clock())
        self._on_order()
        return True

    async def retry(self, step_id: int) -> bool:
        """Have a dead step tried again from its first attempt on; False where there is none, or nobody wants it now."""
        row = await self._journal.step(step_id)
        return row is not None and row.state == "dead" and await self._revive(row)

    async def drop(self, step_id: int, *, reason: str) -> bool:
        """Have a step given up for good by the running sidecar, or the next one; False where it is over already."""
        row = await self._journal.step(step_id)
        if row is None or row.state not in DROPPABLE:
            return False
        await self._journal.order_drop(row, reason=reason, at=self._clock())
        self._on_order()
        return True

    async def retry_all(self) -> int:
        """Have every dead step tried again that is still wanted; give their number."""
        return sum([await self._revive(row) for row in await self._journal.dead_steps()])

    async def _revive(self, row: StepRow) -> bool:
        turn = await self._driver.apply(row.turn_id, StepRevived(at=self._clock(), kind=row.kind))
        return turn is not None and turn.steps.get(row.kind) is StepState.PENDING
