"""The operator sees what is stuck and has it tried again, from another process beside the running sidecar."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sidecar.engine import dispatcher as dispatcher_module
from sidecar.engine.history import Happening
from sidecar.engine.orders import Orders
from sidecar.turn.state import State, StepState
from tests.fakes.admin_api import DONE, FAILED
from tests.fakes.engine import BACKOFF, CANCEL, CONFIRM, CONFIRM_PLAN, RETENTION_S, ROLLBACK
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine

    Start = Callable[..., Awaitable[Engine]]

ONCE = replace(BACKOFF, attempts_max=1)


@pytest.fixture
async def engine(start: Start) -> Engine:
    """Give a sidecar that gives up at the first failure."""
    return await start(backoff=ONCE)


@pytest.fixture
async def beside(start: Start, engine: Engine) -> Engine:
    """Give the operator's process on the same file."""
    del engine  # it has to be there first
    return await start(own=False)


async def dead(engine: Engine, admin: ScriptedAdminApi, turn_id: str = "t1") -> int:
    """Give up on a turn's cancel call; give the step's id."""
    admin.script(CANCEL, FAILED)
    await engine.abandon(await engine.open(turn_id, conversation_id=turn_id))
    await engine.work()
    return (await engine.steps())[turn_id, CANCEL].id


async def test_a_dead_step_is_seen(engine: Engine, beside: Engine, admin: ScriptedAdminApi) -> None:
    step_id = await dead(engine, admin)
    (row,) = await beside.operator.outbox("dead")
    assert (row.id, row.turn_id, row.kind, row.attempts, row.error) == (step_id, "t1", CANCEL, 1, "503")
    (turn,) = await beside.operator.turns(State.UNRESOLVED)
    assert turn.steps == {CANCEL: StepState.DEAD, ROLLBACK: StepState.DELIVERED}


async def test_it_is_tried_again_from_its_first_attempt_on_with_its_old_key(
    engine: Engine, beside: Engine, admin: ScriptedAdminApi
) -> None:
    step_id = await dead(engine, admin)
    assert await beside.operator.retry(step_id)
    step = (await engine.steps())["t1", CANCEL]
    assert (step.state, step.attempts, step.error) == ("pending", 0, None)
    assert await engine.state("t1") is State.CANCELLING
    await engine.work()
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK), ("t1", CANCEL), ("t1", ROLLBACK)]
    assert admin.made[0].key == admin.made[2].key
    assert admin.made[1].key != admin.made[3].key  # the first came before the cancel: this one is another call
    assert await engine.state("t1") is State.CANCELLED


async def test_a_running_sidecar_sees_it_without_being_told(
    engine: Engine, beside: Engine, admin: ScriptedAdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "POLL_S", 0.005)
    step_id = await dead(engine, admin)
    engine.dispatcher.start()
    assert await beside.operator.retry(step_id)
    await eventually(lambda: len(admin.made) >= 3)


async def test_all_dead_steps_at_once(engine: Engine, beside: Engine, admin: ScriptedAdminApi) -> None:
    for number in range(5):
        await dead(engine, admin, f"t{number}")
    assert await beside.operator.retry_all() == 5
    assert await beside.operator.retry_all() == 0
    await engine.work()
    assert {turn.state for turn in await beside.operator.turns()} == {State.CANCELLED}


async def test_only_a_dead_step_is_tried_again(engine: Engine, beside: Engine, admin: ScriptedAdminApi) -> None:
    step_id = await dead(engine, admin)
    rollback = (await engine.steps())["t1", ROLLBACK].id
    assert not await beside.operator.retry(rollback)
    assert not await beside.operator.retry(999)
    assert await beside.operator.retry(step_id)
    assert not await beside.operator.retry(step_id)


