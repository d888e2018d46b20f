"""Downstream is away, and that is put up with: the answer runs on unseen (policy `complete`, grace time).

Ended by whatever comes first: the answer's end, a cancel, or the end of the grace time, on which `act` is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Away:
    """Whether downstream is away, and until when that is put up with."""

    def __init__(self) -> None:
        self.active = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, *, grace_s: float | None, act: Callable[[], None]) -> None:
        """Begin; `grace_s` is None where it is put up with to the answer's end."""
        self.active = True
        if grace_s is not None:
            self._timer = loop.call_later(grace_s, act)

    def end(self) -> None:
        """End; harmless when done twice."""
        self.active = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
