"""A client that takes no byte for `write_timeout_s` is gone (law 8): looked at now and then while bytes are under way.

The kernel's own limit, TCP_USER_TIMEOUT, does not serve: it ends a client that reads in bursts, because the time for
which a window was closed goes on counting when that window opened by less than what waits.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

LOOKS: Final = 4
"""Looks within the limit: by so little more than the limit can it last until a client is given up."""


class Sight(Enum):
    """What a look found."""

    ALL_TAKEN = auto()
    """Nothing is under way: there is nothing to look at until more is written."""
    UNDER_WAY = auto()
    STUCK = auto()
    """The client has taken nothing for too long."""


class StallWatch:
    """What is known of one connection; whoever has it looks LOOKS times within the limit. Times are the loop's."""

    __slots__ = ("_limit_s", "_since", "_taken", "watched", "written")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._taken = 0
        self._since = 0.0
        self.written = 0
        """Bytes that were handed to the transport."""
        self.watched = False
        """Whether it is looked at; whoever writes has it `begin` where it is not."""

    def begin(self, now: float) -> None:
        """Begin to look: bytes are about to be handed to the transport, and so far the client has taken all."""
        self._taken, self._since = self.written, now
        self.watched = True

    def look(self, outstanding: int, now: float) -> Sight:
        """Look; `outstanding` are the bytes that the client has not taken."""
        taken = self.written - outstanding
        if taken != self._taken:
            self._taken, self._since = taken, now
        elif outstanding and now - self._since >= self._limit_s:
            return Sight.STUCK
        self.watched = outstanding > 0
        return Sight.UNDER_WAY if self.watched else Sight.ALL_TAKEN