async def test_a_dead_confirm_is_tried_again(start: Start, engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.stop()
    again = await start(plan=CONFIRM_PLAN, backoff=ONCE)
    admin.script(CONFIRM, FAILED)
    await again.deliver(await again.open("t1"), "c1")
    await again.work()
    assert await again.state("t1") is State.CONFIRMING
    assert await again.operator.retry_all() == 1
    await again.work()
    assert await again.state("t1") is State.COMPLETED


async def test_a_dead_step_that_nobody_wants_any_more_is_not_said_to_be_tried(
    start: Start, engine: Engine, admin: ScriptedAdminApi
) -> None:
    """The confirm of a turn that was cancelled since."""
    await engine.stop()
    again = await start(plan=CONFIRM_PLAN, backoff=ONCE)
    admin.script(CONFIRM, FAILED)
    await again.deliver(await again.open("t1"), "c1")
    await again.work()
    await again.ask("req_t1")
    await again.work()
    assert await again.outbox() == {("t1", CONFIRM): "dead", ("t1", ROLLBACK): "delivered"}
    (row,) = await again.journal.dead_steps()
    assert not await again.operator.retry(row.id)
    assert await again.operator.retry_all() == 0


async def drop(engine: Engine, beside: Engine, step_id: int, reason: str = "nobody knows it there") -> bool:
    """Order a step to be dropped, and have the sidecar carry that out."""
    ordered = await beside.operator.drop(step_id, reason=reason)
    await Orders(engine.journal, engine.driver, engine.clock).run_once()
    return ordered


async def test_a_dead_step_is_dropped_with_a_reason(engine: Engine, beside: Engine, admin: ScriptedAdminApi) -> None:
    step_id = await dead(engine, admin)
    assert await drop(engine, beside, step_id)
    (row,) = await beside.operator.outbox("dropped")
    assert (row.id, row.error, row.attempts) == (step_id, "nobody knows it there", 1)
    assert await engine.state("t1") is State.UNRESOLVED
    assert not await beside.operator.drop(step_id, reason="again")
    assert not await beside.operator.retry(step_id)
    history = await beside.operator.history("t1")
    assert history is not None
    assert [(entry.step, entry.detail) for entry in history.entries if entry.what is Happening.STEP_DROPPED] == [
        (CANCEL, "nobody knows it there")
    ]


async def test_a_step_that_is_still_owed_is_dropped_and_those_after_it_are_made(
    start: Start, engine: Engine, admin: ScriptedAdminApi
) -> None:
    await engine.stop()
    again = await start()
    admin.script(CANCEL, FAILED)
    await again.abandon(await again.open("t1", conversation_id="c1"))
    await again.work()
    assert (await again.outbox())["t1", CANCEL] == "pending"
    assert await drop(again, again, (await again.steps())["t1", CANCEL].id)
    again.clock.move(60)
    await again.work()
    assert await again.outbox() == {("t1", CANCEL): "dropped", ("t1", ROLLBACK): "delivered"}
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]
    assert await again.state("t1") is State.UNRESOLVED


async def test_what_an_attempt_under_way_comes_to_counts_for_nothing_but_is_told(
    engine: Engine, beside: Engine, admin: ScriptedAdminApi
) -> None:
    answer = admin.hang(CANCEL, "t1")
    await engine.abandon(await engine.open("t1", conversation_id="c1"))
    await engine.dispatcher.run_once()
    await eventually(lambda: admin.made)
    assert await drop(engine, beside, (await engine.steps())["t1", CANCEL].id)
    answer.set_result(DONE)
    await engine.work()
    assert await engine.outbox() == {("t1", CANCEL): "dropped", ("t1", ROLLBACK): "delivered"}
    history = await beside.operator.history("t1")
    assert history is not None
    whats = [entry.what for entry in history.entries if entry.step is CANCEL]
    assert sorted(whats[1:]) == [Happening.STEP_DELIVERED, Happening.STEP_DROPPED]


async def test_a_dropped_confirm_leaves_its_turn_completed(
    start: Start, engine: Engine, admin: ScriptedAdminApi
) -> None:
    """It was delivered, and counts as such for the conversation's other turns (law 3)."""
    await engine.stop()
    again = await start(plan=CONFIRM_PLAN, backoff=ONCE)
    admin.script(CONFIRM, FAILED)
    await again.deliver(await again.open("t1"), "c1")
    await again.work()
    assert await drop(again, again, (await again.steps())["t1", CONFIRM].id)
    assert await again.state("t1") is State.COMPLETED
    again.clock.move(RETENTION_S + 1)
    assert await again.pruner.run_once() == 1


async def test_only_what_is_not_over_is_dropped(engine: Engine, beside: Engine, admin: ScriptedAdminApi) -> None:
    await dead(engine, admin)
    rollback = (await engine.steps())["t1", ROLLBACK].id
    assert not await drop(engine, beside, rollback)
    assert not await drop(engine, beside, 999)


async def test_a_step_that_was_delivered_before_the_order_was_carried_out_stays_delivered(
    start: Start, engine: Engine, admin: ScriptedAdminApi
) -> None:
    await engine.stop()
    again = await start()
    await again.abandon(await again.open("t1", conversation_id="c1"))
    cancel = (await again.steps())["t1", CANCEL].id
    assert await again.operator.drop(cancel, reason="too late")
    await again.work()
    await Orders(again.journal, again.driver, again.clock).run_once()
    assert await again.outbox() == {("t1", CANCEL): "delivered", ("t1", ROLLBACK): "delivered"}
    assert await again.state("t1") is State.CANCELLED
    del admin


async def test_a_turn_revived_while_the_sidecar_settles_it_is_settled_in_the_end(
    engine: Engine, beside: Engine, admin: ScriptedAdminApi
) -> None:
    """The sidecar has loaded the turn when the operator's change comes in between; its own then writes over the state.

    The revived step is owed all the same, and its delivery moves the turn on from `unresolved`.
    """
    admin.script(CANCEL, FAILED)
    await engine.abandon(await engine.open("t1", conversation_id="c1"))
    load = engine.journal.load
    loads = 0

    async def revive_after_load(turn_id: str) -> object:
        nonlocal loads
        turn = await load(turn_id)
        loads += 1
        if loads == 2:  # the rollback's end: the cancel is dead by now
            assert await beside.operator.retry_all() == 1
        return turn

    engine.journal.load = revive_after_load  # type: ignore[assignment, method-assign]
    await engine.work()
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK), ("t1", CANCEL)]
    assert await engine.outbox() == {("t1", CANCEL): "delivered", ("t1", ROLLBACK): "delivered"}
    assert await engine.state("t1") is State.CANCELLED
