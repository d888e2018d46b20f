"""The turns that are under way in this process, by their ids, and who makes their calls."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterable

    from sidecar.engine.ports import LiveExchange
    from sidecar.turn.effects import Owe
    from sidecar.turn.state import StepKind, Turn


ANYONE: Final = ""
"""Stands for the principal where it does not matter whose turns are meant."""

_Key: TypeAlias = tuple[str, str, str]
"""A principal, the name of an id, and the id."""


class Ended:
    """A LiveExchange that is over. It stands for all: a turn and its exchange that knew each other would never go."""

    def abort_downstream(self) -> None:
        """Do nothing."""

    def close_upstream(self) -> None:
        """Do nothing."""

    def drain_upstream(self) -> None:
        """Do nothing."""


ENDED: Final = Ended()


@dataclass(eq=False, slots=True)
class LiveTurn:
    """A turn under way in this process, with the exchange that it is about."""

    turn: Turn
    exchange: LiveExchange
    undurable: int = 0
    released: bool = False
    ids: tuple[str | None, ...] = ()
    keys: set[_Key] = field(default_factory=set)
    """Under which it is found: also by ids that it once had."""
    owing: dict[StepKind, Owe] = field(default_factory=dict)
    """What is owed, and not yet known to be durable."""
    taken: bool = False
    """Its steps are being made: it stays in memory meanwhile, so that what they come to needs no load."""
    stood: bool = False
    """It was let go of meanwhile, and is noted as one that stands."""
    once: frozenset[StepKind] = frozenset()
    """What was owed just once, so that no call was made for it but those of whoever has taken the turn."""
    again: frozenset[StepKind] = frozenset()
    """What was owed more than once."""

    def note_owed(self, owed: Iterable[Owe]) -> None:
        """Take note of what has become owed."""
        for owe in owed:
            if owe.kind in self.once | self.again:
                self.again |= {owe.kind}
            else:
                self.once |= {owe.kind}
        self.once -= self.again


class Taker(Protocol):
    """Makes the calls of live turns at once, without the journal's finding what is owed."""

    @property
    def has_place(self) -> bool:
        """Whether it would take a turn now."""

    @property
    def until(self) -> float:
        """Until when a step that is made now is to be leased."""

    def take(self, live: LiveTurn, kind: StepKind, leased: asyncio.Future[None]) -> None:
        """Make a step that has just become owed, and those after it; the future is done when all that is durable."""


class LiveIndex:
    """Finds live turns by their ids."""

    def __init__(self) -> None:
        self._found: defaultdict[_Key, set[LiveTurn]] = defaultdict(set)

    def __len__(self) -> int:
        """Give the number of keys under which something is found."""
        return len(self._found)

    def get(self, principal: str, name: str, value: str) -> Collection[LiveTurn]:
        """Give the principal's, or ANYONE's, live turns with that request_id or conversation_id (temp ids too)."""
        return self._found.get((principal, name, value), ())

    def note(self, live: LiveTurn) -> None:
        """Have a turn found by the ids that it now has."""
        turn = live.turn
        ids = (turn.request_id, turn.conversation_id, turn.temp_id)
        if ids == live.ids:
            return
        live.ids = ids
        for name, one in zip(("request_id", "conversation_id", "conversation_id"), ids, strict=True):
            for key in ((turn.principal, name, one), (ANYONE, name, one)) if one is not None else ():
                live.keys.add(key)
                self._found[key].add(live)

    def drop(self, live: LiveTurn) -> None:
        """Have a turn found no more; harmless when done twice."""
        for key in live.keys:
            self._found[key].discard(live)
            if not self._found[key]:
                del self._found[key]
        live.keys.clear()
        live.ids = ()
