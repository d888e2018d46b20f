"""A cancel may come first, twice, late, or from a stranger (law 6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.cancellation import CancelDesk, CancelOutcome
from sidecar.turn.events import AnswerEnded, DownstreamGone, Forwarded, Refused, StepDied
from sidecar.turn.state import Cause, State, Turn
from tests.fakes.engine import CANCEL, CONFIRM, CONFIRM_PLAN, GRACE_S, ROLLBACK, TOMBSTONE_TTL_S, FakeExchange, done_by

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine, ManualClock

CANCELLED, REMEMBERED, COMPLETED = CancelOutcome


async def ask(
    engine: Engine, request_id: str | None = None, conversation_id: str | None = None, *, principal: str = "p1"
) -> CancelOutcome:
    return await engine.desk.cancel(principal, request_id=request_id, conversation_id=conversation_id, grace_s=GRACE_S)


async def arrive(engine: Engine, turn: Turn) -> State:
    """Let a request in as the exchange does; give its turn's state when it would be forwarded."""
    if engine.tombstones.forestall(turn):
        await engine.driver.record_cancelled(turn)
        return State.CANCELLED
    live = engine.driver.admit(turn, FakeExchange())
    await engine.driver.open(live)
    return live.turn.state


# Under way


@pytest.mark.parametrize("ids", [("req_t1", None), (None, "c1"), ("req_t1", "c1"), ("req_t1", "elsewhere")])
async def test_a_turn_under_way_is_cancelled_by_either_id_or_both(
    engine: Engine, admin: ScriptedAdminApi, ids: tuple[str | None, str | None]
) -> None:
    live = await engine.open("t1", conversation_id="c1")
    assert await ask(engine, *ids) is CANCELLED
    assert done_by(live) == ["abort", "close"]
    assert await engine.state("t1") is State.CANCELLING  # durable on return
    assert (await engine.stored("t1")).cause is Cause.REQUESTED
    await engine.work()
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]
    assert await engine.journal.tombstones(now=0.0) == []


async def test_a_conversation_id_cancels_every_turn_under_way_in_it(engine: Engine) -> None:
    lives = [await engine.open(name, begins=name == "a", conversation_id="c1") for name in ("a", "b")]
    other = await engine.open("other", conversation_id="c2")
    assert await ask(engine, conversation_id="c1") is CANCELLED
    assert [live.turn.state for live in (*lives, other)] == [State.CANCELLING, State.CANCELLING, State.OPEN]


async def test_a_known_request_id_decides_alone(engine: Engine) -> None:
    mine = await engine.open("mine", conversation_id="c1")
    other = await engine.open("other", begins=False, conversation_id="c1")
    assert await ask(engine, "req_mine", "c1") is CANCELLED
    assert (mine.turn.state, other.turn.state) == (State.CANCELLING, State.OPEN)


async def test_a_temporary_id_is_as_good_as_the_real_one(engine: Engine) -> None:
    live = await engine.open("t1", conversation_id="temp_1")
    await engine.driver.feed(live, AnswerEnded(at=1000.0, captured={"conversation_id": "real_1"}))
    assert await ask(engine, conversation_id="temp_1") is CANCELLED
    assert live.turn.state is State.CANCELLING


