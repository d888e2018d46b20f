"""The engine's `Peers`, over the link to the parent; and the other end of it: what peers ask, put to the peer desk."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sidecar.engine.cancellation import CancelOutcome
from sidecar.engine.fence import ids_of
from sidecar.engine.peers import Sighting
from sidecar.engine.ports import Tombstone
from sidecar.errors import BugError, JournalUnavailableError, PeerError
from sidecar.turn.state import State
from sidecar.workers.link import LinkLostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.engine.peer_desk import PeerDesk
    from sidecar.engine.share import Share
    from sidecar.turn.state import Turn
    from sidecar.workers.link import Link, Message


class LinkedPeers:
    """The other workers, as one of them sees them."""

    def __init__(self, share: Share, link: Link) -> None:
        self._share = share
        self._link = link

    @property
    def number(self) -> int:
        """This worker's number."""
        return self._share.number

    def own(self, found: Turn | Sighting) -> bool:
        """Say whether a turn is this worker's own."""
        return found.owner == self.number if isinstance(found, Sighting) else self._share.has(found)

    async def look(
        self, principal: str, *, request_id: str | None = None, conversation_id: str | None = None
    ) -> Sequence[Sighting]:
        """Give what peers know of a principal's request id or conversation id that the journal may not yet tell."""
        answers = await self._ask_all(
            {"what": "look", "principal": principal, "request_id": request_id, "conversation_id": conversation_id}
        )
        return [_sighting(seen) for answer in answers for seen in answer["seen"]]

    async def cancel(self, found: Turn | Sighting, *, grace_s: float) -> CancelOutcome:
        """Have its owner cancel a turn; done when that is durable. One that has crashed is waited for."""
        asked = {
            "what": "cancel",
            "id": found.id,
            "principal": found.principal,
            "request_id": found.request_id,
            "grace_s": grace_s,
        }
        answer = await self._ask({"to": found.owner % self._share.of, "message": asked})
        return CancelOutcome(answer["outcome"])

    async def remember(self, tombstones: Sequence[Tombstone], *, grace_s: float) -> Sequence[CancelOutcome]:
        """Tell all peers of tombstones that are durable; give what they cancelled because it had come meanwhile."""
        told = [asdict(tombstone) for tombstone in tombstones]
        answers = await self._ask_all({"what": "remember", "tombstones": told, "grace_s": grace_s})
        return [CancelOutcome(answer["outcome"]) for answer in answers if answer["outcome"] is not None]

    async def undoing(self, turn: Turn) -> bool:
        """Tell all peers that a turn is about to be rolled back; say whether one may have a turn that forbids it."""
        ids = [one for one in (turn.conversation_id, turn.temp_id) if one is not None]
        try:
            answers = await self._ask_all({"what": "undoing", "id": turn.id, "ids": ids})
        except PeerError:
            return True
        return any(answer["stays"] for answer in answers)

    def moved(self, turn: Turn) -> None:
        """Tell all peers that something of a turn that is being undone has become durable."""
        self._link.tell({"to": "peers", "message": {"what": "moved", "ids": sorted(ids_of(turn))}})

    async def _ask_all(self, message: Message) -> list[Message]:
        answers: list[Message] = (await self._ask({"to": "peers", "message": message}))["answers"]
        return answers

    async def _ask(self, message: Message) -> Message:
        try:
            return await self._link.ask(message)
        except LinkLostError as error:
            raise JournalUnavailableError(str(error)) from error


async def answer_peer(desk: PeerDesk, message: Message) -> Message | None:
    """Answer what a peer asks. Raises JournalUnavailableError."""
    match message:
        case {"what": "look", "principal": who, "request_id": request_id, "conversation_id": conversation_id}:
            return {"seen": [asdict(seen) for seen in desk.look(who, request_id, conversation_id)]}
        case {"what": "cancel", "id": turn_id, "principal": who, "request_id": request_id, "grace_s": grace_s}:
            return {"outcome": await desk.cancel(turn_id, who, request_id, grace_s=grace_s)}
        case {"what": "remember", "tombstones": told, "grace_s": grace_s}:
            tombstones = [Tombstone(**tombstone) for tombstone in told]
            return {"outcome": await desk.remember(tombstones, grace_s=grace_s)}
        case {"what": "undoing", "id": turn_id, "ids": ids}:
            return {"stays": await desk.undoing(turn_id, ids)}
        case {"what": "moved", "ids": ids}:
            desk.moved(ids)
            return None
        case _:
            raise BugError(f"a peer asks what nobody answers: {message.get('what')}")


def _sighting(seen: dict[str, Any]) -> Sighting:
    return Sighting(**{**seen, "state": State(seen["state"])})
