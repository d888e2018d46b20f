"""What the console needs of those who run turns, as Protocols: one process fulfils them, or several behind one.

The journal is everybody's: what it tells, it tells of all processes. Only the figures, the live turns and the reload
are each process's own; whoever joins several of them brings these together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from prometheus_client import Metric

    from sidecar.engine.history import TurnHistory
    from sidecar.engine.operator import TurnFilter
    from sidecar.engine.ports import OutboxSizes, StepRow
    from sidecar.turn.state import Cause, StepKind, Turn


class MetricsSource(Protocol):
    """The figures, of all processes together."""

    async def families(self) -> Iterable[Metric]:
        """Give them as they are now. Raises PeerError where they cannot be had."""


class LiveTurns(Protocol):
    """The turns under way, of all processes together."""

    async def newest(self, limit: int) -> tuple[int, Sequence[Turn]]:
        """Give how many there are, and the newest, newest first."""


class Desk(Protocol):
    """The operator's hand, and their view of turns and steps. Every coroutine raises JournalUnavailableError."""

    async def page(self, which: TurnFilter, *, before: tuple[float, str], limit: int) -> Sequence[Turn]:
        """Give turns, newest first, that come after a place in that order: when one was made, and its id."""

    async def history(self, turn_id: str) -> TurnHistory | None:
        """Give a turn and all that is known to have happened to it; None for an unknown one."""

    async def outbox(self, state: str | None = None, limit: int = 50, *, before: int) -> Sequence[StepRow]:
        """Give rows of the outbox with ids below `before`, newest first."""

    async def cancel(self, turn_id: str) -> bool:
        """Have a turn cancelled; False where there is nothing to cancel."""

    async def retry(self, step_id: int) -> bool:
        """Have a dead step tried again; False where there is none, or nobody wants it now."""

    async def retry_all(self) -> int:
        """Have every dead step tried again that is still wanted; give their number."""

    async def drop(self, step_id: int, *, reason: str) -> bool:
        """Have a step given up for good; False where it is over already."""


class Board(Protocol):
    """What the journal tells of all turns and steps together. Every coroutine raises JournalUnavailableError."""

    async def outbox_sizes(self) -> OutboxSizes:
        """Say how full the outbox is."""

    async def oldest_steps(self, state: str, limit: int) -> Sequence[StepRow]:
        """Give the oldest steps in a state, oldest first."""

    async def cancels_by_minute(self, *, since: float) -> Sequence[tuple[int, Cause, int]]:
        """Count the turns that were cancelled since a time: the minute since then, the cause, their number."""

    async def latest_undone(self, limit: int) -> Sequence[tuple[StepKind, float]]:
        """Give the steps of the latest cancelled turns, and how many seconds after the cancel they were delivered."""


Probe: TypeAlias = "Callable[[], Awaitable[str | None]]"
"""Says why something is not ready, in a few words; None: it is. May raise PeerError, whose text is then the reason."""
