"""How long an upstream may be silent: looked at now and then while there is time, and exactly when it runs out.

Bytes that come merely note the time. A timer of its own has only a connection whose time has nearly run out: timers for
all would weigh more than the connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sidecar.deadlines import RESOLUTION_S, SLACK, Deadlines

if TYPE_CHECKING:
    import asyncio

LOOKS: Final = 8
"""Looks within the limit."""


class Awaited(Protocol):
    """A connection on which an answer is awaited, or was."""

    def time_left_s(self) -> float | None:
        """Give the seconds for which it may still be silent; None where nothing is awaited any more."""

    def give_up(self) -> None:
        """Take note: it was silent for too long."""


class Silences:
    """Those of one pool. `limit_s` is the shortest that any may last."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float) -> None:
        self._loop = loop
        self._look_s = limit_s / LOOKS
        self._looks = Deadlines(loop, self._look_s, self._look)
        self._timers: dict[Awaited, asyncio.TimerHandle] = {}

    def start(self, connection: Awaited) -> None:
        """Begin to wait; harmless when done twice."""
        self._looks.start(connection)

    def stop(self, connection: Awaited) -> None:
        """Wait no more; harmless when done twice."""
        self._looks.stop(connection)
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def _look(self, connection: Awaited) -> None:
        if (timer := self._timers.pop(connection, None)) is not None:
            timer.cancel()
        left_s = connection.time_left_s()
        if left_s is None:
            return
        if left_s <= RESOLUTION_S:
            connection.give_up()
        elif left_s > self._look_s * (1 + SLACK):
            self._looks.start(connection)
        else:
            self._timers[connection] = self._loop.call_later(left_s, self._look, connection)
