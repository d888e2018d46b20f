"""Waiting for what has to come about, within a deadline; never for time to pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")

DEADLINE_S: Final = 5.0
AT_ONCE_S: Final = 0.2
"""What the product promises to do at once is done by then, on a busy machine too."""
POLL_S: Final = 0.002


async def eventually(look: Callable[[], Found | None], timeout_s: float = DEADLINE_S) -> Found:
    """Look until something true is found, and give it. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not (found := look()):  # noqa: ASYNC110  (a file or a kernel's buffer sets no event)
            await asyncio.sleep(POLL_S)
        return found


async def loop_turns(count: int = 20) -> None:
    """Let the event loop go round: long enough for whatever needs nothing but the loop."""
    for _ in range(count):
        await asyncio.sleep(0)
