"""Which conversations are gone, so that nothing of a cancelled answer turns up later (M11).

A conversation is gone once a turn that began it is to be undone; for everyone, and from the moment on at which that
turn is cancelled, not only when its rollback was delivered. It is there all the same where another turn in it was
delivered, which forbids the rollback (law 3), or where another turn is just beginning it anew.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sidecar.turn.state import State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.ports import Journal
    from sidecar.turn.state import Turn

_UNDER_WAY: Final = frozenset({State.OPEN, State.ANSWERED})
_CONFIRMED: Final = frozenset({State.CONFIRMING, State.COMPLETED})
_CANCELLED: Final = frozenset({State.CANCELLING, State.CANCELLED, State.UNRESOLVED})


class LateContent:
    """Knows by the journal, by what becomes durable while that is read, and by the live turns, which are ahead."""

    def __init__(self, journal: Journal, driver: Driver) -> None:
        self._journal = journal
        self._driver = driver

    async def tombstoned(self, ids: Collection[str]) -> frozenset[str]:
        """Give those of the conversations that are gone. Raises JournalUnavailableError."""
        if not ids:
            return frozenset()
        there: defaultdict[str | None, list[Turn]] = defaultdict(list)
        for turn in newest(await self._versions(ids)):
            for one in {turn.conversation_id, turn.temp_id}:
                there[one].append(turn)
        return frozenset(one for one in ids if is_gone(there[one]))

    def may_be_gone(self, conversation_id: str) -> bool:
        """Say whether a turn that is live, or may stand elsewhere, is about the conversation."""
        return self._driver.standing.in_conversation(conversation_id) or bool(self._driver.live_in(conversation_id))

    async def rollback_pending(self, conversation_id: str) -> bool:
        """Say whether the conversation is gone, but its rollback not yet durably done. Raises JournalUnavailableError.

        A rollback that is done in memory only would be made again after a crash, to whatever then has the id.
        """
        if not self.may_be_gone(conversation_id):
            return False
        versions = await self._versions([conversation_id])
        there = [turn for turn in versions if conversation_id in {turn.conversation_id, turn.temp_id}]
        if not is_gone(newest(there)):
            return False
        return any(is_undone(turn) and turn.state is State.CANCELLING for turn in there)

    async def _versions(self, ids: Collection[str]) -> Sequence[Turn]:
        """Give the turns that matter to these conversations, as they are known here and there, the oldest first."""
        with self._driver.fence.noting() as moved:
            stored = await self._journal.in_conversations(list(ids))
        live = [turn for one in ids for turn in self._driver.live_in(one)]
        return [*stored, *moved.values(), *live]


def newest(versions: Iterable[Turn]) -> Sequence[Turn]:
    """Give each turn once: the last version of it."""
    return list({turn.id: turn for turn in versions}.values())


def is_gone(turns: Collection[Turn]) -> bool:
    """Say whether the conversation in which these turns are is gone."""
    return any(map(is_undone, turns)) and not any(map(_keeps, turns))


def is_undone(turn: Turn) -> bool:
    """Say whether the conversation that the turn began is to be undone with it."""
    return turn.begins and turn.state in _CANCELLED and turn.cause not in turn.plan.keeps


def _keeps(turn: Turn) -> bool:
    return turn.state in _CONFIRMED or (turn.begins and turn.state in _UNDER_WAY)
