"""Behind which ids a turn may stand that is not live: with any other, a newcomer need not ask the journal.

        live turn --let go of, unsettled--> noted --settled, and that is durable--> forgotten
        journal --at the start, unsettled----'

It errs on one side only: where nothing is noted, nothing stands; where something is, the journal is asked. Where
several processes step turns, or there are too many to note, anything may stand anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.turn.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.engine.ports import Journal
    from sidecar.turn.state import Turn

TURNS_MAX: Final = 100_000
_IDS_MAX: Final = 3 * TURNS_MAX
"""Each takes some hundred and fifty bytes."""

_STANDING: Final = frozenset({State.OPEN, State.ANSWERED, State.CANCELLING, State.CONFIRMING, State.UNRESOLVED})
"""What may be in a newcomer's way, or come to be without our doing: the operator's retry is another process's."""

_SEVERAL: Final = 0
"""Stands for the turns behind an id, when they were more than one: it stays noted."""


class TurnIds(NamedTuple):
    """A turn, and the ids by which a newcomer may meet it."""

    id: str
    principal: str
    request_id: str
    conversation_id: str | None
    temp_id: str | None


class Standing:
    """Kept up by the driver, which alone steps turns. Ids are noted by their hashes: one too many does no harm."""

    def __init__(self, turns: Iterable[TurnIds] | None = None) -> None:
        """Begin with the turns that an earlier run left; None: anything may stand anywhere."""
        self._noted: dict[int, int] | None = None if turns is None else {}
        for turn in turns or ():
            self._note(turn)

    @classmethod
    async def left_in(cls, journal: Journal) -> Standing:
        """Begin with what the journal has; nobody may change turns meanwhile. Raises JournalUnavailableError."""
        turns = await journal.standing(limit=TURNS_MAX + 1)
        return cls(turns if len(turns) <= TURNS_MAX else None)

    def by_request(self, principal: str, request_id: str) -> bool:
        """Say whether a turn of the principal's may stand behind a request's id."""
        return self._noted is None or hash((principal, request_id)) in self._noted

    def in_conversation(self, conversation_id: str) -> bool:
        """Say whether anybody's turn may stand behind a conversation's id, a temporary one too."""
        return self._noted is None or hash(conversation_id) in self._noted

    def left(self, turn: Turn) -> None:
        """Take note: a turn is live no longer, or it is about to become as it is given here."""
        if turn.state in _STANDING:
            self._note(turn)

    def moved(self, before: Turn, after: Turn | None) -> None:
        """Take note: a turn that is not live is durable as it now is; None: it is not in the journal at all."""
        if self._noted is None:
            return
        kept = _ids(after) if after is not None and after.state in _STANDING else set()
        for one in _ids(before) - kept:
            if self._noted.get(one) == hash(before.id):
                del self._noted[one]

    def _note(self, turn: Turn | TurnIds) -> None:
        if self._noted is None:
            return
        for one in _ids(turn):
            if self._noted.setdefault(one, hash(turn.id)) != hash(turn.id):
                self._noted[one] = _SEVERAL
        if len(self._noted) > _IDS_MAX:
            self._noted = None


def _ids(turn: Turn | TurnIds) -> set[int]:
    named = {hash(one) for one in (turn.conversation_id, turn.temp_id) if one is not None}
    return {hash((turn.principal, turn.request_id)), *named}
