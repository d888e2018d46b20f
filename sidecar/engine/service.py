"""One contract for everything that runs in the background: `start`, then `stop`, which may come twice or first.

Nothing but `stop` ends a service: what fails is logged and tried again, because a service that is silently dead would
be noticed by what it no longer does, much later.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress

import structlog

from sidecar.engine.wakeup import Wakeup
from sidecar.errors import PeerError

log = structlog.get_logger()


class Service(ABC):
    """Runs `run` as a task from `start` to `stop`."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; harmless when it already runs."""
        if self._task is None:
            self._task = asyncio.create_task(self.run(), name=type(self).__name__)

    async def stop(self) -> None:
        """End, and wait for the end; harmless when it never ran, or twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @abstractmethod
    async def run(self) -> None:
        """Work until cancelled."""


class PeriodicService(Service):
    """Does `run_once` every `interval_s` seconds; what fails is tried again next time."""

    def __init__(self, interval_s: float) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._rescheduled = Wakeup()

    def reschedule(self, interval_s: float) -> None:
        """Work at another pace, from now on: the next time is at once."""
        self._interval_s = interval_s
        self._rescheduled.set()

    def hurry(self) -> None:
        """Do the work once at once, for there is some."""
        self._rescheduled.set()

    async def run(self) -> None:
        """Work for ever."""
        while True:
            await self._rescheduled.wait(self._interval_s)
            self._rescheduled.clear()
            try:
                await self.run_once()
            except PeerError as error:
                log.warning("service_failed", service=type(self).__name__, error=str(error))
            except Exception as error:  # a bug of ours, as far as we know
                log.exception("service_failed", service=type(self).__name__, error=repr(error))

    @abstractmethod
    async def run_once(self) -> int:
        """Do the work that is there; give the number of things done."""
