"""Where newcomers wait for turns that stand in their way, until one of these moves: until more of it is durable.

A newcomer is no turn yet: it is in no journal, it holds up no rollback, and nobody has to undo it. So a cancel cannot
find it among the turns; it is found here.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sidecar.engine.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.turn.state import Turn


class Waiter(Wakeup):
    """A newcomer that may have to wait."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn

    def told(self, _: object) -> None:
        """Wake; as a callback."""
        self.set()


class Fence:
    """All waiters, by every id that concerns them. To be woken for nothing harms none."""

    def __init__(self) -> None:
        self._waiters: defaultdict[str, set[Waiter]] = defaultdict(set)
        self._notes: list[dict[str, Turn]] = []

    @contextmanager
    def waiting(self, turn: Turn) -> Iterator[Waiter]:
        """Make a newcomer a waiter for a while."""
        waiter = Waiter(turn)
        ids = ids_of(turn)
        for one in ids:
            self._waiters[one].add(waiter)
        try:
            yield waiter
        finally:
            for one in ids:
                self._waiters[one].discard(waiter)
                if not self._waiters[one]:
                    del self._waiters[one]

    @contextmanager
    def noting(self) -> Iterator[dict[str, Turn]]:
        """Take down the turns that move meanwhile, by their ids, each as it then is.

        What is read from the journal may be older than that, and a turn that has moved may be live no longer.
        """
        notes: dict[str, Turn] = {}
        self._notes.append(notes)
        try:
            yield notes
        finally:
            self._notes = [others for others in self._notes if others is not notes]

    @property
    def noted(self) -> bool:
        """Whether anybody takes down what moves."""
        return bool(self._notes)

    def moved(self, turn: Turn) -> None:
        """Wake whoever may wait for a turn, of which something new has become durable."""
        for notes in self._notes:
            notes[turn.id] = turn
        if self._waiters:
            for one in ids_of(turn):
                self.wake(one)

    def wake(self, one: str) -> None:
        """Wake whoever names that id."""
        for waiter in self._waiters.get(one, ()):
            waiter.set()

    def newcomers(self, principal: str, name: str, value: str) -> Sequence[Turn]:
        """Give the principal's newcomers that wait and have that request_id or conversation_id."""
        turns = [waiter.turn for waiter in self._waiters.get(value, ())]
        return [turn for turn in turns if turn.principal == principal and turn.captured.get(name) == value]


def ids_of(turn: Turn) -> set[str]:
    """Give every id by which somebody may wait for a turn."""
    return {one for one in (turn.request_id, turn.conversation_id, turn.temp_id) if one is not None}
