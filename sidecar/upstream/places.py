"""How many connections to the upstream there may be, and the line of those who wait for one; first come, first served.

A place is taken before a connection is opened, and given back when it is closed. Who waits is handed either a place, to
open a connection of its own, or a kept connection that has just become free.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sidecar.errors import DownstreamGoneError, UpstreamBusyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.errors import SidecarError

Kept = TypeVar("Kept")


class Places(Generic[Kept]):
    """`limit` places; 0 is without limit. `left_behind` gets a kept connection whose taker has left."""

    def __init__(self, limit: int, left_behind: Callable[[Kept], None]) -> None:
        self._limit = limit
        self._left_behind = left_behind
        self.taken = 0
        """How many connections are open or being opened."""
        self._line: OrderedDict[asyncio.Future[Kept | None], bool] = OrderedDict()  # whether it takes a kept one

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return len(self._line)

    def take(self) -> bool:
        """Take a place if one is free. None is while anyone is in line."""
        if self._limit and self.taken >= self._limit:
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """Give a place back, or rather on to the first in line."""
        if not self._hand_on(None):
            self.taken -= 1

    def hand_over(self, kept: Kept) -> bool:
        """Hand a kept connection to the first in line; say whether anyone would have it.

        Whoever wants one of its own has to be made room for by closing a kept one.
        """
        return next(iter(self._line.values()), False) and self._hand_on(kept)

    async def wait(
        self, timeout_s: float, *, takes_kept: bool, gone: asyncio.Future[None] | None = None
    ) -> Kept | None:
        """Wait in line for a kept connection, or (None) for a place, which is then taken.

        Raises UpstreamBusyError when the time is over, DownstreamGoneError when `gone` is done by then.
        """
        turn: asyncio.Future[Kept | None] = asyncio.get_running_loop().create_future()
        self._line[turn] = takes_kept
        if gone is not None:
            gone.add_done_callback(partial(_give_up, turn))
        try:
            async with asyncio.timeout(timeout_s):
                return await turn
        except BaseException as error:
            self._leave(turn)
            if isinstance(error, TimeoutError):
                raise UpstreamBusyError(f"no connection was free within {timeout_s:g} s") from None
            raise

    def send_away(self, error: SidecarError) -> None:
        """Let all who wait fail."""
        while self._line:
            turn, _ = self._line.popitem(last=False)
            if not turn.done():
                turn.set_exception(error)

    def _leave(self, turn: asyncio.Future[Kept | None]) -> None:
        """Leave the line; what came in the very moment goes to the next."""
        self._line.pop(turn, None)
        if not turn.done() or turn.cancelled() or turn.exception() is not None:
            return
        handed = turn.result()
        if handed is None:
            self.give_back()
        else:
            self._left_behind(handed)

    def _hand_on(self, what: Kept | None) -> bool:
        while self._line:
            turn, _ = self._line.popitem(last=False)
            if not turn.done():
                turn.set_result(what)
                return True
        return False


def _give_up(turn: asyncio.Future[Any], gone: asyncio.Future[None]) -> None:
    del gone
    if not turn.done():
        turn.set_exception(DownstreamGoneError("downstream left before a connection was free"))
