"""A client that takes no byte for `write_timeout_s` is gone (law 8): looked at by a timer while bytes are under way.

The kernel's own limit, TCP_USER_TIMEOUT, does not serve: it ends a client that reads in bursts, because the time for
which a window was closed goes on counting when that window opened by less than what waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

LOOKS: Final = 4
"""Looks within the limit: by so little more than the limit can it last until a client is given up."""


class StallWatch:
    """One connection's. `outstanding` gives the bytes that the peer has not taken; `stuck` is called when given up."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit_s: float, outstanding: Callable[[], int], stuck: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._limit_s = limit_s
        self._outstanding = outstanding
        self._stuck = stuck
        self._written = 0
        self._taken = 0
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def wrote(self, count: int) -> None:
        """Take note of bytes that were handed to the transport."""
        if self._timer is None:
            self._taken, self._since = self._written, self._loop.time()
            self._look_later()
        self._written += count

    def end(self) -> None:
        """Look no more; harmless when done twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(self._limit_s / LOOKS, self._look)

    def _look(self) -> None:
        self._timer = None
        outstanding, now = self._outstanding(), self._loop.time()
        taken = self._written - outstanding
        if taken != self._taken:
            self._taken, self._since = taken, now
        elif outstanding and now - self._since >= self._limit_s:
            self._stuck()
            return
        if outstanding:
            self._look_later()
