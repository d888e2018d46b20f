"""A journal in memory that keeps the promises of the port, for simulations: no file, no thread, no wait but the loop's.

What is submitted becomes durable when the loop goes round; `crash` loses what is not durable yet, as a kill would.
While `trouble` names a reason, nothing can be read or written.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.engine.history import to_record
from sidecar.engine.operator import ANY_TURN, ID_MAX, NEWEST, OperatorReads, TurnFilter
from sidecar.engine.orders import OrderBook
from sidecar.engine.ports import Journal, Neighbours, Order, OwedStep, Tombstone
from sidecar.engine.standing import TurnIds
from sidecar.errors import JournalUnavailableError
from sidecar.turn.state import UNSETTLED, State, StepKind, Turn
from tests.fakes.memory_outbox import RANK, MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sidecar.engine.history import HistoryEntry
    from sidecar.engine.ports import Change, StepRow
    from sidecar.turn.state import StepState
    from tests.fakes.memory_outbox import MemoryStep

NOTHING_OWED: Final[Mapping[StepKind, StepState]] = MappingProxyType({})
UNDER_WAY: Final = frozenset({State.OPEN, State.ANSWERED})
CONFIRMED: Final = frozenset({State.CONFIRMING, State.COMPLETED})
PRUNABLE: Final = frozenset({State.COMPLETED, State.CANCELLED, State.REFUSED})


class WholeJournal(Journal, OperatorReads, OrderBook, Protocol):
    """What every journal must be: the engine's port, what the operator reads, and their orders."""

    async def close(self) -> None:
        """Make durable what is pending; after that, nothing is available."""


