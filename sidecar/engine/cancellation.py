"""What a request to cancel comes to (law 6): first, twice, late, or from a stranger.

Only turns of the asking principal are looked at, so a stranger gets the same answer as for an unknown id. A request
id that is known decides alone; the conversation id is asked only where it is not.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING

from sidecar.engine.ports import Change, Tombstone
from sidecar.turn.events import CancelRequested
from sidecar.turn.state import Cause, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.ports import Clock, Journal
    from sidecar.engine.tombstones import Tombstones
    from sidecar.turn.state import Turn


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
        asked = [("request_id", request_id), ("conversation_id", conversation_id)]
        ids = [(name, value) for name, value in asked if value is not None]
        for name, value in ids:
            if turns := self._live(principal, name, value) or await self._stored(principal, name, value):
                return await self._cancel_known(turns, grace_s)
        if turns := [turn for name, value in ids for turn in self._live(principal, name, value)]:
            return await self._cancel_known(turns, grace_s)  # it came while the journal was being asked
        await self._remember(principal, ids)
        return CancelOutcome.REMEMBERED

    def _live(self, principal: str, name: str, value: str) -> Sequence[Turn]:
        return [live.turn for live in self._driver.live_with(principal, name, value)]

    async def _stored(self, principal: str, name: str, value: str) -> Sequence[Turn]:
        if name == "request_id":
            return await self._journal.find(principal, request_id=value, limit=1)
        return await self._journal.find(principal, conversation_id=value, limit=1)

    async def _cancel_known(self, turns: Sequence[Turn], grace_s: float) -> CancelOutcome:
        outcomes = await asyncio.gather(*(self._cancel_turn(turn, grace_s) for turn in turns))
        return CancelOutcome.CANCELLED if CancelOutcome.CANCELLED in outcomes else CancelOutcome.COMPLETED

    async def _cancel_turn(self, turn: Turn, grace_s: float) -> CancelOutcome:
        if turn.state in {State.CANCELLING, State.CANCELLED, State.UNRESOLVED}:
            return CancelOutcome.CANCELLED
        now = self._clock()
        if turn.state not in {State.OPEN, State.ANSWERED} and not await self._may_undo(turn, now, grace_s):
            return CancelOutcome.COMPLETED
        await self._driver.apply(turn.id, CancelRequested(at=now, cause=Cause.REQUESTED))
        return CancelOutcome.CANCELLED

    async def _may_undo(self, turn: Turn, now: float, grace_s: float) -> bool:
        """Late, only a conversation that this turn began, and that no other turn confirmed, is undone (laws 3, 6)."""
        delivered_at = turn.confirmed_at
        if not turn.begins or delivered_at is None or now > delivered_at + grace_s:
            return False
        return not (await self._journal.neighbours(turn)).confirmed

    async def _remember(self, principal: str, ids: Sequence[tuple[str, str]]) -> None:
        """Set tombstones: in memory at once, so that no request slips in between, then durably."""
        now = self._clock()
        expires_at = now + self._tombstone_ttl_s
        tombstones = [
            Tombstone(principal=principal, name=name, value=value, expires_at=expires_at) for name, value in ids
        ]
        for tombstone in tombstones:
            self._tombstones.add(tombstone)
        await asyncio.gather(*(self._journal.submit(Change(tombstone=tombstone, at=now)) for tombstone in tombstones))
