"""An engine as `app` joins it, but for the services' loops: a test lets each do its work when it wants."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.engine.cancellation import CancelDesk, CancelOutcome
from sidecar.engine.dispatcher import Dispatcher
from sidecar.engine.driver import Driver
from sidecar.engine.operator import OperatorDesk
from sidecar.engine.ports import Change
from sidecar.engine.pruner import Pruner
from sidecar.engine.recovery import recover
from sidecar.engine.standing import Standing
from sidecar.engine.sweeper import Sweeper
from sidecar.engine.tombstones import Tombstones
from sidecar.engine.wakeup import Wakeup
from sidecar.journal.store import WHOLE, SqliteJournal
from sidecar.turn.events import AnswerBegan, AnswerEnded, Delivered, DownstreamGone, Event, Forwarded, IdsLearned
from sidecar.turn.retry import Backoff
from sidecar.turn.state import Cause, Plan, State, StepKind, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.engine.live import LiveTurn
    from sidecar.engine.peers import Peers
    from sidecar.engine.ports import StepRow
    from sidecar.engine.share import Share
    from tests.fakes.admin_api import ScriptedAdminApi

CONFIRM, CANCEL, ROLLBACK = StepKind.CONFIRM, StepKind.CANCEL, StepKind.ROLLBACK
PLAN: Final = Plan(
    needs=MappingProxyType({CANCEL: frozenset({"request_id"}), ROLLBACK: frozenset({"conversation_id"})})
)
CONFIRM_PLAN: Final = Plan(needs=MappingProxyType({**PLAN.needs, CONFIRM: frozenset({"conversation_id"})}))
BACKOFF: Final = Backoff(first_s=1.0, max_s=8.0, attempts_max=4)
TEMP_TTL_S: Final = 600.0
RETENTION_S: Final = 86_400.0
TOMBSTONE_TTL_S: Final = 60.0
GRACE_S: Final = 30.0
LEASE_S: Final = 35.0
JITTER: Final = 0.5
STEPS_S: Final = 5.0


class ManualClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Give the time now."""
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(eq=False, slots=True)
class FakeExchange:
    """Writes down what the driver has it do."""

    done: list[str] = field(default_factory=list)

    def abort_downstream(self) -> None:
        """Relay nothing more."""
        self.done.append("abort")

    def close_upstream(self) -> None:
        """Close the upstream's connection."""
        self.done.append("close")

    def drain_upstream(self) -> None:
        """Read on, unseen."""
        self.done.append("drain")


