"""The admin API's network: slow, failing, answering late, losing an answer after the upstream has acted on the call.

A call that was made is on its way, whether or not the process that made it still lives.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.engine.ports import CallOutcome, Verdict
from tests.simulation.site import ADMIN_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.turn.state import StepKind, Turn
    from tests.simulation.clock import Dice, VirtualLoop
    from tests.simulation.laws import Laws
    from tests.simulation.upstream import Upstream

TROUBLES = ("500", "429", "lost", "answer lost", "late")
TIMED_OUT = CallOutcome(verdict=Verdict.FAILED, error="no answer in time")


class SimulatedAdminApi:
    """Implements the port `AdminApi`. `trouble` is the share of calls that go wrong."""

    def __init__(self, loop: VirtualLoop, dice: Dice, upstream: Upstream, laws: Laws, *, trouble: float) -> None:
        self.trouble = trouble
        self._loop = loop
        self._dice = dice
        self._upstream = upstream
        self._laws = laws

    async def call(self, kind: StepKind, turn: Turn, *, idempotency_key: str) -> CallOutcome:
        """Make a step's call once."""
        dice = self._dice
        fate = dice.choose(TROUBLES) if dice.chance(self.trouble) else "well"
        self._laws.called(kind, turn, idempotency_key, fate)
        answered: asyncio.Future[CallOutcome] = self._loop.create_future()
        travel_s = dice.mostly(dice.between(0, 0.05), dice.between(0, ADMIN_TIMEOUT_S / 2), likelihood=0.9)
        match fate:
            case "500" | "429":
                wait_s = dice.between(0, 3) if fate == "429" else None
                failed = CallOutcome(verdict=Verdict.FAILED, status=int(fate), error=fate, retry_after_s=wait_s)
                self._loop.outside(travel_s, self._answer, answered, failed)
            case "lost":
                pass
            case _:
                late_s = ADMIN_TIMEOUT_S if fate == "late" else 0.0
                answers = fate != "answer lost"
                self._loop.outside(travel_s + late_s, self._arrive, answered, kind, turn, idempotency_key, answers)
        try:
            async with asyncio.timeout(ADMIN_TIMEOUT_S):
                return await answered
        except TimeoutError:
            return TIMED_OUT

    async def shows(self, captured: Mapping[str, str], *, traceparent: str | None = None) -> bool | None:
        """Say that it cannot be told: nobody here begins a conversation by probing."""
        del captured, traceparent
        return None

    def _arrive(
        self, answered: asyncio.Future[CallOutcome], kind: StepKind, turn: Turn, key: str, answers: bool
    ) -> None:
        outcome = self._upstream.call(kind, turn, key)
        self._laws.acted(kind, turn, outcome)
        if answers:
            self._loop.outside(self._dice.between(0, 0.05), self._answer, answered, outcome)

    def _answer(self, answered: asyncio.Future[CallOutcome], outcome: CallOutcome) -> None:
        if not answered.done():
            answered.set_result(outcome)
