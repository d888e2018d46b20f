"""The admin API as the engine sees it, scripted: each call takes the next outcome of its kind, or says done.

An outcome that is still a future leaves its call hanging until the test settles it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sidecar.engine.ports import CallOutcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.turn.state import StepKind, Turn

Scripted: TypeAlias = "CallOutcome | BaseException | asyncio.Future[CallOutcome]"

DONE = CallOutcome(verdict=Verdict.DONE, status=200)
GONE = CallOutcome(verdict=Verdict.GONE, status=404)
FAILED = CallOutcome(verdict=Verdict.FAILED, status=503, error="503")


def asks_for_patience(retry_after_s: float) -> CallOutcome:
    """Give a failure that names the seconds to wait."""
    return CallOutcome(verdict=Verdict.FAILED, status=429, error="429", retry_after_s=retry_after_s)


@dataclass(frozen=True, slots=True)
class Made:
    """A call as it was made."""

    kind: StepKind
    turn_id: str
    key: str
    captured: Mapping[str, str]


class ScriptedAdminApi:
    """Plays the script of each kind of call, and writes down what was asked of it."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.under_way = 0
        self.under_way_max = 0
        self.shown: dict[str, bool | None] = {}
        self._scripts: defaultdict[StepKind, deque[Scripted]] = defaultdict(deque)
        self._hanging: dict[tuple[StepKind, str], asyncio.Future[CallOutcome]] = {}

    def script(self, kind: StepKind, *outcomes: Scripted) -> None:
        """Add to what the next calls of that kind come to."""
        self._scripts[kind].extend(outcomes)

    def hang(self, kind: StepKind, turn_id: str) -> asyncio.Future[CallOutcome]:
        """Have every such call for that turn hang until the future is settled."""
        return self._hanging.setdefault((kind, turn_id), asyncio.get_running_loop().create_future())

    @property
    def kinds(self) -> list[tuple[str, StepKind]]:
        """The turn and kind of every call, in their order."""
        return [(made.turn_id, made.kind) for made in self.made]

    async def call(self, kind: StepKind, turn: Turn, *, idempotency_key: str) -> CallOutcome:
        """Write the call down and come to its outcome."""
        self.made.append(Made(kind, turn.id, idempotency_key, dict(turn.captured)))
        self.under_way += 1
        self.under_way_max = max(self.under_way, self.under_way_max)
        try:
            return await self._come_to(kind, turn)
        finally:
            self.under_way -= 1

    async def shows(self, captured: Mapping[str, str], *, traceparent: str | None = None) -> bool | None:
        """Say what the script says of the conversation."""
        del traceparent
        return self.shown.get(captured.get("conversation_id", ""))

    async def _come_to(self, kind: StepKind, turn: Turn) -> CallOutcome:
        await asyncio.sleep(0)  # no real call is over before the loop has gone round
        hanging = self._hanging.get((kind, turn.id))
        if hanging is not None:
            return await asyncio.shield(hanging)
        outcome = self._scripts[kind].popleft() if self._scripts[kind] else DONE
        if isinstance(outcome, BaseException):
            raise outcome
        return await asyncio.shield(outcome) if isinstance(outcome, asyncio.Future) else outcome
