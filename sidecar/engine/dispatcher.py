"""The dispatcher empties the outbox: it leases what is due, makes the calls side by side, and tells the turns.

        outbox --lease--> call the admin API --done, gone--> StepDelivered
                                             --failed------> pending again, later; after the last attempt: StepDied

A step that is waiting for its next attempt holds nobody up: only attempts under way take one of `concurrency_max`
places, and each ends within the admin API's timeout.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import structlog

from sidecar.engine.changes import STILL_THERE
from sidecar.engine.ports import CallOutcome, Change, OwedStep, StepUpdate, Verdict
from sidecar.engine.service import Service
from sidecar.engine.unobserved import UNOBSERVED
from sidecar.errors import JournalUnavailableError
from sidecar.turn.events import StepDelivered, StepDied
from sidecar.turn.retry import ARRIVAL_MAX_S, gone_counts, retry_delay_s
from sidecar.turn.state import SETTLED, StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.ports import AdminApi, Clock, Journal, TurnObserver
    from sidecar.engine.wakeup import Wakeup
    from sidecar.turn.retry import Backoff
    from sidecar.turn.state import Turn

POLL_S: Final = 1.0
"""How late a step is seen that another process made due, such as the operator's `outbox retry`."""

KEPT: Final = "not made: another turn in the conversation was delivered"

NEIGHBOUR: Final = "waits: another turn came into the conversation"

SOON_S: Final = 0.1
"""By then, what another process has just let in stands in the journal."""

TOO_EARLY: Final = "unknown there, but its request may still be on the way"

log = structlog.get_logger()


class Pace(TypedDict):
    """How the outbox is emptied. `lease_s` is how long a lease is good for: longer than any attempt may take."""

    backoff: Backoff
    concurrency_max: int
    lease_s: float


