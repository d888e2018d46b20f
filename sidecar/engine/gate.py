"""What a newcomer has to wait for before it may become a turn, and what it is refused for.

A request id that is used again must meet nothing that is still owed under it, or its own turn would be cancelled with
the earlier one. A conversation that is being removed takes up nothing new before that is done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.errors import InProgressError, RollbackPendingError
from sidecar.turn.machine import wanted
from sidecar.turn.state import State, StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.late_content import LateContent
    from sidecar.engine.ports import Journal
    from sidecar.engine.tombstones import Tombstones
    from sidecar.errors import SidecarError
    from sidecar.turn.state import Turn

POLL_S: Final = 0.5
"""What another process does wakes nobody here."""

_UNDER_WAY: Final = frozenset({State.OPEN, State.ANSWERED})
_OVER: Final = frozenset(StepState) - {StepState.PENDING}


class Gate:
    """Lets newcomers pass, one way or another."""

    def __init__(self, journal: Journal, driver: Driver, tombstones: Tombstones, late: LateContent) -> None:
        self._journal = journal
        self._driver = driver
        self._tombstones = tombstones
        self._late = late

    async def pass_(self, newcomer: Turn, *, timeout_s: float, left: asyncio.Future[None]) -> bool:
        """Wait until nothing stands in the newcomer's way, or it is of no use any more; say whether that took a wait.

        The latter is when downstream has left, or the newcomer's cancel came first: the caller sees to both. As nothing
        is waited for after the last look, whoever then admits the turn at once cannot be overtaken by its like.
        Raises InProgressError, RollbackPendingError, JournalUnavailableError.
        """
        if self._is_clear(newcomer):
            return False
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        waited = False
        with self._driver.fence.waiting(newcomer) as waiter:
            left.add_done_callback(waiter.told)
            try:
                while not (left.done() or self._tombstones.forestall(newcomer)):
                    waiter.clear()
                    hindrance = await self._hindrance(newcomer)
                    if hindrance is None:
                        return waited
                    if (rest_s := deadline - loop.time()) <= 0:
                        raise hindrance
                    waited = True
                    await waiter.wait(min(POLL_S, rest_s))
                return waited
            finally:
                left.remove_done_callback(waiter.told)

    def _is_clear(self, newcomer: Turn) -> bool:
        """Say whether nothing can be in the way, as it nearly always is; without a wait."""
        who, request_id, conversation_id = newcomer.principal, newcomer.request_id, newcomer.conversation_id
        if self._driver.standing.by_request(who, request_id) or self._driver.live_with(who, "request_id", request_id):
            return False
        return conversation_id is None or not self._late.may_be_gone(conversation_id)

    async def _hindrance(self, newcomer: Turn) -> SidecarError | None:
        """Say what stands in the way and may pass. Raises InProgressError for what is not waited for."""
        who, request_id = newcomer.principal, newcomer.request_id
        conversation_id = newcomer.conversation_id
        stored: Sequence[Turn] = ()
        with self._driver.fence.noting() as moved:
            if self._driver.standing.by_request(who, request_id):
                stored = await self._journal.find(who, request_id=request_id)
            pending = conversation_id is not None and await self._late.rollback_pending(conversation_id)
        met = [turn for turn in moved.values() if (turn.principal, turn.request_id) == (who, request_id)]
        live = [one.turn for one in self._driver.live_with(who, "request_id", request_id)]
        same = InProgressError(f"request {request_id} is under way")
        if any(turn.state is State.OPEN for turn in live):
            raise same
        if await self._open_elsewhere(stored):
            raise same
        turns = (*stored, *met, *live)
        if any(turn.state in _UNDER_WAY for turn in turns):
            return same  # about to be delivered, or a matter of another process
        if pending or any(map(is_owed_under_its_request_id, turns)):
            return RollbackPendingError(f"request {request_id} or its conversation is still being cancelled")
        return None

    async def _open_elsewhere(self, stored: Sequence[Turn]) -> bool:
        """Say whether one of the turns is not only open in the journal, but also in its owner's eyes."""
        peers = self._driver.peers
        for turn in stored:
            if turn.state is State.OPEN and not peers.own(turn):
                seen = await peers.look(turn.principal, request_id=turn.request_id)
                return any(one.id == turn.id and one.state is State.OPEN for one in seen)
        return False


def is_owed_under_its_request_id(turn: Turn) -> bool:
    """Say whether a request with the turn's id would get in the way of what is owed for it, or be hit by it.

    A turn of which nothing is left but to look again whether it is gone (law 7) does neither, unless its request's id
    is what is looked for, or what is rolled back by.
    """
    if turn.state is not State.CANCELLING:
        return False
    due = {kind for kind in (*turn.steps, *wanted(turn)) if turn.steps.get(kind) not in _OVER}
    if due - {StepKind.VERIFY}:
        return True
    return any("request_id" in turn.plan.needs.get(kind, ()) for kind in (StepKind.VERIFY, StepKind.ROLLBACK))