@dataclass(eq=False, slots=True, kw_only=True)
class Engine:
    """The engine's parts, joined."""

    path: str
    clock: ManualClock
    admin: ScriptedAdminApi
    journal: SqliteJournal
    driver: Driver
    owed: Wakeup
    dispatcher: Dispatcher
    tombstones: Tombstones
    desk: CancelDesk
    sweeper: Sweeper
    pruner: Pruner
    operator: OperatorDesk
    plan: Plan
    recovered: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    async def start(
        cls,
        path: str,
        admin: ScriptedAdminApi,
        clock: ManualClock,
        *,
        own: bool = True,
        plan: Plan = PLAN,
        backoff: Backoff = BACKOFF,
        concurrency_max: int = 8,
        share: Share = WHOLE,
        peers: Peers | None = None,
        alone: bool = False,
    ) -> Engine:
        """Open the journal and recover, as at boot.

        `alone=True` is a process that knows what stands in newcomers' way. Else the journal is asked each time, so that
        a test may put into it what it likes.

        `own=False` is the operator's process beside it, or with `peers` one of several that share the work.
        """
        journal = await SqliteJournal.open(path, plan_of=lambda _: plan, clock=clock, own=own, share=share)
        recovered = await recover(journal, clock) if own or peers else 0
        owed = Wakeup()
        standing = await Standing.left_in(journal) if alone else None
        driver = Driver(journal, clock, on_owed=owed.set, peers=peers, standing=standing)
        tombstones = Tombstones(await journal.tombstones(now=clock()))
        return cls(
            path=path,
            clock=clock,
            admin=admin,
            journal=journal,
            driver=driver,
            owed=owed,
            dispatcher=Dispatcher(
                journal,
                admin,
                driver,
                clock,
                owed=owed,
                backoff=backoff,
                concurrency_max=concurrency_max,
                lease_s=LEASE_S,
                jitter=lambda: JITTER,
            ),
            tombstones=tombstones,
            desk=CancelDesk(journal, driver, tombstones, clock, tombstone_ttl_s=TOMBSTONE_TTL_S),
            sweeper=Sweeper(journal, driver, clock, temp_ttl_s=TEMP_TTL_S),
            pruner=Pruner(journal, clock, retention_s=RETENTION_S),
            operator=OperatorDesk(journal, driver, clock),
            plan=plan,
            recovered=recovered,
        )

    async def stop(self) -> None:
        """Stop in the order of `app`; harmless when done twice."""
        await self.dispatcher.stop()
        await self.journal.close()

    # -- turns -----------------------------------------------------------------------------------------------------

    def new_turn(
        self, turn_id: str | None = None, *, begins: bool = True, principal: str = "p1", **captured: str
    ) -> Turn:
        """Give a turn as it comes in; its request id is `req_<id>` unless told otherwise."""
        name = turn_id or f"t{next(self._numbers)}"
        return Turn(
            id=name,
            route="/chat",
            principal=principal,
            begins=begins,
            captured=MappingProxyType({"request_id": f"req_{name}", **captured}),
            created_at=self.clock(),
            plan=self.plan,
            heard=False,
        )

    async def open(self, turn_id: str | None = None, *, begins: bool = True, **captured: str) -> LiveTurn:
        """Open a turn and forward it; its answer has begun, so that what the upstream says of it is believed."""
        live = self.driver.admit(self.new_turn(turn_id, begins=begins, **captured), FakeExchange())
        await self.driver.open(live)
        self.feed(live, Forwarded(at=self.clock()), AnswerBegan(at=self.clock()))
        return live

    def feed(self, live: LiveTurn, *events: Event) -> None:
        """Feed events at once, waiting for nothing."""
        for event in events:
            self.driver.feed(live, event)

    async def abandon(self, live: LiveTurn, conversation_id: str | None = None) -> Turn:
        """Have downstream leave, after the upstream told the conversation's id; done when that is durable."""
        if conversation_id is not None:
            self.feed(live, IdsLearned(at=self.clock(), captured={"conversation_id": conversation_id}))
        await self.driver.feed(live, DownstreamGone(at=self.clock(), cause=Cause.CLOSED))
        self.driver.release(live)
        return live.turn

    async def deliver(self, live: LiveTurn, conversation_id: str | None = None) -> Turn:
        """Have downstream get the whole answer; done when that is durable."""
        captured = {"conversation_id": conversation_id} if conversation_id else {}
        await self.driver.feed(live, AnswerEnded(at=self.clock(), captured=captured))
        await self.driver.feed(live, Delivered(at=self.clock()))
        self.driver.release(live)
        return live.turn

    async def put(self, turn: Turn, *owed: StepKind) -> Turn:
        """Put a turn into the journal as some earlier run left it; give it as it comes back."""
        await self.journal.submit(Change(turn=turn, owed=owed, at=self.clock()))
        return await self.stored(turn.id)

    async def stored(self, turn_id: str) -> Turn:
        """Give a turn as the journal has it."""
        turn = await self.journal.load(turn_id)
        assert turn is not None, f"the journal knows no turn {turn_id}"
        return turn

    async def state(self, turn_id: str) -> State:
        """Give a turn's state as the journal has it."""
        return (await self.stored(turn_id)).state

    async def arrive(self, turn: Turn) -> State:
        """Let a request in as the exchange does; give its turn's state when it would be forwarded."""
        if self.tombstones.forestall(turn):
            await self.driver.record_cancelled(turn)
            return State.CANCELLED
        live = self.driver.admit(turn, FakeExchange())
        await self.driver.open(live)
        return live.turn.state

    async def ask(
        self, request_id: str | None = None, conversation_id: str | None = None, *, principal: str = "p1"
    ) -> CancelOutcome:
        """Ask the desk to cancel."""
        return await self.desk.cancel(
            principal, request_id=request_id, conversation_id=conversation_id, grace_s=GRACE_S
        )

    # -- steps -----------------------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Have the dispatcher make every call that is due, and those that then fall due."""
        await self.dispatcher.drain(STEPS_S)

    async def steps(self) -> dict[tuple[str, StepKind], StepRow]:
        """Give the outbox."""
        return {(row.turn_id, row.kind): row for row in await self.journal.outbox(limit=1000)}

    async def outbox(self) -> dict[tuple[str, StepKind], str]:
        """Give the state of every step in the outbox."""
        return {key: row.state for key, row in (await self.steps()).items()}


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Have someone else write to the journal's file: until the end of the context nobody can."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=STEPS_S)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def as_loaded(turn: Turn) -> Turn:
    """Give a turn as the journal gives it back: what is about its connection is gone."""
    return replace(turn, heard=True, listening=False)


def done_by(live: LiveTurn) -> Sequence[str]:
    """Give what the driver had the turn's exchange do."""
    assert isinstance(live.exchange, FakeExchange)
    return live.exchange.done
