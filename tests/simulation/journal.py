"""The journal of the simulation: what is submitted is volatile until its group is written; writing takes its time.

        submit --> waiting --> group being written --> durable --> told
                   '------- a crash loses these ---'

It outlives every process of the sidecar. A read shows what was durable at some moment while it was being made.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.engine.ports import Haste
from sidecar.errors import JournalUnavailableError
from tests.fakes.memory_journal import MemoryJournal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.engine.ports import Change, Neighbours, Order, OwedStep, StepRow, Tombstone
    from sidecar.turn.state import Turn
    from tests.simulation.clock import Dice, VirtualLoop
    from tests.simulation.laws import Laws

    Group = list[tuple[Change, asyncio.Future[None]]]


class SimulatedJournal(MemoryJournal):
    """Implements `WholeJournal`. While it is `full`, it cannot be written; while `broken`, not even read."""

    def __init__(self, loop: VirtualLoop, dice: Dice, laws: Laws) -> None:
        super().__init__()
        self.full = False
        self.broken = False
        self.closed = False
        self.slow = False
        self._loop = loop
        self._dice = dice
        self._laws = laws
        self._writing: Group = []
        self._told = asyncio.Event()
        self._told.set()

    # -- changes ---------------------------------------------------------------------------------------------------

    def submit(self, change: Change) -> asyncio.Future[None]:
        """Queue a change for the next group."""
        durable: asyncio.Future[None] = self._loop.create_future()
        if self.closed:
            durable.set_exception(JournalUnavailableError("the journal is closed"))
            return durable
        self._pending.append((change, durable))
        if change.haste is Haste.LATER:
            self._loop.outside(self._delay_s(), self._write_next_unless_writing)
        else:
            self._write_next_unless_writing()
        return durable

    def crash(self) -> None:
        """Lose what is not durable yet."""
        self._pending, self._writing = [], []
        self._told = asyncio.Event()
        self._told.set()
        self.closed = False

    async def close(self) -> None:
        """Write what is pending; from then on nothing is taken."""
        self.closed = True
        if pending := [durable for _, durable in (*self._writing, *self._pending)]:
            await asyncio.wait(pending)

    def _write_next_unless_writing(self) -> None:
        if self._pending and not self._writing:
            self._write_next()

    def _write_next(self) -> None:
        self._writing, self._pending = self._pending, []
        self._loop.outside(self._delay_s(), self._write, self._writing)

    def _write(self, group: Group) -> None:
        if group is not self._writing:
            return  # lost in a crash
        self._told.clear()
        error = self._unwritable()
        for change, _ in group if error is None else ():
            self._put(change)
            if change.turn is not None:
                self._laws.committed(self._whole(change.turn))
        self._loop.outside(self._delay_s() / 2, self._tell, group, error)

    def _tell(self, group: Group, error: JournalUnavailableError | None) -> None:
        if group is not self._writing:
            return
        self._writing = []
        self._told.set()
        for _, durable in group:
            if not durable.done():
                durable.set_result(None) if error is None else durable.set_exception(error)
        if self._pending:
            self._write_next()

    # -- what the laws look at -------------------------------------------------------------------------------------

    def holds(self, turn_id: str) -> bool:
        """Say whether the turn is durable."""
        return turn_id in self._turns

    def durable(self) -> list[Turn]:
        """Give every turn, as it is durable."""
        return [self._whole(turn) for turn in self._turns.values()]

    def ordered(self) -> list[str]:
        """Give the turns about which an operator ordered something."""
        return [order.turn_id for order in self._orders]

    def rows(self) -> list[StepRow]:
        """Give every row of the outbox."""
        return [step.row for step in self._outbox]

    # -- reads, and transactions of their own ----------------------------------------------------------------------

    async def load(self, turn_id: str) -> Turn | None:
        await self._pause()
        turn = await super().load(turn_id)
        await self._pause()
        return turn

    async def find(
        self, principal: str, *, request_id: str | None = None, conversation_id: str | None = None, limit: int = 10
    ) -> Sequence[Turn]:
        await self._pause()
        turns = await super().find(principal, request_id=request_id, conversation_id=conversation_id, limit=limit)
        await self._pause()
        return turns

    async def unsettled(self, *, after: str = "", limit: int = 1000) -> Sequence[Turn]:
        await self._pause()
        return await super().unsettled(after=after, limit=min(limit, 2))  # pages: a limit is the most, not the number

    async def overdue(self, *, created_before: float, limit: int = 1000) -> Sequence[str]:
        await self._pause()
        turn_ids = await super().overdue(created_before=created_before, limit=limit)
        await self._pause()
        return turn_ids

    async def neighbours(self, turn: Turn) -> Neighbours:
        await self._pause()
        self._laws.looked_at[turn.id] = self._loop.time()
        neighbours = await super().neighbours(turn)
        await self._pause()
        return neighbours

    async def in_conversations(self, ids: Sequence[str]) -> Sequence[Turn]:
        await self._pause()
        turns = await super().in_conversations(ids)
        await self._pause()
        return turns

    async def lease(self, *, now: float, until: float, limit: int) -> Sequence[OwedStep]:
        await self._pause()
        await self._told.wait()  # there is one writer
        self._check_writable()
        steps = await super().lease(now=now, until=until, limit=limit)
        await self._pause()
        return steps

    async def release_leases(self) -> int:
        await self._pause()
        self._check_writable()
        return await super().release_leases()

    async def tombstones(self, *, now: float) -> Sequence[Tombstone]:
        await self._pause()
        return await super().tombstones(now=now)

    async def prune(self, *, settled_before: float, now: float, limit: int = 1000) -> int:
        await self._pause()
        self._check_writable()
        return await super().prune(settled_before=settled_before, now=now, limit=limit)

    async def order_cancel(self, turn_id: str, *, at: float) -> None:
        await self._pause()
        self._check_writable()
        await super().order_cancel(turn_id, at=at)

    async def order_drop(self, row: StepRow, *, reason: str, at: float) -> None:
        await self._pause()
        self._check_writable()
        await super().order_drop(row, reason=reason, at=at)

    async def forget_order(self, order: Order) -> None:
        await self._pause()
        self._check_writable()
        await super().forget_order(order)

    async def step(self, step_id: int) -> StepRow | None:
        await self._pause()
        return await super().step(step_id)

    async def dead_steps(self) -> Sequence[StepRow]:
        await self._pause()
        return await super().dead_steps()

    # -- leaves ----------------------------------------------------------------------------------------------------

    def _unwritable(self) -> JournalUnavailableError | None:
        return JournalUnavailableError("the disk is full") if self.full or self.broken else None

    def _check(self) -> None:
        if self.broken:
            raise JournalUnavailableError("the disk is broken")

    def _check_writable(self) -> None:
        if (error := self._unwritable()) is not None:
            raise error

    async def _pause(self) -> None:
        await asyncio.sleep(0 if self._dice.chance(0.7) else self._delay_s())

    def _delay_s(self) -> float:
        return self._dice.between(0.0005, 0.02) * (40 if self.slow else 1)
