"""A turn that is under way in this process, and a change of it on its way to the journal; the driver's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from sidecar.engine.history import HistoryEntry
    from sidecar.engine.ports import Haste, LiveExchange, StepUpdate
    from sidecar.turn.effects import Owe
    from sidecar.turn.state import StepKind, Turn


@dataclass(eq=False, slots=True)
class LiveTurn:
    """A turn under way in this process, with the exchange that it is about."""

    turn: Turn
    exchange: LiveExchange
    undurable: int = 0
    released: bool = False
    keys: set[tuple[str, str, str]] = field(default_factory=set)
    owing: dict[StepKind, Owe] = field(default_factory=dict)
    """What is owed, and not yet known to be durable."""


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A change of a live turn that is offered to the journal until it is taken; `durable` is then done."""

    live: LiveTurn
    owed: tuple[Owe, ...]
    update: StepUpdate | None
    history: tuple[HistoryEntry, ...]
    haste: Haste
    durable: asyncio.Future[None]
