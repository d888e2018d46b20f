"""What a live turn comes to owe is made at once: leased in the change that makes it owed, found by nobody else."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.history import Happening, history_of
from sidecar.engine.ports import CallOutcome, StepUpdate, Verdict
from sidecar.engine.results import KEPT
from sidecar.turn.events import AnswerEnded, DownstreamGone, IdsLearned, StepDropped
from sidecar.turn.state import Cause, State, StepState
from tests.fakes.admin_api import DONE, FAILED
from tests.fakes.engine import CANCEL, CONFIRM, CONFIRM_PLAN, LEASE_S, PLAN, ROLLBACK, Engine, locked
from tests.fakes.waiting import eventually, loop_turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sidecar.engine.live import LiveTurn
    from sidecar.engine.ports import OwedStep
    from sidecar.turn.state import Turn
    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import ManualClock

GONE = DownstreamGone(at=1001.0, cause=Cause.RESET)
TOLD = IdsLearned(at=1000.5, captured={"conversation_id": "c1"})


@pytest.fixture
async def engine(start: Callable[..., Awaitable[Engine]]) -> AsyncIterator[Engine]:
    """A running one."""
    engine = await start(alone=True)
    engine.dispatcher.start()
    yield engine
    assert not engine.driver._taken


async def told(engine: Engine, turn_id: str = "t1") -> LiveTurn:
    """Give a turn whose conversation is known."""
    live = await engine.open(turn_id)
    await engine.driver.feed(live, TOLD)
    return live


async def is_settled(engine: Engine, turn_id: str = "t1") -> State:
    async with asyncio.timeout(10):
        while (state := await engine.state(turn_id)) in {State.OPEN, State.CANCELLING, State.CONFIRMING}:
            pass
    return state


async def test_the_journal_is_asked_neither_for_the_steps_nor_for_the_turn(
    engine: Engine, admin: ScriptedAdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    for name in ("lease", "load"):
        monkeypatch.setattr(engine.journal, name, lambda *_, name=name, **__: looked.append(name))
    live = await told(engine)
    await engine.driver.feed(live, GONE)
    engine.driver.release(live)
    monkeypatch.undo()
    assert await is_settled(engine) is State.CANCELLED
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]
    assert [made.key for made in admin.made] == ["t1:cancel", "t1:rollback"]
    assert looked == []
    await eventually(lambda: not engine.driver.live_count)
    assert engine.driver.standing._noted == {}


@pytest.mark.usefixtures("impatient")
async def test_the_cancel_call_waits_for_no_commit_and_the_rollback_does(
    engine: Engine, admin: ScriptedAdminApi
) -> None:
    live = await told(engine)
    with locked(engine.path):
        durable = engine.driver.feed(live, GONE)
        engine.driver.release(live)
        await eventually(lambda: admin.made and not admin.under_way)
        assert await engine.state("t1") is State.OPEN
        assert not await engine.outbox()
        assert not durable.done()
        assert admin.kinds == [("t1", CANCEL)]
    assert await is_settled(engine) is State.CANCELLED
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]
    assert set((await engine.outbox()).values()) == {"delivered"}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("known", [True, False])
async def test_a_cancel_call_that_may_tell_the_id_waits_for_the_commit(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, *, known: bool
) -> None:
    """After a crash the upstream might not tell it again."""
    engine = await start(alone=True, plan=replace(PLAN, cancel_tells=True))
    engine.dispatcher.start()
    admin.script(CANCEL, CallOutcome(verdict=Verdict.DONE, status=200, captured={"conversation_id": "c1"}))
    live = await (told(engine) if known else engine.open("t1"))
    with locked(engine.path):
        engine.driver.feed(live, GONE)
        engine.driver.release(live)
        await loop_turns(50)
        assert admin.kinds == [("t1", CANCEL)] * known
    assert await is_settled(engine) is State.CANCELLED
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]


async def test_a_step_that_was_dropped_meanwhile_is_not_made(
    engine: Engine, admin: ScriptedAdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def clear(turn: Turn) -> bool:
        update = StepUpdate(turn_id=turn.id, kind=ROLLBACK, state=StepState.DROPPED, attempts=0, due_at=1002.0)
        await engine.driver.apply(turn.id, StepDropped(at=1002.0, kind=ROLLBACK), update)
        return True

    monkeypatch.setattr(engine.dispatcher, "_is_clear", clear)
    await engine.driver.feed(await told(engine), GONE)
    assert await is_settled(engine) is State.UNRESOLVED
    assert admin.kinds == [("t1", CANCEL)]
    assert (await engine.outbox())["t1", ROLLBACK] == "dropped"


@pytest.mark.usefixtures("impatient")
async def test_a_result_that_is_offered_again_leases_nothing(engine: Engine, admin: ScriptedAdminApi) -> None:
    """By then nobody makes the step that follows: it would rest until the lease is over."""
    hanging = admin.hang(CANCEL, "t1")
    admin.script(ROLLBACK, FAILED)
    await engine.driver.feed(await told(engine), GONE)
    await eventually(lambda: admin.under_way == 1)
    with locked(engine.path):
        hanging.set_result(DONE)
        await eventually(lambda: admin.kinds[1:] and not engine.dispatcher._attempts)
    assert await is_settled(engine) is State.CANCELLED  # though no time passes
    assert [made.key for made in admin.made] == ["t1:cancel", "t1:rollback", "t1:rollback"]


async def test_what_a_crash_leaves_of_it_is_made_again_with_the_same_keys(
    start: Callable[..., Awaitable[Engine]], engine: Engine, admin: ScriptedAdminApi
) -> None:
    hanging = admin.hang(ROLLBACK, "t1")
    await engine.driver.feed(await told(engine), GONE)
    await eventually(lambda: admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)])
    async with asyncio.timeout(10):
        while (await engine.outbox())["t1", ROLLBACK] != "leased":
            pass
    await engine.stop()
    hanging.set_result(DONE)
    again = await start()
    await again.work()
    assert await again.state("t1") is State.CANCELLED
    assert [made.key for made in admin.made if made.kind is ROLLBACK] == ["t1:rollback"] * 2


async def test_a_lease_keeps_others_away_and_runs_out(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    hanging = admin.hang(CANCEL, "t1")
    await engine.driver.feed(await told(engine), GONE)
    assert (await engine.outbox())["t1", CANCEL] == "leased"
    assert await engine.journal.next_due_at() == clock.now + LEASE_S
    hanging.set_result(DONE)
    assert await is_settled(engine) is State.CANCELLED


async def test_what_failed_is_left_to_the_outbox(engine: Engine, admin: ScriptedAdminApi, clock: ManualClock) -> None:
    admin.script(CANCEL, FAILED)
    live = await told(engine)
    await engine.driver.feed(live, GONE)
    engine.driver.release(live)
    async with asyncio.timeout(10):
        while not (await engine.steps())["t1", CANCEL].attempts:
            pass
    assert await engine.outbox() == {("t1", CANCEL): "pending", ("t1", ROLLBACK): "pending"}
    clock.move(60.0)
    engine.owed.set()
    assert await is_settled(engine) is State.CANCELLED
    assert [made.key for made in admin.made] == ["t1:cancel", "t1:cancel", "t1:rollback"]


async def test_without_a_place_it_waits_for_one(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start(concurrency_max=1)
    engine.dispatcher.start()
    hanging = admin.hang(CANCEL, "t1")
    for turn_id in ("t1", "t2"):
        await engine.abandon(await engine.open(turn_id), f"c-{turn_id}")
    assert (await engine.outbox())["t2", CANCEL] == "pending"
    hanging.set_result(DONE)
    for turn_id in ("t1", "t2"):
        assert await is_settled(engine, turn_id) is State.CANCELLED
    assert admin.under_way_max == 1


async def test_while_the_outbox_is_leased_its_places_are_taken(
    start: Callable[..., Awaitable[Engine]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start(concurrency_max=1)
    leasing: asyncio.Future[list[OwedStep]] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(engine.journal, "lease", lambda **_: leasing)
    round_ = asyncio.create_task(engine.dispatcher.run_once())
    await loop_turns()
    assert not engine.dispatcher.has_place
    leasing.set_result([])
    assert await round_ == 0
    assert engine.dispatcher.has_place


async def test_a_rollback_waits_for_another_turn_in_the_conversation(engine: Engine, admin: ScriptedAdminApi) -> None:
    second = await engine.open("second", begins=False, conversation_id="c1")
    await engine.driver.feed(await told(engine), GONE)
    async with asyncio.timeout(10):
        while (await engine.outbox())["t1", CANCEL] != "delivered":
            pass
    assert (await engine.outbox())["t1", ROLLBACK] == "pending"
    await engine.deliver(second)
    engine.owed.set()
    assert await is_settled(engine) is State.CANCELLED
    assert ("t1", ROLLBACK) not in admin.kinds
    assert (await engine.steps())["t1", ROLLBACK].error == KEPT


@pytest.mark.usefixtures("impatient")
async def test_a_rollback_that_becomes_owed_meanwhile_waits_until_that_is_durable(
    engine: Engine, admin: ScriptedAdminApi
) -> None:
    """The id shows while the cancel call is under way: its change is not in the journal yet when that ends."""
    hanging = admin.hang(CANCEL, "t1")
    live = await engine.open("t1")
    await engine.driver.feed(live, GONE)
    with locked(engine.path):
        learned = engine.driver.feed(live, IdsLearned(at=1001.0, captured={"conversation_id": "c1"}))
        hanging.set_result(DONE)
        await eventually(lambda: not engine.dispatcher._attempts)
        assert not learned.done()
        assert admin.kinds == [("t1", CANCEL)]
    engine.driver.release(live)
    assert await is_settled(engine) is State.CANCELLED
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]


async def test_a_rollback_whose_id_shows_late_is_made_at_once(
    engine: Engine, admin: ScriptedAdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await engine.open("t1")
    await engine.driver.feed(live, GONE)
    await eventually(lambda: admin.made and not engine.dispatcher._attempts)
    for name in ("lease", "load"):
        monkeypatch.setattr(engine.journal, name, lambda *_, **__: pytest.fail("the journal was asked"))
    engine.driver.feed(live, TOLD)
    engine.driver.release(live)
    await eventually(lambda: not engine.driver.live_count)
    monkeypatch.undo()
    assert await is_settled(engine) is State.CANCELLED
    assert [made.key for made in admin.made] == ["t1:cancel", "t1:rollback"]


@pytest.mark.parametrize("delivered", [True, False])
async def test_a_first_rollback_waits_for_another_turn_in_the_conversation(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock, *, delivered: bool
) -> None:
    second = await engine.open("second", begins=False, conversation_id="c1")
    first = await engine.open("t1", conversation_id="c1")
    await engine.driver.feed(first, AnswerEnded(at=1001.0))
    await engine.driver.feed(first, GONE)
    engine.driver.release(first)
    async with asyncio.timeout(10):
        while (await engine.outbox())["t1", ROLLBACK] != "pending":
            pass
    assert not admin.made
    assert not (await engine.steps())["t1", ROLLBACK].attempts
    await (engine.deliver(second) if delivered else engine.abandon(second))
    clock.move(1.0)
    engine.owed.set()
    assert await is_settled(engine) is State.CANCELLED
    assert (("t1", ROLLBACK) in admin.kinds) is not delivered


@pytest.mark.usefixtures("impatient")
async def test_a_confirm_waits_for_the_commit(start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi) -> None:
    engine = await start(plan=CONFIRM_PLAN)
    engine.dispatcher.start()
    await engine.deliver(await engine.open("t1"), "c1")
    assert (await engine.outbox())["t1", CONFIRM] != "pending"
    assert await is_settled(engine) is State.COMPLETED
    assert admin.kinds == [("t1", CONFIRM)]


async def test_a_stopped_dispatcher_takes_nothing(engine: Engine, admin: ScriptedAdminApi) -> None:
    live = await told(engine)
    await engine.dispatcher.stop()
    await engine.driver.feed(live, GONE)
    assert await engine.outbox() == {("t1", CANCEL): "pending", ("t1", ROLLBACK): "pending"}
    assert not admin.made


async def test_a_turn_settles_when_its_last_step_was_delivered_and_not_before(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a change takes on its way to the journal."""
    ticks = itertools.count(2000.0)
    for part in (engine.dispatcher, engine.dispatcher._results, engine.driver._offers):
        monkeypatch.setattr(part, "_clock", lambda: next(ticks))
    await engine.driver.feed(await told(engine), GONE)
    assert await is_settled(engine) is State.CANCELLED
    history = history_of(await engine.stored("t1"), (), await engine.journal.recorded("t1"))
    assert [entry.what for entry in history.entries][-2:] == [Happening.STEP_DELIVERED, Happening.SETTLED]
