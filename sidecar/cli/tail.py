"""Follows turns as they change. The journal is looked at again and again: what comes and goes between is not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.turn.state import SETTLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.turn.state import Cause, State, Turn

POLL_S: Final = 0.5
WINDOW: Final = 200
WINDOW_MAX: Final = 10_000
WATCHED_MAX: Final = 1_000
"""Unsettled turns that are looked after although newer ones have pushed them out of the window."""


class Reads(Protocol):
    """The journal, as it is looked at here."""

    async def turns(self, state: State | None = None, limit: int = 50) -> Sequence[Turn]:
        """Give turns, newest first."""

    async def turn(self, turn_id: str) -> Turn | None:
        """Give a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which turns are shown. What is not named does not matter."""

    state: State | None = None
    cause: Cause | None = None
    route: str | None = None
    id: str | None = None
    """The turn's own id, its request's, or its conversation's."""

    def match(self, turn: Turn) -> bool:
        """Say whether a turn, as it now is, is to be shown."""
        ids = {turn.id, turn.captured.get("request_id"), turn.conversation_id, turn.temp_id}
        return (
            self.state in {None, turn.state}
            and self.cause in {None, turn.cause}
            and self.route in {None, turn.route}
            and (self.id is None or self.id in ids)
        )


class Tail:
    """What was seen so far, and what has changed since."""

    def __init__(self, desk: Reads, wanted: Wanted) -> None:
        self._desk = desk
        self._wanted = wanted
        self._seen: dict[str, Turn] | None = None

    async def first(self, limit: int) -> list[Turn]:
        """Give the newest turns that are wanted, the oldest of them first; nothing older is ever shown as new."""
        turns = await self._desk.turns(limit=WINDOW_MAX if self._wanted != Wanted() else max(limit, WINDOW))
        self._seen = {turn.id: turn for turn in turns}
        return [turn for turn in turns if self._wanted.match(turn)][:limit][::-1]

    async def changes(self) -> list[Turn]:
        """Give the turns that are new or other than when they were last seen, the oldest first."""
        seen = self._seen or {}
        window = await self._window(seen)
        now = {turn.id: turn for turn in (*await self._watched(seen, window), *window)}
        changed = [turn for turn in now.values() if seen.get(turn.id) != turn]
        self._seen = now
        return sorted((turn for turn in changed if self._wanted.match(turn)), key=lambda turn: turn.created_at)

    async def _window(self, seen: dict[str, Turn]) -> Sequence[Turn]:
        """Give the newest turns, back to one that is known already."""
        limit = WINDOW
        while True:
            turns = await self._desk.turns(limit=limit)
            if len(turns) < limit or limit >= WINDOW_MAX or any(turn.id in seen for turn in turns):
                return turns
            limit = min(WINDOW_MAX, 4 * limit)

    async def _watched(self, seen: dict[str, Turn], window: Sequence[Turn]) -> list[Turn]:
        there = {turn.id for turn in window}
        watched = [turn.id for turn in seen.values() if turn.state not in SETTLED and turn.id not in there]
        turns = [await self._desk.turn(turn_id) for turn_id in watched[-WATCHED_MAX:]]
        return [turn for turn in turns if turn is not None]
