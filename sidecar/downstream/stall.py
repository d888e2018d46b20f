"""A client that takes no byte for `write_timeout_s` is gone (law 8): looked at now and then while bytes are under way.

The kernel's own limit, TCP_USER_TIMEOUT, does not serve: it ends a client that reads in bursts, because the time for
which a window was closed goes on counting when that window opened by less than what waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio

    from sidecar.deadlines import Deadlines

LOOKS: Final = 4
"""Looks within the limit: by so little more than the limit can it last until a client is given up."""


class Written(Protocol):
    """A connection that is written to."""

    def unacknowledged(self) -> int:
        """Give the bytes that the peer has not taken."""

    def stuck(self) -> None:
        """Give the peer up."""


class StallWatch:
    """The watch over one connection."""

    __slots__ = ("_connection", "_limit_s", "_looks", "_loop", "_since", "_taken", "watched", "written")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, looks: Deadlines[StallWatch], limit_s: float, connection: Written
    ) -> None:
        """Begin; `looks` calls `look` LOOKS times within the limit."""
        self._loop = loop
        self._looks = looks
        self._limit_s = limit_s
        self._connection = connection
        self.written = 0
        """Bytes that were handed to the transport."""
        self._taken = 0
        self._since = 0.0
        self.watched = False
        """Whether it is looked at; whoever writes has it `begin` where it is not."""

    def begin(self) -> None:
        """Begin to look: bytes are about to be handed to the transport, and so far the peer has taken all."""
        self._taken, self._since = self.written, self._loop.time()
        self._look_later()

    def end(self) -> None:
        """Look no more; harmless when done twice."""
        self.watched = False
        self._looks.stop(self)

    def look(self) -> None:
        """Look whether anything was taken since the last time."""
        self.watched = False
        outstanding, now = self._connection.unacknowledged(), self._loop.time()
        taken = self.written - outstanding
        if taken != self._taken:
            self._taken, self._since = taken, now
        elif outstanding and now - self._since >= self._limit_s:
            self._connection.stuck()
            return
        if outstanding:
            self._look_later()

    def _look_later(self) -> None:
        self.watched = True
        self._looks.start(self)
