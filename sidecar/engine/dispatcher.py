"""The dispatcher empties the outbox: it leases what is due, makes the calls side by side, and tells the turns.

        a live turn's first step ---------.
        outbox --lease--> call the admin API --> results

What a live turn comes to owe is made at once: leased in the change that makes it owed, it needs no look into the
outbox. There is found what is made later: what failed, what has to wait, what an earlier run left behind. A step that
waits for its next attempt holds nobody up: only attempts under way take one of `concurrency_max` places, and each ends
within the admin API's timeout.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import structlog

from sidecar.engine.changes import first_key
from sidecar.engine.ports import OwedStep
from sidecar.engine.results import Results
from sidecar.engine.service import Service
from sidecar.engine.unobserved import UNOBSERVED
from sidecar.errors import JournalUnavailableError
from sidecar.turn.state import StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.engine.driver import Driver
    from sidecar.engine.live import LiveTurn
    from sidecar.engine.ports import AdminApi, Clock, Journal, TurnObserver
    from sidecar.engine.wakeup import Wakeup
    from sidecar.turn.retry import Backoff
    from sidecar.turn.state import Turn

POLL_S: Final = 1.0
"""How late a step is seen that another process made due, such as the operator's `outbox retry`."""

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
        self._owed = owed
        self._results = Results(journal, driver, clock, jitter=jitter, observer=observer)
        self.use(**pace)
        self._attempts: set[asyncio.Task[None]] = set()
        self._leasing = 0

    def start(self) -> None:
        """Begin; harmless when it already runs."""
        super().start()
        self._driver.taker = self

    def use(self, **pace: Unpack[Pace]) -> None:
        """Work at that pace from now on."""
        self._results.backoff = pace["backoff"]
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
        steps = await self._lease(places)
        for owed in steps:
            self._begin(owed)
        return len(steps)

    async def _lease(self, places: int) -> Sequence[OwedStep]:
        """Lease what is due; meanwhile these places are taken."""
        now, self._leasing = self._clock(), places
        try:
            return await self._journal.lease(now=now, until=now + self._lease_s, limit=places)
        finally:
            self._leasing = 0

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
        self._driver.taker = None
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
        _tell_if_lost(attempt)

    async def _attempt(self, owed: OwedStep) -> None:
        if owed.kind is StepKind.ROLLBACK and not await self._may_roll_back(owed):
            return
        outcome = await self._api.call(owed.kind, owed.turn, idempotency_key=owed.idempotency_key)
        if self._results.counts(owed, outcome):
            await self._results.delivered(owed, outcome)
        else:
            await self._results.failed(owed, outcome)

    async def _may_roll_back(self, owed: OwedStep) -> bool:
        """Keep law 3, also where another process has just let a turn into the conversation; say whether to go on."""
        if await self._driver.peers.undoing(owed.turn):
            await self._results.put_off(owed)
            return False
        there = await self._journal.neighbours(owed.turn)
        if there.confirmed:
            await self._results.delivered(owed)
        elif there.unsettled:
            await self._results.put_off(owed)
        return not (there.confirmed or there.unsettled)

    # -- live turns (Taker) ------------------------------------------------------------------------------------------

    @property
    def has_place(self) -> bool:
        """Whether it would take a turn now."""
        return len(self._attempts) + self._leasing < self._concurrency_max

    @property
    def until(self) -> float:
        """Until when a step that is made now is to be leased."""
        return self._clock() + self._lease_s

    def take(self, live: LiveTurn, kind: StepKind, leased: asyncio.Future[None]) -> None:
        """Make a step that has just become owed, and those after it; the future is done when all that is durable."""
        self._driver.hold(live)
        attempt = asyncio.create_task(self._see_through(live, kind, leased))
        self._attempts.add(attempt)
        attempt.add_done_callback(partial(self._seen_through, live))

    def _seen_through(self, live: LiveTurn, attempt: asyncio.Task[None]) -> None:
        self._driver.let_go(live)
        was_full = not self.has_place
        self._attempts.discard(attempt)
        if was_full or StepState.PENDING in live.turn.steps.values():
            self._owed.set()
        _tell_if_lost(attempt)

    async def _see_through(self, live: LiveTurn, kind: StepKind, leased: asyncio.Future[None]) -> None:
        """Make a live turn's steps, as far as nothing is in their way; the rest the outbox keeps for later.

        The cancel call waits for no commit: until the turn is cancelled in the journal too, it is open there, and a
        restart would cancel it and make the call again, with the same key. What it comes to waits for that; so does a
        call whose answer may tell an id, because the upstream might not tell it twice.
        """
        following: StepKind | None = kind
        while following is not None:
            owed = OwedStep(turn=live.turn, kind=following, attempts=0, idempotency_key=first_key(live.turn, following))
            if following is not StepKind.CANCEL or (live.turn.plan.cancel_tells and not live.turn.told):
                await asyncio.shield(leased)
            if following is StepKind.ROLLBACK and following is kind and not await self._may_roll_back(owed):
                return
            if live.turn.steps.get(following) is not StepState.PENDING:
                return  # dropped, or made by the dispatcher, while something was waited for
            outcome = await self._api.call(owed.kind, owed.turn, idempotency_key=owed.idempotency_key)
            await asyncio.shield(leased)
            if not self._results.counts(owed, outcome):
                await self._results.failed(owed, outcome)
                return
            following = await self._following(live, owed.kind)
            await self._results.delivered(owed, outcome, live=live, following=following)

    async def _following(self, live: LiveTurn, kind: StepKind) -> StepKind | None:
        """Name the step that can be made right after another one; its rank and law 3 allow it."""
        steps = live.turn.steps
        pending = [one for one in StepKind if steps.get(one) is StepState.PENDING]
        if pending[:1] != [kind] or len(pending) == 1 or pending[1] not in live.once:
            return None
        if pending[1] is StepKind.ROLLBACK and not await self._is_clear(live.turn):
            return None
        return pending[1] if pending[1] not in live.owing else None  # it was just learned of: not durable yet

    async def _is_clear(self, turn: Turn) -> bool:
        """Say whether no other turn stands in the way of rolling a conversation back (law 3); if unsure, not."""
        if await self._driver.peers.undoing(turn):
            return False
        try:
            there = await self._journal.neighbours(turn)
        except JournalUnavailableError:
            return False
        return not (there.confirmed or there.unsettled)


def _tell_if_lost(attempt: asyncio.Task[None]) -> None:
    if not attempt.cancelled() and (error := attempt.exception()) is not None:
        log.error("attempt_lost", error=repr(error))  # its lease runs out, and it is made again
