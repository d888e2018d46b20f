"""Cancels that came before their request, known at once to whoever opens a turn (law 6: a cancel may come first).

The journal keeps them over a restart; this is the memory that is asked without waiting. Bounded in time and number:
the oldest give way.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
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
        self._owned: Counter[str] = Counter()
        for tombstone in known:
            self.add(tombstone)

    def add(self, tombstone: Tombstone) -> None:
        """Keep a tombstone, or make it last longer; the oldest goes where there are too many."""
        key = (tombstone.principal, tombstone.name, tombstone.value)
        if key not in self._expiry:
            self._owned[tombstone.principal] += 1
        self._expiry[key] = max(tombstone.expires_at, self._expiry.get(key, tombstone.expires_at))
        self._expiry.move_to_end(key)
        while len(self._expiry) > TOMBSTONES_MAX:
            self._drop(next(iter(self._expiry)))

    def owned(self, principal: str, *, now: float) -> int:
        """Give how many a principal has; those that have expired are dropped first, as far as they are the oldest."""
        while self._expiry and next(iter(self._expiry.values())) <= now:
            self._drop(next(iter(self._expiry)))
        return self._owned[principal]

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
            self._drop(key)
            return False
        return True

    def _drop(self, key: tuple[str, str, str]) -> None:
        del self._expiry[key]
        self._owned[key[0]] -= 1
        if not self._owned[key[0]]:
            del self._owned[key[0]]