class Dispatcher(Service):
    """Makes the owed calls."""

    def __init__(
        self,
        journal: Journal,
        api: AdminApi,
        driver: Driver,
        clock: Clock,
        *,
        owed: Wakeup,
        jitter: Callable[[], float],
        observer: TurnObserver = UNOBSERVED,
        **pace: Unpack[Pace],
    ) -> None:
        super().__init__()
        self._journal = journal
        self._api = api
        self._driver = driver
        self._clock = clock
        self._jitter = jitter
        self._owed = owed
        self._observer = observer
        self.use(**pace)
        self._unknown_since: dict[str, float] = {}
        self._attempts: set[asyncio.Task[None]] = set()

    def use(self, **pace: Unpack[Pace]) -> None:
        """Work at that pace from now on."""
        self._backoff = pace["backoff"]
        self._concurrency_max = pace["concurrency_max"]
        self._lease_s = pace["lease_s"]
        self._owed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._owed.clear()
            try:
                await self.run_once()
                pause_s = await self._pause_s()
            except JournalUnavailableError as error:
                log.warning("dispatcher_waits", error=str(error))
                pause_s = POLL_S
            except Exception as error:  # a bug of ours must not stop what is owed to all others
                log.exception("dispatcher_failed", error=repr(error))
                pause_s = POLL_S
            await self._owed.wait(pause_s)

    async def run_once(self) -> int:
        """Begin an attempt at each due step for which there is a place; give their number."""
        places = self._concurrency_max - len(self._attempts)
        if places <= 0:
            return 0
        now = self._clock()
        steps = await self._journal.lease(now=now, until=now + self._lease_s, limit=places)
        for owed in steps:
            self._begin(owed)
        return len(steps)

    async def drain(self, timeout_s: float) -> None:
        """Go on for a while, at most until nothing is due or under way: the last act of an orderly stop."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self.run_once() or self._attempts:
                    await asyncio.wait(self._attempts, return_when=asyncio.FIRST_COMPLETED)
        except (TimeoutError, JournalUnavailableError) as error:
            log.warning("dispatcher_stops_early", owing=True, error=str(error))

    async def stop(self) -> None:
        """End; attempts under way are dropped and will be made again with the same idempotency key."""
        await super().stop()
        attempts: Sequence[asyncio.Task[None]] = tuple(self._attempts)
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)

    async def _pause_s(self) -> float:
        if len(self._attempts) >= self._concurrency_max:
            return POLL_S  # whichever attempt ends first wakes us
        due_at = await self._journal.next_due_at()
        if due_at is None:
            return POLL_S
        return min(POLL_S, max(0.01, due_at - self._clock()))

    def _begin(self, owed: OwedStep) -> None:
        attempt = asyncio.create_task(self._attempt(owed))
        self._attempts.add(attempt)
        attempt.add_done_callback(self._ended)

    def _ended(self, attempt: asyncio.Task[None]) -> None:
        self._attempts.discard(attempt)
        self._owed.set()
        if not attempt.cancelled() and (error := attempt.exception()) is not None:
            log.error("attempt_lost", error=repr(error))  # its lease runs out, and it is made again

    async def _attempt(self, owed: OwedStep) -> None:
        if owed.kind is StepKind.ROLLBACK and not await self._may_roll_back(owed):
            return
        outcome = await self._api.call(owed.kind, owed.turn, idempotency_key=owed.idempotency_key)
        if outcome.verdict is Verdict.GONE and self._may_still_come(owed):
            await self._failed(owed, replace(outcome, error=TOO_EARLY), last=False)
        elif outcome.verdict is Verdict.FAILED:
            await self._failed(owed, outcome)
        else:
            await self._delivered(owed, outcome)

    async def _may_roll_back(self, owed: OwedStep) -> bool:
        """Keep law 3, also where another process has just let a turn into the conversation; say whether to go on."""
        if await self._driver.peers.undoing(owed.turn):
            at = self._clock()
            update = _update(owed, StepState.PENDING, due_at=at + SOON_S, error=NEIGHBOUR)
            await self._journal.submit(Change(update=replace(update, attempts=owed.attempts), at=at))
            return False
        if (await self._journal.neighbours(owed.turn)).confirmed:
            await self._delivered(owed, kept=True)
            return False
        return True

    def _may_still_come(self, owed: OwedStep) -> bool:
        """Say whether a turn that is unknown there may be on its way; after a restart that is found out anew."""
        now = self._clock()
        since = self._unknown_since.setdefault(owed.turn.id, now)
        return owed.kind is not StepKind.VERIFY and not gone_counts(owed.turn, unknown_for_s=now - since)

    async def _delivered(self, owed: OwedStep, outcome: CallOutcome | None = None, *, kept: bool = False) -> None:
        at, note = self._clock(), KEPT if kept else None
        captured = outcome.captured if outcome else {}
        gone = outcome is not None and outcome.verdict is Verdict.GONE
        event = StepDelivered(at=at, kind=owed.kind, captured=captured, gone=gone, kept=kept)
        update = _update(owed, StepState.DELIVERED, due_at=at, error=note, note=_seen(owed.kind, gone=gone))
        turn = await self._driver.apply(owed.turn.id, event, update)
        dead = turn is not None and turn.steps.get(owed.kind) is StepState.DEAD
        ended = StepState.DEAD if dead else StepState.DELIVERED
        self._observer.step_ended(owed.turn, owed.kind, ended, at=at)
        self._forget_settled(turn, owed)
        if dead:
            log.error("step_dead", **_log_keys(owed), error=STILL_THERE)
            return
        log.info("step_delivered", **_log_keys(owed), status=outcome.status if outcome else None, gone=gone, note=note)

    async def _failed(self, owed: OwedStep, outcome: CallOutcome, *, last: bool = True) -> None:
        """Have the step made again later; where no attempt is left, and this one may be the last, it is dead."""
        at = self._clock()
        delay_s = retry_delay_s(
            self._backoff,
            attempts=owed.attempts + 1,
            jitter=self._jitter(),
            retry_after_s=outcome.retry_after_s,
        )
        if delay_s is None and not last:
            delay_s = ARRIVAL_MAX_S
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
