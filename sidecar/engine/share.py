"""Which turns are whose, where several processes share a journal: each turn has one owner, who alone steps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.turn.state import Turn


@dataclass(frozen=True, slots=True)
class Share:
    """A process's share of the turns: it is the one with that number, from 0 on, of so many."""

    number: int = 0
    of: int = 1

    def has(self, turn: Turn) -> bool:
        """Say whether a turn is this process's; an owner from when there were more processes has its successor."""
        return turn.owner % self.of == self.number
