"""What a request to cancel comes to (law 6): first, twice, late, or from a stranger.

Only turns of the asking principal are looked at, so a stranger gets the same answer as for an unknown id. A request
id that is known decides alone. Where it is not, the request may still be on its way: it is remembered, and the
conversation id stops what is under way there, but undoes nothing that was delivered before.

A newcomer that waits at the fence is as much under way as a turn. The request id of whatever was cancelled is
remembered: neither such a newcomer nor a request that comes again later goes upstream.

Where several processes share the work, each turn is cancelled by its owner. Before a cancel that came first is
answered, every process has its tombstone in memory; a request, which comes in at one of them, is there either live by
then, and is cancelled, or meets the tombstone later. So none slips through between two processes.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from sidecar.engine.peers import Sighting
from sidecar.engine.ports import Change, Tombstone
from sidecar.errors import TooManyError
from sidecar.turn.events import CancelRequested
from sidecar.turn.state import Cause, State

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.ports import Clock, Journal
    from sidecar.engine.tombstones import Tombstones
    from sidecar.turn.state import Turn

    Found: TypeAlias = Turn | Sighting

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
        self,
        journal: Journal,
        driver: Driver,
        tombstones: Tombstones,
        clock: Clock,
        *,
        tombstone_ttl_s: float,
        tombstones_max: int = 0,
    ) -> None:
        """Begin. `tombstones_max` is how many a principal may have; 0 is no limit."""
        self._journal = journal
        self._driver = driver
        self._tombstones = tombstones
        self._clock = clock
        self._tombstone_ttl_s = tombstone_ttl_s
        self._tombstones_max = tombstones_max

    async def cancel(
        self, principal: str, *, request_id: str | None, conversation_id: str | None, grace_s: float
    ) -> CancelOutcome:
        """Cancel the principal's turn or turns that the ids mean; done when that is durable.

        Raises JournalUnavailableError, and TooManyError where it would have to be remembered beside too many others.
        """
        if request_id is not None:
            known = self._live(principal, "request_id", request_id)
            if turns := known or await self._journal.find(principal, request_id=request_id, limit=1):
                return await self._cancel_known(turns, grace_s)
        seen = await self._driver.peers.look(principal, request_id=request_id, conversation_id=conversation_id)
        if same := [one for one in seen if one.by_request]:
            return await self._cancel_known(same, grace_s)
        there: Sequence[Found] = seen
        if conversation_id is not None and not (seen or self._live(principal, "conversation_id", conversation_id)):
            there = await self._journal.find(principal, conversation_id=conversation_id, limit=1)
        return await self._cancel_asked(principal, request_id, conversation_id, there, grace_s)

    async def _cancel_asked(
        self,
        principal: str,
        request_id: str | None,
        conversation_id: str | None,
        elsewhere: Sequence[Found],
        grace_s: float,
    ) -> CancelOutcome:
        """Decide, now that the journal was asked; what came meanwhile is live, and looked at before all else."""
        if request_id is not None and (came := self._live(principal, "request_id", request_id)):
            return await self._cancel_known(came, grace_s)
        there = self._in_conversation(principal, conversation_id, elsewhere)
        if request_id is None and there:
            return await self._cancel_known(there, grace_s)
        if 0 < self._tombstones_max <= self._tombstones.owned(principal, now=self._clock()):
            raise TooManyError(f"{self._tombstones_max} cancels of the principal are remembered already")
        ids = [("request_id", request_id), ("conversation_id", None if there else conversation_id)]
        remembered = self._remember(principal, [(name, value) for name, value in ids if value is not None], grace_s)
        undone = [turn for turn in there if turn.state in _UNDER_WAY | _UNDONE]
        stopped, came_elsewhere = await asyncio.gather(self._cancel_all(undone, grace_s), remembered)
        return _best([stopped, *came_elsewhere]) or CancelOutcome.REMEMBERED

    def _in_conversation(
        self, principal: str, conversation_id: str | None, elsewhere: Sequence[Found]
    ) -> Sequence[Found]:
        """Give what a conversation's id means: what is under way there; only else what ended but is still live."""
        live = self._live(principal, "conversation_id", conversation_id) if conversation_id is not None else ()
        there: Sequence[Found] = [*live, *elsewhere]
        return [turn for turn in there if turn.state in _UNDER_WAY] or there

    def _live(self, principal: str, name: str, value: str) -> Sequence[Turn]:
        live = [live.turn for live in self._driver.live_with(principal, name, value)]
        return [*live, *map(self._driver.owned, self._driver.fence.newcomers(principal, name, value))]

    async def _cancel_known(self, turns: Sequence[Found], grace_s: float) -> CancelOutcome:
        return await self._cancel_all(turns, grace_s) or CancelOutcome.COMPLETED

    async def _cancel_all(self, turns: Sequence[Found], grace_s: float) -> CancelOutcome | None:
        return _best(await asyncio.gather(*(self._cancel_turn(turn, grace_s) for turn in turns)))

    async def _cancel_turn(self, turn: Found, grace_s: float) -> CancelOutcome:
        if isinstance(turn, Sighting) or not self._driver.peers.own(turn):
            return await self._driver.peers.cancel(turn, grace_s=grace_s)
        return await self.cancel_own(turn, grace_s=grace_s)

    async def cancel_own(self, turn: Turn, *, grace_s: float) -> CancelOutcome:
        """Cancel a turn, or a newcomer, of this process's own; done when that is durable, and known to all peers.

        Raises JournalUnavailableError.
        """
        now = self._clock()
        undone = turn.state in _UNDONE
        if not undone and turn.state not in _UNDER_WAY and not await self._may_undo(turn, now, grace_s):
            return CancelOutcome.COMPLETED
        tombstones = self._set_tombstones(turn.principal, [("request_id", turn.request_id)])
        if not undone:
            await self._driver.apply(turn.id, CancelRequested(at=now, cause=Cause.REQUESTED))
        await self._keep(tombstones, grace_s)
        return CancelOutcome.CANCELLED

    # -- for peers -------------------------------------------------------------------------------------------------

    def seen(self, principal: str, request_id: str | None, conversation_id: str | None) -> Sequence[Sighting]:
        """Give what is known here of these ids that the journal may not yet tell."""
        ids = (("request_id", request_id), ("conversation_id", conversation_id))
        return [
            self._sighting(turn, by_request=name == "request_id")
            for name, value in ids
            if value is not None
            for turn in self._live(principal, name, value)
        ]

    async def take_over(self, tombstones: Sequence[Tombstone], *, grace_s: float) -> CancelOutcome | None:
        """Have tombstones in force that a peer made durable; say what came of requests that are here already.

        Raises JournalUnavailableError.
        """
        self._put_in_force(tombstones)
        here = [
            turn
            for tombstone in tombstones
            if tombstone.name == "request_id"
            for turn in self._live(tombstone.principal, tombstone.name, tombstone.value)
        ]
        return _best(await asyncio.gather(*(self._stop(turn, grace_s) for turn in here)))

    async def _stop(self, turn: Turn, grace_s: float) -> CancelOutcome:
        """Cancel a turn whose request's id is being remembered by someone else."""
        now = self._clock()
        if turn.state in _UNDER_WAY or (turn.state not in _UNDONE and await self._may_undo(turn, now, grace_s)):
            await self._driver.apply(turn.id, CancelRequested(at=now, cause=Cause.REQUESTED))
            return CancelOutcome.CANCELLED
        return CancelOutcome.CANCELLED if turn.state in _UNDONE else CancelOutcome.COMPLETED

    def _sighting(self, turn: Turn, *, by_request: bool) -> Sighting:
        return Sighting(
            id=turn.id,
            principal=turn.principal,
            request_id=turn.request_id,
            owner=self._driver.peers.number,
            state=turn.state,
            by_request=by_request,
        )

    # -- leaves ----------------------------------------------------------------------------------------------------

    async def _may_undo(self, turn: Turn, now: float, grace_s: float) -> bool:
        """Late, only a conversation that this turn began, and that no other turn confirmed, is undone (laws 3, 6)."""
        delivered_at = turn.confirmed_at
        if not turn.begins or delivered_at is None or now > delivered_at + grace_s:
            return False
        return not (await self._journal.neighbours(turn)).confirmed

    def _remember(
        self, principal: str, ids: Sequence[tuple[str, str]], grace_s: float
    ) -> Coroutine[None, None, Sequence[CancelOutcome]]:
        """Set tombstones at once; the rest is done when they are durable, and known to all peers."""
        return self._keep(self._set_tombstones(principal, ids), grace_s)

    def _set_tombstones(self, principal: str, ids: Sequence[tuple[str, str]]) -> Sequence[Tombstone]:
        """Set tombstones in memory, at once, so that no request slips in between."""
        expires_at = self._clock() + self._tombstone_ttl_s
        tombstones = [
            Tombstone(principal=principal, name=name, value=value, expires_at=expires_at) for name, value in ids
        ]
        self._put_in_force(tombstones)
        return tombstones

    def _put_in_force(self, tombstones: Sequence[Tombstone]) -> None:
        for tombstone in tombstones:
            self._tombstones.add(tombstone)
            self._driver.fence.wake(tombstone.value)

    async def _keep(self, tombstones: Sequence[Tombstone], grace_s: float) -> Sequence[CancelOutcome]:
        """Make tombstones durable, then known to all peers: one that just starts reads them, or is told of them."""
        at = self._clock()
        await asyncio.gather(*(self._journal.submit(Change(tombstone=tombstone, at=at)) for tombstone in tombstones))
        return await self._driver.peers.remember(tombstones, grace_s=grace_s)


def _best(outcomes: Sequence[CancelOutcome | None]) -> CancelOutcome | None:
    """Give what several outcomes come to; None where there are none."""
    order = (CancelOutcome.CANCELLED, CancelOutcome.COMPLETED, CancelOutcome.REMEMBERED)
    return next((outcome for outcome in order if outcome in outcomes), None)