class MemoryJournal:
    """Implements `WholeJournal`."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self._turns: dict[str, Turn] = {}
        self._outbox = MemoryOutbox()
        self._tombstones: dict[tuple[str, str, str], Tombstone] = {}
        self._orders: dict[Order, float] = {}
        self._history: dict[str, list[HistoryEntry]] = {}
        self._pending: list[tuple[Change, asyncio.Future[None]]] = []

    # -- changes ---------------------------------------------------------------------------------------------------

    def submit(self, change: Change) -> asyncio.Future[None]:
        """Queue a change; it is durable when the loop has gone round."""
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        if not self._pending:
            loop.call_soon(self._commit)
        self._pending.append((change, durable))
        return durable

    def crash(self) -> None:
        """Lose what is not durable yet; whoever waits for it waits for ever."""
        self._pending.clear()

    async def close(self) -> None:
        """Commit what is pending; from then on nothing is available."""
        self._commit()
        self.trouble = "is closed"

    def _commit(self) -> None:
        pending, self._pending = self._pending, []
        for change, durable in pending:
            error = self._unavailable() or self._put(change)
            if not durable.done():
                durable.set_result(None) if error is None else durable.set_exception(error)

    def _put(self, change: Change) -> JournalUnavailableError | None:
        if change.owed and change.turn is None:
            return JournalUnavailableError("the journal rejected a change: it owes steps and names no turn")
        if change.turn is not None:
            self._put_turn(change.turn)
        if change.update is not None:
            self._outbox.update(change.update)
        for kind in change.owed:
            self._outbox.owe(change.turn.id if change.turn else "", kind, change.at, change.due_at(kind))
        if change.lease is not None and change.turn is not None:
            self._outbox.lease(change.turn.id, change.lease)
        if change.tombstone is not None:
            self._put_tombstone(change.tombstone)
        self._record(change)
        return None

    def _record(self, change: Change) -> None:
        turn_id = change.turn.id if change.turn else change.update.turn_id if change.update else ""
        if turn_id in self._turns:
            self._history.setdefault(turn_id, []).extend(to_record(change))

    def _put_turn(self, turn: Turn) -> None:
        """Keep the turn without what belongs to its connection or to the outbox."""
        self._turns[turn.id] = replace(turn, steps=NOTHING_OWED, heard=True, listening=False)

    def _put_tombstone(self, tombstone: Tombstone) -> None:
        key = (tombstone.principal, tombstone.name, tombstone.value)
        known = self._tombstones.get(key)
        if known is None or known.expires_at < tombstone.expires_at:
            self._tombstones[key] = tombstone

    # -- turns -----------------------------------------------------------------------------------------------------

    async def load(self, turn_id: str) -> Turn | None:
        """Give a turn with its steps."""
        self._check()
        return self._whole(self._turns[turn_id]) if turn_id in self._turns else None

    async def find(
        self, principal: str, *, request_id: str | None = None, conversation_id: str | None = None, limit: int = 10
    ) -> Sequence[Turn]:
        """Give a principal's turns with that request id or conversation id (temp ids too), newest first."""
        self._check()

        def meant(turn: Turn) -> bool:
            by_request = request_id is not None and turn.request_id == request_id
            return by_request or (
                conversation_id is not None and conversation_id in {turn.conversation_id, turn.temp_id}
            )

        return self._newest((t for t in self._turns.values() if t.principal == principal and meant(t)), limit)

    async def in_conversations(self, ids: Sequence[str]) -> Sequence[Turn]:
        """Give what tells whether conversations, known by these ids (temp ids too), are gone."""
        self._check()
        there = {
            name: [turn for turn in self._turns.values() if name in {turn.conversation_id, turn.temp_id}]
            for name in ids
        }
        found = {
            turn.id: self._whole(turn)
            for turns in there.values()
            if any(turn.begins and turn.state not in CONFIRMED | {State.REFUSED} for turn in turns)
            for turn in turns
            if turn.begins or turn.state in CONFIRMED
        }
        return list(found.values())

    async def unsettled(self, *, after: str = "", limit: int = 1000) -> Sequence[Turn]:
        """Give turns that are not settled and wait for no call, with ids greater than `after`, in the order of ids."""
        self._check()
        unsettled = {turn_id for turn_id, turn in self._turns.items() if turn.state in UNSETTLED and turn_id > after}
        found = sorted(turn_id for turn_id in unsettled if not self._waits_for_a_call(turn_id))
        return [self._whole(self._turns[turn_id]) for turn_id in found[:limit]]

    async def standing(self, *, limit: int) -> Sequence[TurnIds]:
        """Give the ids of turns that are not settled for good."""
        self._check()
        found = [turn for turn in self._turns.values() if turn.state in UNSETTLED | {State.UNRESOLVED}]
        return [TurnIds(t.id, t.principal, t.request_id, t.conversation_id, t.temp_id) for t in found[:limit]]

    async def overdue(self, *, created_before: float, limit: int = 1000) -> Sequence[str]:
        """Give the ids of open and answered turns made before the given time, oldest first."""
        self._check()
        found = [t for t in self._turns.values() if t.state in UNDER_WAY and t.created_at < created_before]
        return [turn.id for turn in sorted(found, key=lambda turn: turn.created_at)[:limit]]

    async def neighbours(self, turn: Turn) -> Neighbours:
        """Say what the other turns in the turn's conversation mean for it; nothing where its id is not known."""
        self._check()
        states = self._neighbouring(turn)
        return Neighbours(confirmed=bool(states & CONFIRMED), unsettled=bool(states & UNDER_WAY))

    async def turns(self, state: State | None = None, limit: int = 50) -> Sequence[Turn]:
        """Give the newest turns, newest first."""
        self._check()
        return await self.page(TurnFilter(state=state), limit=limit)

    async def page(
        self, which: TurnFilter = ANY_TURN, *, before: tuple[float, str] = NEWEST, limit: int = 50
    ) -> Sequence[Turn]:
        """Give turns that come after a place in their order."""
        self._check()
        wanted = (which.state, which.cause, which.route)
        found = [
            turn
            for turn in self._turns.values()
            if all(want in {None, one} for want, one in zip(wanted, (turn.state, turn.cause, turn.route), strict=True))
        ]
        return self._newest((turn for turn in found if (turn.created_at, turn.id) < before), limit)

    async def of_request(self, request_id: str, limit: int = 10) -> Sequence[Turn]:
        """Give the turns of a request id, whoever's they are, newest first."""
        self._check()
        return self._newest((turn for turn in self._turns.values() if turn.request_id == request_id), limit)

    # -- the outbox ------------------------------------------------------------------------------------------------

    async def lease(self, *, now: float, until: float, limit: int) -> Sequence[OwedStep]:
        """Lease due steps that are free, oldest due first."""
        self._check()
        due = [s for s in self._outbox if s.due_at <= now and s.next_at <= now and self._is_free(s)]
        leased = sorted(due, key=lambda step: (step.due_at, step.id))[:limit]
        given = [self._owed(step) for step in leased]
        for step in leased:
            step.state, step.lease_until = "leased", until
        return given

    async def next_due_at(self) -> float | None:
        """Say when `lease` next has something to give, as things stand."""
        self._check()
        return min((step.next_at for step in self._outbox if self._is_free(step)), default=None)

    async def release_leases(self) -> int:
        """Make every leased step pending again; give their number."""
        self._check()
        leased = [step for step in self._outbox if step.state == "leased"]
        for step in leased:
            step.state = "pending"
        return len(leased)

    async def outbox(self, state: str | None = None, limit: int = 50, *, before: int = ID_MAX) -> Sequence[StepRow]:
        """Give the newest steps, newest first."""
        self._check()
        found = [step.row for step in self._outbox if state in {None, step.state} and step.id < before]
        return sorted(found, key=lambda row: -row.id)[:limit]

    async def step(self, step_id: int) -> StepRow | None:
        """Give a step by its id in the outbox."""
        self._check()
        return next((step.row for step in self._outbox if step.id == step_id), None)

    async def steps_of(self, turn_id: str) -> Sequence[StepRow]:
        """Give a turn's steps, in the order of their calls."""
        self._check()
        return [step.row for step in sorted(self._outbox.of(turn_id), key=lambda step: RANK.index(step.kind))]

    async def recorded(self, turn_id: str) -> Sequence[HistoryEntry]:
        """Give what was recorded of a turn."""
        self._check()
        return tuple(self._history.get(turn_id, ()))

    async def dead_steps(self) -> Sequence[StepRow]:
        """Give all dead steps, newest first."""
        return await self.outbox("dead", limit=len(list(self._outbox)))

    # -- the operator's orders -------------------------------------------------------------------------------------

    async def order_cancel(self, turn_id: str, *, at: float) -> None:
        """Order a turn to be cancelled; a second order changes nothing."""
        self._check()
        self._orders.setdefault(Order(turn_id=turn_id), at)

    async def order_drop(self, row: StepRow, *, reason: str, at: float) -> None:
        """Order a step to be dropped; a second order changes nothing."""
        self._check()
        if not any((order.turn_id, order.step) == (row.turn_id, row.kind) for order in self._orders):
            self._orders[Order(turn_id=row.turn_id, step=row.kind, reason=reason)] = at

    async def orders(self) -> Sequence[Order]:
        """Give the orders, first come first."""
        self._check()
        attempts = {(step.turn_id, step.kind): step.attempts for step in self._outbox}
        ordered = sorted(self._orders, key=lambda order: self._orders[order])
        return [
            replace(order, attempts=attempts.get((order.turn_id, order.step), 0) if order.step else 0)
            for order in ordered
        ]

    async def forget_order(self, order: Order) -> None:
        """Forget an order that was carried out."""
        self._check()
        self._orders = {
            one: at for one, at in self._orders.items() if (one.turn_id, one.step) != (order.turn_id, order.step)
        }

    # -- what is forgotten -----------------------------------------------------------------------------------------

    async def tombstones(self, *, now: float) -> Sequence[Tombstone]:
        """Give the tombstones that have not expired, the first to expire first."""
        self._check()
        live = [tombstone for tombstone in self._tombstones.values() if tombstone.expires_at > now]
        return sorted(live, key=lambda tombstone: tombstone.expires_at)

    async def prune(self, *, settled_before: float, now: float, limit: int = 1000) -> int:
        """Forget turns settled before that time, and expired tombstones."""
        self._check()
        turns = sorted(
            (t for t in self._turns.values() if self._is_over(t, settled_before)), key=lambda turn: turn.settled_at or 0
        )[:limit]
        for turn in turns:
            del self._turns[turn.id]
            self._outbox.forget(turn.id)
            self._history.pop(turn.id, None)
            for order in [order for order in self._orders if order.turn_id == turn.id]:
                del self._orders[order]
        expired = [key for key, tombstone in self._tombstones.items() if tombstone.expires_at <= now][:limit]
        for key in expired:
            del self._tombstones[key]
        return len(turns) + len(expired)

    # -- leaves ----------------------------------------------------------------------------------------------------

    def _unavailable(self) -> JournalUnavailableError | None:
        return JournalUnavailableError(f"the journal {self.trouble}") if self.trouble else None

    def _check(self) -> None:
        error = self._unavailable()
        if error is not None:
            raise error

    def _waits_for_a_call(self, turn_id: str) -> bool:
        under_way = self._turns[turn_id].state in UNDER_WAY
        return not under_way and any(step.state in {"pending", "leased"} for step in self._outbox.of(turn_id))

    def _whole(self, turn: Turn) -> Turn:
        return replace(turn, steps=self._outbox.states(turn.id))

    def _newest(self, turns: Iterable[Turn], limit: int) -> list[Turn]:
        ordered = sorted(turns, key=lambda turn: (turn.created_at, turn.id), reverse=True)
        return [self._whole(turn) for turn in ordered[:limit]]

    def _neighbouring(self, turn: Turn) -> set[State]:
        """Give the states of the other turns in the conversation, by whichever of its ids they know it."""
        ids = {turn.conversation_id, turn.temp_id} - {None}
        others = (other for other in self._turns.values() if other.id != turn.id)
        if turn.conversation_id is None:
            return set()
        return {t.state for t in others if t.conversation_id in ids or t.temp_id == turn.conversation_id}

    def _is_free(self, step: MemoryStep) -> bool:
        """Say whether nothing holds the step up: no earlier step of its turn, no turn under way (law 3)."""
        rollback = step.kind is StepKind.ROLLBACK
        waits = rollback and self._neighbouring(self._turns[step.turn_id]) & UNDER_WAY
        return self._outbox.first(step) and not waits

    def _owed(self, step: MemoryStep) -> OwedStep:
        return OwedStep(
            turn=self._whole(self._turns[step.turn_id]),
            kind=step.kind,
            attempts=step.attempts,
            idempotency_key=step.key,
        )

    def _is_over(self, turn: Turn, settled_before: float) -> bool:
        settled = turn.state in PRUNABLE and turn.settled_at is not None and turn.settled_at < settled_before
        needed = self._neighbouring(turn) & {*UNDER_WAY, State.CANCELLING, State.UNRESOLVED}
        return (
            settled and not needed and all(step.state in {"delivered", "dropped"} for step in self._outbox.of(turn.id))
        )
