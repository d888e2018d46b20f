"""What the running sidecar knows of a visit: its turn, read from the journal beside it until it is as expected."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sidecar.engine.history import Happening
from sidecar.turn.state import UNSETTLED, StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.doctor.visit import Visit
    from sidecar.engine.history import HistoryEntry
    from sidecar.engine.operator import OperatorDesk
    from sidecar.turn.state import Turn

POLL_S: Final = 0.03
_FAILED: Final = frozenset({Happening.ATTEMPT_FAILED, Happening.STEP_DEAD})


class Records:
    """The journal, as far as visits go. Raises JournalUnavailableError."""

    def __init__(self, desk: OperatorDesk) -> None:
        self._desk = desk

    async def turn_of(self, visit: Visit) -> Turn | None:
        """Give a visit's turn: by the id that was sent, or the one that came back, should a front have changed it."""
        for request_id in dict.fromkeys((visit.request_id, visit.shown_id)):
            if request_id is not None and (turns := await self._desk.of_request(request_id)):
                return turns[0]
        return None

    async def until(self, visit: Visit, expected: Callable[[Turn], bool], timeout_s: float) -> Turn | None:
        """Wait until a visit's turn is as expected; give it as it then is, expected or not."""
        turn = None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while (turn := await self.turn_of(visit) or turn) is None or not expected(turn):  # noqa: ASYNC110  (a file sets no event)
                    await asyncio.sleep(POLL_S)
        return turn

    async def owed(self, visit: Visit, timeout_s: float) -> tuple[Turn | None, Sequence[HistoryEntry]]:
        """Wait until the calls that are owed for a visit's turn were made, or one of them has failed; give both."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not await self._is_known(visit):  # noqa: ASYNC110  (a file sets no event)
                    await asyncio.sleep(POLL_S)
        turn = await self.turn_of(visit)
        return turn, await self.history(turn) if turn is not None else ()

    async def _is_known(self, visit: Visit) -> bool:
        turn = await self.turn_of(visit)
        if turn is None or not _is_owing(turn):
            return True
        return any(entry.what in _FAILED for entry in await self.history(turn))

    async def history(self, turn: Turn) -> Sequence[HistoryEntry]:
        """Give what happened to a turn."""
        history = await self._desk.history(turn.id)
        return history.entries if history is not None else ()

    async def undo(self, visit: Visit, turn: Turn | None, timeout_s: float) -> None:
        """Have the turn of a visit undone that would otherwise stay, and wait until that has begun."""
        if turn is not None and turn.cancelled_at is None and await self._desk.cancel(turn.id):
            await self.until(visit, lambda one: one.cancelled_at is not None, timeout_s)


def _is_owing(turn: Turn) -> bool:
    """Say whether something is still to come, looks for what is gone aside: these go on for as long as configured."""
    pending = {kind for kind, state in turn.steps.items() if state is StepState.PENDING}
    return turn.state in UNSETTLED and pending != {StepKind.VERIFY}
