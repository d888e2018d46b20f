"""Law 7 through the real outbox: looks and rollbacks in rounds, each a call of its own, over restarts too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from sidecar.engine.changes import STILL_THERE
from sidecar.turn.state import State, StepKind
from tests.fakes.admin_api import DONE, GONE
from tests.fakes.engine import CANCEL, PLAN, ROLLBACK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine, ManualClock

VERIFY = StepKind.VERIFY
LOOKS_AFTER_S = (0.0, 2.0, 10.0)
VERIFY_PLAN = replace(
    PLAN,
    needs={**PLAN.needs, VERIFY: frozenset({"conversation_id"})},
    looks_after_s=LOOKS_AFTER_S,
    rollbacks_max=1,
)
THERE = DONE


async def abandon(engine: Engine) -> None:
    live = await engine.open("t1")
    await engine.abandon(live, "c1")
    await engine.work()


async def settle(engine: Engine, clock: ManualClock) -> State:
    """Let time pass until nothing is owed any more."""
    while (due_at := await engine.journal.next_due_at()) is not None:
        clock.now = max(clock.now, due_at)
        await engine.work()
    return await engine.state("t1")


def keys(admin: ScriptedAdminApi) -> list[str]:
    return [made.key.removeprefix("t1:") for made in admin.made]


async def test_it_is_looked_for_at_every_planned_time(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    engine = await start(plan=VERIFY_PLAN)
    admin.script(VERIFY, GONE, GONE, GONE)
    began_at = clock.now
    await abandon(engine)
    for looks, after_s in enumerate(LOOKS_AFTER_S, 1):
        assert (await engine.stored("t1")).looks == looks
        if looks < len(LOOKS_AFTER_S):
            assert await engine.state("t1") is State.CANCELLING
            assert await engine.journal.next_due_at() == began_at + LOOKS_AFTER_S[looks]
            clock.now = began_at + LOOKS_AFTER_S[looks]
            await engine.work()
        else:
            assert clock.now == began_at + after_s
    assert await engine.state("t1") is State.CANCELLED
    assert keys(admin) == ["cancel", "rollback", "verify", "verify:1", "verify:2"]


async def test_what_came_back_is_rolled_back_by_a_call_of_its_own_and_looked_for_anew(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    engine = await start(plan=VERIFY_PLAN)
    admin.script(VERIFY, GONE, THERE, GONE, GONE, GONE)
    await abandon(engine)
    assert await settle(engine, clock) is State.CANCELLED
    again = ["rollback:1", "verify:2", "verify:3", "verify:4"]
    assert keys(admin) == ["cancel", "rollback", "verify", "verify:1", *again]
    turn = await engine.stored("t1")
    assert (turn.looks, turn.rollbacks) == (len(LOOKS_AFTER_S), 1)


async def test_a_restart_forgets_no_look(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    engine = await start(plan=VERIFY_PLAN)
    admin.script(VERIFY, THERE, GONE, GONE, GONE)
    await abandon(engine)
    while await engine.journal.next_due_at() is not None:
        await engine.stop()
        engine = await start(plan=VERIFY_PLAN)
        clock.now = await engine.journal.next_due_at() or clock.now
        await engine.dispatcher.run_once()
        await engine.dispatcher.drain(1.0)
    assert await engine.state("t1") is State.CANCELLED
    assert [key for key in keys(admin) if key.startswith("rollback")] == ["rollback", "rollback:1"]
    assert admin.kinds.count(("t1", VERIFY)) == 1 + len(LOOKS_AFTER_S)


async def test_what_will_not_go_is_dead_in_the_outbox_and_can_be_tried_again(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    engine = await start(plan=VERIFY_PLAN)
    admin.script(VERIFY, THERE, THERE)
    with capture_logs() as logs:
        await abandon(engine)
    assert await engine.state("t1") is State.UNRESOLVED
    assert [line["step"] for line in logs if line["event"] == "step_dead"] == ["verify"]
    (dead,) = await engine.journal.dead_steps()
    assert (dead.kind, dead.error) == (VERIFY, STILL_THERE)
    assert await engine.outbox() == {("t1", CANCEL): "delivered", ("t1", ROLLBACK): "delivered", ("t1", VERIFY): "dead"}

    admin.script(VERIFY, THERE, *[GONE] * len(LOOKS_AFTER_S))
    assert await engine.operator.retry(dead.id)
    assert await settle(engine, clock) is State.CANCELLED
    assert keys(admin)[5:8] == ["verify:1", "rollback:2", "verify:2"]
