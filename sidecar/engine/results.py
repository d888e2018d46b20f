"""What an attempt at an owed step comes to: for the journal, for the turn, for those who count, and for the log.

done, gone ------> StepDelivered
failed ----------> pending again, later; after the last attempt: StepDied
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.engine.changes import STILL_THERE
from sidecar.engine.ports import CallOutcome, Change, OwedStep, StepUpdate, Verdict
from sidecar.turn.events import StepDelivered, StepDied
from sidecar.turn.retry import ARRIVAL_MAX_S, gone_counts, retry_delay_s
from sidecar.turn.state import SETTLED, StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.engine.driver import Driver
    from sidecar.engine.live import LiveTurn
    from sidecar.engine.ports import Clock, Journal, TurnObserver
    from sidecar.turn.retry import Backoff
    from sidecar.turn.state import Turn

KEPT: Final = "not made: another turn in the conversation was delivered"

NEIGHBOUR: Final = "waits: another turn came into the conversation"

SOON_S: Final = 0.1
"""By then, what another process has just let in stands in the journal."""

TOO_EARLY: Final = "unknown there, but its request may still be on the way"

log = structlog.get_logger()


class Results:
    """Records what attempts came to. `backoff` says when a failed one is made again."""

    def __init__(
        self, journal: Journal, driver: Driver, clock: Clock, *, jitter: Callable[[], float], observer: TurnObserver
    ) -> None:
        self.backoff: Backoff
        self._journal = journal
        self._driver = driver
        self._clock = clock
        self._jitter = jitter
        self._observer = observer
        self._unknown_since: dict[str, float] = {}

    def counts(self, owed: OwedStep, outcome: CallOutcome) -> bool:
        """Say whether the step is done: the upstream said so, or that there is no such thing, nor can it still come."""
        if outcome.verdict is Verdict.GONE:
            return not self._may_still_come(owed)
        return outcome.verdict is Verdict.DONE

    async def delivered(
        self,
        owed: OwedStep,
        outcome: CallOutcome | None = None,
        *,
        live: LiveTurn | None = None,
        following: StepKind | None = None,
    ) -> None:
        """Record a step that is done; without an outcome, one that law 3 made needless.

        Of a `live` turn, nothing is waited for, and the `following` step is leased along with it.
        """
        at, kept = self._clock(), outcome is None
        captured = outcome.captured if outcome else {}
        gone, note = outcome is not None and outcome.verdict is Verdict.GONE, KEPT if kept else None
        event = StepDelivered(at=at, kind=owed.kind, captured=captured, gone=gone, kept=kept)
        update = _update(owed, StepState.DELIVERED, due_at=at, error=note, note=_seen(owed.kind, gone=gone))
        if live is None:
            turn = await self._driver.apply(owed.turn.id, event, update)
        else:
            self._driver.feed(live, event, update, lease=following)
            turn = live.turn
        dead = turn is not None and turn.steps.get(owed.kind) is StepState.DEAD
        ended = StepState.DEAD if dead else StepState.DELIVERED
        self._observer.step_ended(owed.turn, owed.kind, ended, at=at)
        self._forget_settled(turn, owed)
        if dead:
            log.error("step_dead", **_log_keys(owed), error=STILL_THERE)
            return
        log.info("step_delivered", **_log_keys(owed), status=outcome.status if outcome else None, gone=gone, note=note)

    async def failed(self, owed: OwedStep, outcome: CallOutcome) -> None:
        """Have the step made again later; where no attempt is left, and this one may be the last, it is dead."""
        at = self._clock()
        delay_s = retry_delay_s(
            self.backoff,
            attempts=owed.attempts + 1,
            jitter=self._jitter(),
            retry_after_s=outcome.retry_after_s,
        )
        if outcome.verdict is Verdict.GONE:
            outcome = replace(outcome, error=TOO_EARLY)
            delay_s = ARRIVAL_MAX_S if delay_s is None else delay_s
        if delay_s is None:
            update = _update(owed, StepState.DEAD, due_at=at, error=outcome.error)
            self._forget_settled(await self._driver.apply(owed.turn.id, StepDied(at=at, kind=owed.kind), update), owed)
            self._observer.step_ended(owed.turn, owed.kind, StepState.DEAD, at=at)
            log.error("step_dead", **_log_keys(owed), error=outcome.error)
        else:
            update = _update(owed, StepState.PENDING, due_at=at + delay_s, error=outcome.error)
            await self._journal.submit(Change(update=update, at=at))
            self._observer.step_ended(owed.turn, owed.kind, StepState.PENDING, at=at)
            log.warning("step_failed", **_log_keys(owed), error=outcome.error, retry_in_s=round(delay_s, 3))

    async def put_off(self, owed: OwedStep) -> None:
        """Give a step back that could not be tried: another turn has just come into the conversation."""
        at = self._clock()
        update = _update(owed, StepState.PENDING, due_at=at + SOON_S, error=NEIGHBOUR)
        await self._journal.submit(Change(update=replace(update, attempts=owed.attempts), at=at))

    def _may_still_come(self, owed: OwedStep) -> bool:
        """Say whether a turn that is unknown there may be on its way; after a restart that is found out anew."""
        now = self._clock()
        since = self._unknown_since.setdefault(owed.turn.id, now)
        return owed.kind is not StepKind.VERIFY and not gone_counts(owed.turn, unknown_for_s=now - since)

    def _forget_settled(self, turn: Turn | None, owed: OwedStep) -> None:
        if turn is None or turn.state in SETTLED:
            self._unknown_since.pop(owed.turn.id, None)


def _update(
    owed: OwedStep, state: StepState, *, due_at: float, error: str | None, note: str | None = None
) -> StepUpdate:
    return StepUpdate(
        turn_id=owed.turn.id,
        kind=owed.kind,
        state=state,
        attempts=owed.attempts + 1,
        due_at=due_at,
        error=error,
        note=note,
    )


def _seen(kind: StepKind, *, gone: bool) -> str | None:
    if kind is StepKind.VERIFY:
        return "seen gone" if gone else "still there"
    return "already gone" if gone else None


def _log_keys(owed: OwedStep) -> dict[str, object]:
    return {
        "step": owed.kind.value,
        "turn": owed.turn.id,
        "request_id": owed.turn.request_id,
        "attempts": owed.attempts + 1,
    }
