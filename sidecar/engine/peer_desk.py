"""What a process does for its peers: each question of `Peers`, answered for the turns that are its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.turn.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sidecar.engine.cancellation import CancelDesk, CancelOutcome
    from sidecar.engine.driver import Driver
    from sidecar.engine.peers import Sighting
    from sidecar.engine.ports import Journal, Tombstone

_STAYS: Final = frozenset({State.OPEN, State.ANSWERED, State.CONFIRMING, State.COMPLETED})
"""What keeps a conversation, or may yet do so; as long as it is live, the journal may not tell."""


class PeerDesk:
    """Takes in what peers ask. `desk` gives the cancel desk in force. All raises JournalUnavailableError."""

    def __init__(self, journal: Journal, driver: Driver, desk: Callable[[], CancelDesk]) -> None:
        self._journal = journal
        self._driver = driver
        self._desk = desk

    def look(self, principal: str, request_id: str | None, conversation_id: str | None) -> Sequence[Sighting]:
        """Give what is live or waits here by these ids."""
        return self._desk().seen(principal, request_id, conversation_id)

    async def cancel(self, turn_id: str, principal: str, request_id: str, *, grace_s: float) -> CancelOutcome:
        """Cancel a turn or newcomer of this process; of one that is nowhere any more, its request is remembered."""
        newcomers = self._driver.fence.newcomers(principal, "request_id", request_id)
        waiting = [newcomer for newcomer in newcomers if newcomer.id == turn_id]
        live = [one.turn for one in self._driver.live_with(principal, "request_id", request_id)]
        here = [turn for turn in (*live, *waiting) if turn.id == turn_id]
        turn = here[0] if here else await self._journal.load(turn_id)
        if turn is None:
            return await self._desk().cancel(principal, request_id=request_id, conversation_id=None, grace_s=grace_s)
        return await self._desk().cancel_own(turn, grace_s=grace_s)

    async def remember(self, tombstones: Sequence[Tombstone], *, grace_s: float) -> CancelOutcome | None:
        """Have a peer's tombstones in force; say what came of requests that are here already."""
        return await self._desk().take_over(tombstones, grace_s=grace_s)

    async def undoing(self, turn_id: str, ids: Iterable[str]) -> bool:
        """Take note that a peer is about to roll a conversation back; say whether a live turn here may keep it.

        Who is looking at the conversation just now, and may have read of it before its turn was cancelled, is shown the
        turn as it now is. Whoever looks later reads it.
        """
        if self._driver.fence.noted:
            turn = await self._journal.load(turn_id)
            if turn is not None:
                self._driver.fence.moved(turn)
        return any(turn.state in _STAYS for one in ids for turn in self._driver.live_in(one))

    def moved(self, ids: Iterable[str]) -> None:
        """Wake who waits here for a peer's turn that has these ids."""
        for one in ids:
            self._driver.fence.wake(one)
