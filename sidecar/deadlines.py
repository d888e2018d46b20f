"""One limit of time for many: whoever waits longest stands first, so that one timer serves them all.

An idle connection so costs an entry in a dict, and no timer of its own.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

T = TypeVar("T")

log = structlog.get_logger()

SLACK: Final = 0.02
"""By such a part of the limit may somebody be told late: where many wait, they are told a few at a time."""
RESOLUTION_S: Final = 0.001
"""Of the event loops' timers: what is due by then is due now, or they would be set in vain."""


class Deadlines(Generic[T]):
    """Those who wait for the same number of seconds; `expired` is called with each who waited too long."""

    def __init__(self, loop: asyncio.AbstractEventLoop, after_s: float, expired: Callable[[T], None]) -> None:
        self._after_s = after_s
        self._loop = loop
        self._expired = expired
        self._since: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def change(self, after_s: float) -> None:
        """Have them wait for another number of seconds, those who wait already, too."""
        self._after_s = after_s
        if self._timer is not None:
            self._timer.cancel()
            self._look()

    def start(self, waiter: T) -> None:
        """Begin to wait, or begin anew."""
        self._since.pop(waiter, None)
        self._since[waiter] = self._loop.time()
        if self._timer is None:
            self._look_in(self._after_s)

    def stop(self, waiter: T) -> None:
        """Wait no more; harmless when done twice."""
        self._since.pop(waiter, None)

    def close(self) -> None:
        """Let nobody expire any more."""
        self._since.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_in(self, delay_s: float) -> None:
        self._timer = self._loop.call_later(delay_s, self._look)

    def _look(self) -> None:
        """Tell those who are due, all in one pass. Who begins anew meanwhile finds a timer, and stands last."""
        now = self._loop.time()
        latest = now - self._after_s + RESOLUTION_S
        for waiter, since in list(takewhile(lambda one: one[1] <= latest, self._since.items())):
            if self._since.get(waiter) == since:
                del self._since[waiter]
                self._tell(waiter)
        self._timer = None
        if self._since:
            first = next(iter(self._since.values()))
            self._look_in(max(first + self._after_s - now, self._after_s * SLACK))

    def _tell(self, waiter: T) -> None:
        try:
            self._expired(waiter)
        except Exception as error:  # a bug in what follows from one must not lose the others, nor the limit
            log.exception("deadline_failed", error=repr(error))
