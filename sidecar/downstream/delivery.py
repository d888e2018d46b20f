"""Complete means delivered (law 5): an answer counts once the peer's kernel has acknowledged its last byte.

One tick serves all answers that are out but not yet acknowledged, and runs only while there are any. A client that
leaves first is asked of at that moment: after an orderly close with nothing unacknowledged it had everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sidecar.turn.state import Cause

if TYPE_CHECKING:
    import asyncio

TICK_S: Final = 0.05
"""A delayed acknowledgement takes 25 to 40 ms."""


class Handover(Protocol):
    """An answer that was handed over to the kernel."""

    @property
    def veiled(self) -> bool:
        """Whether bytes may wait for a moment where they are not counted: one look that finds none is no proof then."""

    def unacknowledged(self) -> int:
        """Give the bytes on the connection that the peer has not acknowledged."""

    def delivered(self) -> None:
        """Take note: the peer has it all."""

    def undelivered(self, cause: Cause) -> None:
        """Take note: the peer left before it had it all."""


class DeliveryWatch:
    """Decides about every handed-over answer exactly once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: set[Handover] = set()
        self._quiet: set[Handover] = set()
        """Those for which the last look found nothing outstanding."""
        self._tick: asyncio.TimerHandle | None = None

    def add(self, handover: Handover) -> None:
        """Wait for the answer's acknowledgement."""
        self._waiting.add(handover)
        if self._tick is None:
            self._tick = self._loop.call_later(TICK_S, self._look)

    def confirm(self, handover: Handover) -> None:
        """Something else proves the delivery, such as the connection's next request."""
        if handover in self._waiting:
            self._waiting.discard(handover)
            handover.delivered()

    def left(self, handover: Handover, cause: Cause) -> None:
        """Decide now: the peer has left."""
        if handover not in self._waiting:
            return
        self._waiting.discard(handover)
        if cause is Cause.CLOSED and handover.unacknowledged() == 0:
            handover.delivered()
        else:
            handover.undelivered(cause)

    def close(self) -> None:
        """Stop ticking."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _look(self) -> None:
        self._tick = self._loop.call_later(TICK_S, self._look) if self._waiting else None
        quiet = {handover for handover in self._waiting if handover.unacknowledged() == 0}
        proven = [handover for handover in quiet if not handover.veiled or handover in self._quiet]
        self._quiet = quiet
        for handover in proven:
            self.confirm(handover)
