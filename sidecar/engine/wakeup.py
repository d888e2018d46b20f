"""Tells one sleeper that there may be something to do; several tellings before it looks are one."""

from __future__ import annotations

import asyncio


class Wakeup:
    """An event that is waited for at most for a while."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the sleeper, or have its next wait end at once."""
        self._event.set()

    def clear(self) -> None:
        """Take note of all tellings so far."""
        self._event.clear()

    async def wait(self, timeout_s: float) -> None:
        """Sleep until told, or until the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            pass
