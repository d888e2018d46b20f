"""The outbox is emptied in order, patiently, with one key for each step, until it is delivered or dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.engine.results import TOO_EARLY
from sidecar.turn.events import AnswerEnded, DownstreamGone, Forwarded, UpstreamLost
from sidecar.turn.retry import ARRIVAL_MAX_S, RETRY_AFTER_MAX_S
from sidecar.turn.state import Cause, Plan, State, StepState
from tests.fakes.admin_api import DONE, FAILED, GONE, asks_for_patience
from tests.fakes.engine import BACKOFF, CANCEL, CONFIRM, CONFIRM_PLAN, LEASE_S, PLAN, ROLLBACK, FakeExchange
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.engine.ports import CallOutcome
    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine, ManualClock

ONE_AFTER_THE_OTHER = [("t1", CANCEL), ("t1", ROLLBACK)]


async def test_cancel_comes_first_and_rollback_follows(engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.abandon(await engine.open("t1"), "c1")
    cancelled = admin.hang(CANCEL, "t1")
    assert await engine.dispatcher.run_once() == 1
    assert await engine.dispatcher.run_once() == 0  # the rollback waits for the cancel
    cancelled.set_result(DONE)
    await engine.work()
    assert admin.kinds == ONE_AFTER_THE_OTHER
    assert [made.captured["conversation_id"] for made in admin.made] == ["c1", "c1"]
    turn = await engine.stored("t1")
    assert (turn.state, turn.settled_at) == (State.CANCELLED, 1000.0)
    assert await engine.outbox() == dict.fromkeys(ONE_AFTER_THE_OTHER, "delivered")
    await engine.work()
    assert len(admin.made) == 2  # each once


async def test_nothing_owed_nothing_done(engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.deliver(await engine.open("t1"), "c1")
    assert await engine.dispatcher.run_once() == 0
    await engine.work()
    assert admin.made == []


async def test_a_delivered_turn_is_confirmed_where_a_call_is_configured(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start(plan=CONFIRM_PLAN)
    assert (await engine.deliver(await engine.open("t1"), "c1")).state is State.CONFIRMING
    await engine.work()
    assert admin.kinds == [("t1", CONFIRM)]
    assert await engine.state("t1") is State.COMPLETED


async def test_what_is_gone_already_is_done(engine: Engine, admin: ScriptedAdminApi) -> None:
    admin.script(CANCEL, GONE)
    admin.script(ROLLBACK, GONE)
    await engine.abandon(await engine.open("t1"), "c1")
    await engine.work()
    assert admin.kinds == ONE_AFTER_THE_OTHER
    assert await engine.state("t1") is State.CANCELLED


async def test_gone_is_not_believed_while_the_request_may_still_be_on_its_way(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    live = engine.driver.admit(engine.new_turn("t1"), FakeExchange())
    await engine.driver.open(live)
    engine.feed(live, Forwarded(at=clock()), UpstreamLost(at=clock()))
    engine.driver.release(live)
    await engine.driver.wait_until_empty()
    admin.script(CANCEL, GONE, GONE, GONE)
    await engine.work()
    step = (await engine.steps())["t1", CANCEL]
    assert (step.state, step.error, step.attempts) == ("pending", TOO_EARLY, 1)
    clock.move(ARRIVAL_MAX_S)
    await engine.work()
    assert len(admin.made) == 2
    assert (await engine.outbox())["t1", CANCEL] == "delivered"


async def test_a_failed_step_is_tried_again_later_and_later_and_then_is_dead(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    admin.script(CANCEL, *[FAILED] * BACKOFF.attempts_max)
    await engine.abandon(await engine.open("t1"), "c1")
    for attempt, wait_s in enumerate((0.75, 1.5, 3.0), start=1):
        await engine.work()
        step = (await engine.steps())["t1", CANCEL]
        assert (step.state, step.attempts, step.due_at, step.error) == ("pending", attempt, clock() + wait_s, "503")
        clock.move(wait_s - 0.001)
        assert await engine.dispatcher.run_once() == 0
        clock.move(0.002)
    await engine.work()
    assert admin.kinds == [("t1", CANCEL)] * BACKOFF.attempts_max + [("t1", ROLLBACK)]
    step = (await engine.steps())["t1", CANCEL]
    assert (step.state, step.attempts, step.error) == ("dead", BACKOFF.attempts_max, "503")
    turn = await engine.stored("t1")
    assert turn.state is State.UNRESOLVED
    assert turn.steps == {CANCEL: StepState.DEAD, ROLLBACK: StepState.DELIVERED}


@pytest.mark.parametrize(
    ("asked_s", "waited_s"), [(120.0, 120.0), (0.1, 0.75), (10 * RETRY_AFTER_MAX_S, RETRY_AFTER_MAX_S)]
)
async def test_retry_after_is_honoured(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock, asked_s: float, waited_s: float
) -> None:
    admin.script(CANCEL, asks_for_patience(asked_s))
    await engine.abandon(await engine.open("t1"), "c1")
    await engine.work()
    assert (await engine.steps())["t1", CANCEL].due_at == clock() + waited_s
    assert (await engine.steps())["t1", ROLLBACK].due_at == clock() + waited_s
    clock.move(waited_s)
    await engine.work()
    assert admin.kinds == [("t1", CANCEL), *ONE_AFTER_THE_OTHER]


@pytest.mark.parametrize("outcome", [DONE, FAILED, RuntimeError("a bug of ours")])
async def test_a_step_has_one_key_over_all_its_attempts(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock, outcome: CallOutcome | Exception
) -> None:
    admin.script(CANCEL, FAILED, outcome)
    await engine.abandon(await engine.open("t1"), "c1")
    with capture_logs():
        for _ in range(4):
            await engine.work()
            clock.move(LEASE_S)
    keys = {made.kind: made.key for made in admin.made}
    assert all(made.key == keys[made.kind] for made in admin.made)
    assert len(set(keys.values())) == 2
    assert await engine.state("t1") is State.CANCELLED


async def test_an_attempt_that_breaks_is_made_again_when_its_lease_is_over(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    admin.script(CANCEL, RuntimeError("a bug of ours"))
    await engine.abandon(await engine.open("t1"), "c1")
    with capture_logs() as logs:
        await engine.work()
    assert [entry["event"] for entry in logs] == ["attempt_lost"]
    clock.move(LEASE_S - 1)
    await engine.work()
    assert len(admin.made) == 1
    clock.move(1)
    await engine.work()
    assert admin.kinds == [("t1", CANCEL), *ONE_AFTER_THE_OTHER]


async def test_only_so_many_calls_are_made_at_once(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start(concurrency_max=3)
    for number in range(10):
        await engine.abandon(await engine.open(f"t{number}"), f"c{number}")
    await engine.work()
    assert admin.under_way_max == 3
    assert len(admin.made) == 20
    assert set((await engine.outbox()).values()) == {"delivered"}


async def test_a_call_that_hangs_holds_up_no_other_turn(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start(concurrency_max=2)
    answer = admin.hang(CANCEL, "t0")
    for number in range(4):
        await engine.abandon(await engine.open(f"t{number}"), f"c{number}")
    engine.dispatcher.start()
    await eventually(lambda: len(admin.made) == 7)
    assert ("t0", ROLLBACK) not in admin.kinds
    answer.set_result(DONE)
    await eventually(lambda: len(admin.made) == 8)


async def test_a_step_that_waits_for_its_next_attempt_holds_up_no_other_turn(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start(concurrency_max=1)
    admin.script(CANCEL, *[asks_for_patience(600.0)] * 5)
    for number in range(5):
        await engine.abandon(await engine.open(f"bad{number}"), f"b{number}")
    await engine.work()
    await engine.abandon(await engine.open("good"), "c1")
    await engine.work()
    assert admin.kinds[5:] == [("good", CANCEL), ("good", ROLLBACK)]


async def test_what_the_cancel_call_tells_is_learned(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    """A crash lost the stream that would have told the id: the answer to the cancel call is the last to know it."""
    engine = await start(plan=Plan(needs=PLAN.needs, cancel_tells=True))
    live = await engine.open("t1")
    engine.feed(live, DownstreamGone(at=1001.0, cause=Cause.CLOSED), UpstreamLost(at=1002.0))
    engine.driver.release(live)
    await engine.driver.wait_until_empty()
    assert await engine.outbox() == {("t1", CANCEL): "pending"}
    admin.script(CANCEL, type(DONE)(verdict=DONE.verdict, status=200, captured={"conversation_id": "c9"}))
    await engine.work()
    assert admin.kinds == ONE_AFTER_THE_OTHER
    assert admin.made[1].captured["conversation_id"] == "c9"
    assert await engine.state("t1") is State.CANCELLED


async def test_a_live_turn_learns_of_its_steps_too(engine: Engine, admin: ScriptedAdminApi) -> None:
    """The turn is drained for its id while its cancel call is made; the step's end and the answer's do not collide."""
    live = await engine.open("t1")
    await engine.driver.feed(live, DownstreamGone(at=1000.0, cause=Cause.CLOSED))
    await engine.work()
    assert admin.kinds == [("t1", CANCEL)]
    assert live.turn.steps == {CANCEL: StepState.DELIVERED}
    await engine.driver.feed(live, AnswerEnded(at=1001.0, captured={"conversation_id": "c1"}))
    engine.driver.release(live)
    await engine.work()
    assert admin.kinds == ONE_AFTER_THE_OTHER
    assert await engine.state("t1") is State.CANCELLED
