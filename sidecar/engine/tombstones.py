"""Cancels that came before their request, known at once to whoever opens a turn (law 6: a cancel may come first).

The journal keeps them over a restart; this is the memory that is asked without waiting. Bounded in time and number:
the oldest give way.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.engine.ports import Tombstone
    from sidecar.turn.state import Turn

TOMBSTONES_MAX: Final = 100_000


class Tombstones:
    """The tombstones in force."""

    def __init__(self, known: Iterable[Tombstone] = ()) -> None:
        self._expiry: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        for tombstone in known:
            self.add(tombstone)

    def add(self, tombstone: Tombstone) -> None:
        """Keep a tombstone, or make it last longer; the oldest goes where there are too many."""
        key = (tombstone.principal, tombstone.name, tombstone.value)
        self._expiry[key] = max(tombstone.expires_at, self._expiry.get(key, tombstone.expires_at))
        self._expiry.move_to_end(key)
        while len(self._expiry) > TOMBSTONES_MAX:
            self._expiry.popitem(last=False)

    def forestall(self, turn: Turn) -> bool:
        """Say whether a new turn was cancelled before its request came.

        A tombstone by conversation id stops only a turn that begins that conversation: a later message in a
        conversation that goes on is none of its business.
        """
        begun_id = turn.conversation_id if turn.begins else None
        ids = (("request_id", turn.request_id), ("conversation_id", begun_id))
        return any(self._stands(turn.principal, name, value, now=turn.created_at) for name, value in ids)

    def _stands(self, principal: str, name: str, value: str | None, *, now: float) -> bool:
        key = (principal, name, value or "")
        expires_at = self._expiry.get(key)
        if expires_at is None:
            return False
        if expires_at <= now:
            del self._expiry[key]
            return False
        return True
