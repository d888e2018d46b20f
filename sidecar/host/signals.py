"""The signals that the process listens to, as events.

SIGTERM, SIGINT   stop: streams may end within their grace time · once more: stop at once, and still journal
SIGHUP            read the configuration again
"""

from __future__ import annotations

import asyncio
import signal


class Signals:
    """What was signalled so far."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        """Set by the second signal to stop."""
        self.hang_up = asyncio.Event()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen, before anything else is done: unheard, each of the signals ends the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self.hang_up.set)

    def _told_to_stop(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()