async def test_twice_is_the_same_answer_and_no_more_work(engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.open("t1", conversation_id="c1")
    assert set(await asyncio.gather(*(ask(engine, "req_t1") for _ in range(5)))) == {CANCELLED}
    await engine.work()
    assert len(admin.made) == 2
    assert await ask(engine, "req_t1") is CANCELLED
    assert await ask(engine, conversation_id="c1") is CANCELLED
    await engine.work()
    assert len(admin.made) == 2


async def test_one_that_is_unresolved_was_cancelled_too(engine: Engine) -> None:
    live = await engine.open("t1", conversation_id="c1")
    await engine.abandon(live)
    for kind in (CANCEL, ROLLBACK):
        await engine.driver.apply("t1", StepDied(at=1001.0, kind=kind))
    assert await engine.state("t1") is State.UNRESOLVED
    assert await ask(engine, "req_t1") is CANCELLED


# Late


@pytest.mark.parametrize("late_s", [0.0, GRACE_S])
async def test_late_within_the_grace_time_a_new_conversation_is_rolled_back(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock, late_s: float
) -> None:
    await engine.deliver(await engine.open("t1"), "c1")
    clock.move(late_s)
    assert await ask(engine, "req_t1") is CANCELLED
    await engine.work()
    assert admin.kinds == [("t1", ROLLBACK)]
    assert await engine.state("t1") is State.CANCELLED


async def test_after_the_grace_time_it_stays(engine: Engine, admin: ScriptedAdminApi, clock: ManualClock) -> None:
    await engine.deliver(await engine.open("t1"), "c1")
    clock.move(GRACE_S + 0.001)
    assert await ask(engine, "req_t1") is COMPLETED
    assert await ask(engine, conversation_id="c1") is COMPLETED
    await engine.work()
    assert admin.made == []
    assert await engine.state("t1") is State.COMPLETED


async def test_late_an_existing_conversation_stays(engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.deliver(await engine.open("t1", begins=False, conversation_id="c1"))
    assert await ask(engine, "req_t1") is COMPLETED
    await engine.work()
    assert admin.made == []


async def test_late_a_conversation_that_went_on_stays(engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.deliver(await engine.open("first"), "c1")
    await engine.deliver(await engine.open("second", begins=False, conversation_id="c1"))
    assert await ask(engine, "req_first") is COMPLETED
    await engine.work()
    assert admin.made == []


async def test_late_while_it_is_being_confirmed(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start(plan=CONFIRM_PLAN)
    await engine.deliver(await engine.open("t1"), "c1")
    assert await ask(engine, "req_t1") is CANCELLED
    await engine.work()
    assert admin.kinds == [("t1", CONFIRM), ("t1", ROLLBACK)]
    assert await engine.state("t1") is State.CANCELLED


async def test_a_refused_turn_is_over(engine: Engine, admin: ScriptedAdminApi) -> None:
    live = await engine.open("t1", conversation_id="c1")
    await engine.driver.feed(live, Refused(at=1000.0))
    assert await ask(engine, "req_t1") is COMPLETED
    engine.driver.release(live)
    assert await ask(engine, "req_t1") is COMPLETED
    await engine.work()
    assert admin.made == []


# From a stranger, or of nothing known


@pytest.mark.parametrize("ids", [("req_t1", None), (None, "c1"), ("req_t1", "c1")])
async def test_a_stranger_gets_the_answer_for_an_unknown_id_and_nothing_happens(
    engine: Engine, admin: ScriptedAdminApi, ids: tuple[str | None, str | None]
) -> None:
    live = await engine.open("t1", conversation_id="c1")
    unknown = tuple(value and "unknown" for value in ids)
    assert await ask(engine, *ids, principal="stranger") is await ask(engine, *unknown, principal="stranger")
    assert live.turn.state is State.OPEN
    await engine.deliver(live)
    assert await ask(engine, *ids, principal="stranger") is REMEMBERED
    assert await engine.state("t1") is State.COMPLETED
    assert await arrive(engine, engine.new_turn("t2", request_id="req_t1")) is State.OPEN  # his tombstone, not mine
    await engine.work()
    assert admin.made == []


# First


@pytest.mark.parametrize("restart", [False, True])
async def test_a_cancel_that_comes_first_stops_the_request(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, *, restart: bool
) -> None:
    engine = await start()
    assert await ask(engine, "req_t1", "c1") is REMEMBERED
    if restart:
        await engine.stop()
        engine = await start()
    assert await arrive(engine, engine.new_turn("t1")) is State.CANCELLED
    assert await engine.state("t1") is State.CANCELLED
    assert await ask(engine, "req_t1") is CANCELLED
    await engine.work()
    assert admin.made == []


async def test_a_conversation_cancelled_first_is_not_begun_but_may_go_on(engine: Engine) -> None:
    assert await ask(engine, conversation_id="c1") is REMEMBERED
    assert await arrive(engine, engine.new_turn("new", conversation_id="c1")) is State.CANCELLED
    assert await arrive(engine, engine.new_turn("later", begins=False, conversation_id="c1")) is State.OPEN


async def test_a_tombstone_is_not_kept_for_ever(engine: Engine, clock: ManualClock) -> None:
    assert await ask(engine, "req_t1") is REMEMBERED
    clock.move(TOMBSTONE_TTL_S)
    assert await arrive(engine, engine.new_turn("t1")) is State.OPEN
    assert await engine.pruner.run_once() == 1
    assert await engine.journal.tombstones(now=0.0) == []


async def test_a_cancel_that_overtakes_its_request_leaves_what_was_there_before_alone(
    engine: Engine, admin: ScriptedAdminApi
) -> None:
    """The conversation's earlier turn was delivered moments ago; the cancel means a request that has yet to come."""
    await engine.deliver(await engine.open("first"), "c1")
    assert await ask(engine, "req_second", "c1") is REMEMBERED
    assert await engine.state("first") is State.COMPLETED
    assert await arrive(engine, engine.new_turn("second", begins=False, conversation_id="c1")) is State.CANCELLED
    await engine.work()
    assert admin.made == []


async def test_an_unknown_request_id_still_stops_what_is_under_way_in_the_conversation(engine: Engine) -> None:
    """The app may know the request by another id than the upstream does."""
    live = await engine.open("t1", conversation_id="c1")
    assert await ask(engine, "the_apps_own", "c1") is CANCELLED
    assert live.turn.state is State.CANCELLING
    assert await arrive(engine, engine.new_turn("t2", begins=False, request_id="the_apps_own")) is State.CANCELLED


# Races: something happens while the desk is asking the journal


class Meanwhile:
    """Has something happen just before the journal answers."""

    def __init__(self, desk: CancelDesk, happens: Callable[[], Awaitable[object]], *, at: int = 1) -> None:
        self._find, self._happens, self._at = desk._journal.find, happens, at
        desk._journal.find = self.find  # type: ignore[method-assign]

    async def find(self, principal: str, **ids: str) -> Sequence[Turn]:
        found = await self._find(principal, **ids)  # type: ignore[arg-type]
        self._at -= 1
        if self._at == 0:
            await self._happens()
        return found


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("named", [True, False])
async def test_a_request_that_comes_meanwhile_is_cancelled(engine: Engine, *, at: int, named: bool) -> None:
    turn = engine.new_turn("t1", **({"conversation_id": "c1"} if named else {}))
    Meanwhile(engine.desk, lambda: arrive(engine, turn), at=at)
    assert await ask(engine, "req_t1", "c1") is CANCELLED
    (live,) = engine.driver.live
    assert live.turn.state is State.CANCELLED


@pytest.mark.parametrize("at", [1, 2])
async def test_it_is_cancelled_although_its_conversation_is_known_otherwise(engine: Engine, at: int) -> None:
    await engine.deliver(await engine.open("first"), "c1")
    turn = engine.new_turn("second", begins=False)
    Meanwhile(engine.desk, lambda: arrive(engine, turn), at=at)
    assert await ask(engine, "req_second", "c1") is CANCELLED
    assert [live.turn.state for live in engine.driver.live] == [State.CANCELLED]
    assert await engine.state("first") is State.COMPLETED


async def test_a_turn_that_is_completed_meanwhile_is_cancelled_late(engine: Engine) -> None:
    live = await engine.open("t1")
    before = engine.driver.apply

    async def deliver_first(*arguments: object) -> object:
        await engine.deliver(live, "c1")
        return await before(*arguments)  # type: ignore[arg-type]

    engine.driver.apply = deliver_first  # type: ignore[assignment, method-assign]
    assert await ask(engine, "req_t1") is CANCELLED
    assert await engine.outbox() == {("t1", ROLLBACK): "pending"}


async def test_a_turn_that_leaves_meanwhile_is_cancelled_once(engine: Engine) -> None:
    live = await engine.open("t1", conversation_id="c1")
    engine.feed(live, DownstreamGone(at=1000.0, cause=Cause.RESET))
    assert await ask(engine, "req_t1") is CANCELLED
    assert live.turn.cause is Cause.RESET
    assert done_by(live) == ["abort", "close"]


async def test_a_cancel_between_admission_and_forwarding_keeps_the_upstream_unaware(engine: Engine) -> None:
    live = engine.driver.admit(engine.new_turn("t1"), FakeExchange())
    opening = asyncio.ensure_future(engine.driver.open(live))
    assert await ask(engine, "req_t1") is CANCELLED
    await opening
    assert live.turn.state is State.CANCELLED
    with pytest.raises(Exception, match="Forwarded cannot happen"):
        engine.driver.feed(live, Forwarded(at=1001.0))
    assert await engine.outbox() == {}
