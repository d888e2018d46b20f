"""What a request to cancel comes to (law 6): first, twice, late, or from a stranger.

Only turns of the asking principal are looked at, so a stranger gets the same answer as for an unknown id. A request
id that is known decides alone. Where it is not, the request may still be on its way: it is remembered, and the
conversation id stops what is under way there, but undoes nothing that was delivered before.

A newcomer that waits at the fence is as much under way as a turn. The request id of whatever was cancelled is
remembered: neither such a newcomer nor a request that comes again later goes upstream.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sidecar.engine.ports import Change, Tombstone
from sidecar.turn.events import CancelRequested
from sidecar.turn.state import Cause, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.ports import Clock, Journal
    from sidecar.engine.tombstones import Tombstones
    from sidecar.turn.state import Turn

_UNDER_WAY: Final = frozenset({State.OPEN, State.ANSWERED})
_UNDONE: Final = frozenset({State.CANCELLING, State.CANCELLED, State.UNRESOLVED})


class CancelOutcome(StrEnum):
    """What the asker is told."""

    CANCELLED = "cancelled"
    """Stopped now, or before."""
    REMEMBERED = "remembered"
    """Nothing known of it yet: should the request still come, it goes nowhere."""
    COMPLETED = "completed"
    """It ended before the cancel came, and stays."""


class CancelDesk:
    """Takes in requests to cancel."""

    def __init__(
        self, journal: Journal, driver: Driver, tombstones: Tombstones, clock: Clock, *, tombstone_ttl_s: float
    ) -> None:
        self._journal = journal
        self._driver = driver
        self._tombstones = tombstones
        self._clock = clock
        self._tombstone_ttl_s = tombstone_ttl_s

    async def cancel(
        self, principal: str, *, request_id: str | None, conversation_id: str | None, grace_s: float
    ) -> CancelOutcome:
        """Cancel the principal's turn or turns that the ids mean; done when that is durable.

        Raises JournalUnavailableError.
        """
        if request_id is not None:
            known = self._live(principal, "request_id", request_id)
            if turns := known or await self._journal.find(principal, request_id=request_id, limit=1):
                return await self._cancel_known(turns, grace_s)
        stored: Sequence[Turn] = ()
        if conversation_id is not None and not self._live(principal, "conversation_id", conversation_id):
            stored = await self._journal.find(principal, conversation_id=conversation_id, limit=1)
        return await self._cancel_asked(principal, request_id, conversation_id, stored, grace_s)

    async def _cancel_asked(
        self,
        principal: str,
        request_id: str | None,
        conversation_id: str | None,
        stored: Sequence[Turn],
        grace_s: float,
    ) -> CancelOutcome:
        """Decide, now that the journal was asked; what came meanwhile is live, and looked at before all else."""
        if request_id is not None and (came := self._live(principal, "request_id", request_id)):
            return await self._cancel_known(came, grace_s)
        there = self._in_conversation(principal, conversation_id) or stored
        if request_id is None and there:
            return await self._cancel_known(there, grace_s)
        ids = [("request_id", request_id), ("conversation_id", None if there else conversation_id)]
        remembered = self._remember(principal, [(name, value) for name, value in ids if value is not None])
        undone = [turn for turn in there if turn.state in _UNDER_WAY | _UNDONE]
        _, *outcomes = await asyncio.gather(remembered, *(self._cancel_turn(turn, grace_s) for turn in undone))
        return CancelOutcome.CANCELLED if outcomes else CancelOutcome.REMEMBERED

    def _in_conversation(self, principal: str, conversation_id: str | None) -> Sequence[Turn]:
        """Give what a conversation's id means: what is under way there; only else what ended but is still live."""
        live = self._live(principal, "conversation_id", conversation_id) if conversation_id is not None else ()
        return [turn for turn in live if turn.state in _UNDER_WAY] or live

    def _live(self, principal: str, name: str, value: str) -> Sequence[Turn]:
        live = [live.turn for live in self._driver.live_with(principal, name, value)]
        return [*live, *self._driver.fence.newcomers(principal, name, value)]

    async def _cancel_known(self, turns: Sequence[Turn], grace_s: float) -> CancelOutcome:
        outcomes = await asyncio.gather(*(self._cancel_turn(turn, grace_s) for turn in turns))
        return CancelOutcome.CANCELLED if CancelOutcome.CANCELLED in outcomes else CancelOutcome.COMPLETED

    async def _cancel_turn(self, turn: Turn, grace_s: float) -> CancelOutcome:
        now = self._clock()
        undone = turn.state in _UNDONE
        if not undone and turn.state not in _UNDER_WAY and not await self._may_undo(turn, now, grace_s):
            return CancelOutcome.COMPLETED
        tombstones = self._set_tombstones(turn.principal, [("request_id", turn.request_id)])
        if not undone:
            await self._driver.apply(turn.id, CancelRequested(at=now, cause=Cause.REQUESTED))
        await self._keep(tombstones)
        return CancelOutcome.CANCELLED

    async def _may_undo(self, turn: Turn, now: float, grace_s: float) -> bool:
        """Late, only a conversation that this turn began, and that no other turn confirmed, is undone (laws 3, 6)."""
        delivered_at = turn.confirmed_at
        if not turn.begins or delivered_at is None or now > delivered_at + grace_s:
            return False
        return not (await self._journal.neighbours(turn)).confirmed

    def _remember(self, principal: str, ids: Sequence[tuple[str, str]]) -> asyncio.Future[list[None]]:
        """Set tombstones; done when they are durable."""
        return self._keep(self._set_tombstones(principal, ids))

    def _set_tombstones(self, principal: str, ids: Sequence[tuple[str, str]]) -> Sequence[Tombstone]:
        """Set tombstones in memory, at once, so that no request slips in between."""
        expires_at = self._clock() + self._tombstone_ttl_s
        tombstones = [
            Tombstone(principal=principal, name=name, value=value, expires_at=expires_at) for name, value in ids
        ]
        for tombstone in tombstones:
            self._tombstones.add(tombstone)
            self._driver.fence.wake(tombstone.value)
        return tombstones

    def _keep(self, tombstones: Sequence[Tombstone]) -> asyncio.Future[list[None]]:
        """Make tombstones durable."""
        at = self._clock()
        return asyncio.gather(*(self._journal.submit(Change(tombstone=tombstone, at=at)) for tombstone in tombstones))
