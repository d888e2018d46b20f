"""What a process needs of its peers: others like it, each with turns of its own, on the same journal and address.

A turn that is journalled is known to all. What is asked here is what only its owner knows, or does: that it is live, or
waits at a fence; to step it; to remember a cancel before anybody is told of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.engine.cancellation import CancelOutcome
    from sidecar.engine.ports import Tombstone
    from sidecar.turn.state import State, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A turn under way in a peer, or a newcomer at its fence. `by_request`: its request's id was asked for."""

    id: str
    principal: str
    request_id: str
    owner: int
    state: State
    by_request: bool


class Peers(Protocol):
    """The other processes. What they are asked raises JournalUnavailableError where one of them does not answer."""

    @property
    def number(self) -> int:
        """This process's own number: the owner of the turns that it lets in."""

    def own(self, found: Turn | Sighting) -> bool:
        """Say whether a turn is this process's own."""

    async def look(
        self, principal: str, *, request_id: str | None = None, conversation_id: str | None = None
    ) -> Sequence[Sighting]:
        """Give what peers know of a principal's request id or conversation id that the journal may not yet tell."""

    async def cancel(self, found: Turn | Sighting, *, grace_s: float) -> CancelOutcome:
        """Have its owner cancel a turn; done when that is durable. One that has crashed is waited for."""

    async def remember(self, tombstones: Sequence[Tombstone], *, grace_s: float) -> Sequence[CancelOutcome]:
        """Tell all peers of tombstones that are durable; give what they cancelled because it had come meanwhile."""

    async def undoing(self, turn: Turn) -> bool:
        """Tell all peers that a turn is about to be rolled back; say whether one has let a turn into its conversation.

        From then on, no gate of theirs takes the conversation for one that stays. Never raises: who does not answer may
        have.
        """

    def moved(self, turn: Turn) -> None:
        """Tell all peers that something of a turn that is being undone has become durable, as a hint."""


class Alone:
    """No peers: a process by itself."""

    number = 0

    def own(self, found: Turn | Sighting) -> bool:
        """Every turn is."""
        del found
        return True

    async def look(
        self, principal: str, *, request_id: str | None = None, conversation_id: str | None = None
    ) -> Sequence[Sighting]:
        """Nobody knows anything."""
        del principal, request_id, conversation_id
        return ()

    async def cancel(self, found: Turn | Sighting, *, grace_s: float) -> CancelOutcome:
        """Nobody else owns a turn."""
        raise NotImplementedError((found, grace_s))

    async def remember(self, tombstones: Sequence[Tombstone], *, grace_s: float) -> Sequence[CancelOutcome]:
        """Nobody has to be told."""
        del tombstones, grace_s
        return ()

    async def undoing(self, turn: Turn) -> bool:
        """Nobody has let anything in."""
        del turn
        return False

    def moved(self, turn: Turn) -> None:
        """Nobody waits."""
