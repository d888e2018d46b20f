"""An abandoned answer that is read on, unseen by anyone, for ids that it has not told yet (law 4).

Bounded in time and bytes each, and in number over the whole sidecar. Over exactly once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sidecar.config import Drain as DrainLimits


class Drain:
    """One drained answer. When a limit is reached it ends, and `over` is called, once; never after `end`."""

    def __init__(self, limits: DrainLimits, underway: set[object], over: Callable[[], None]) -> None:
        self.active = False
        self._limits = limits
        self._underway = underway
        self._over = over
        self._bytes = 0
        self._timer: asyncio.Handle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, *, possible: bool) -> None:
        """Begin; over at once where it is not possible, or one too many."""
        self.active = True
        if possible and len(self._underway) < self._limits.streams_max:
            self._underway.add(self)
            self._timer = loop.call_later(self._limits.timeout_s, self._reach_limit)
        else:
            self._timer = loop.call_soon(self._reach_limit)

    def count(self, number: int) -> None:
        """Count bytes that nobody sees."""
        if not self.active:
            return
        self._bytes += number
        if self._bytes > self._limits.bytes_max:
            self._reach_limit()

    def end(self) -> None:
        """End; harmless when done twice."""
        self.active = False
        self._underway.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _reach_limit(self) -> None:
        self.end()
        self._over()
