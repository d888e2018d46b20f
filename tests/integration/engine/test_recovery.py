"""Recovery settles every turn that was left behind: what was answered is confirmed, what was not is undone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.engine import recovery
from sidecar.engine.recovery import recover
from sidecar.turn.events import AnswerEnded, IdsLearned
from sidecar.turn.state import SETTLED, Cause, State, StepKind
from tests.fakes.admin_api import FAILED
from tests.fakes.engine import BACKOFF, CANCEL, CONFIRM, CONFIRM_PLAN, ROLLBACK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine, ManualClock

Left = dict[State, tuple[State, set[StepKind], State]]

LEFT: Left = {  # what is left behind: what recovery makes of it, the calls that are then made, how it ends
    State.OPEN: (State.CANCELLING, {CANCEL, ROLLBACK}, State.CANCELLED),
    State.ANSWERED: (State.CONFIRMING, {CONFIRM}, State.COMPLETED),
    State.CANCELLING: (State.CANCELLING, {CANCEL, ROLLBACK}, State.CANCELLED),
    State.CONFIRMING: (State.CONFIRMING, {CONFIRM}, State.COMPLETED),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("owed", [True, False])
async def test_every_state_that_is_left_behind(
    start: Callable[..., Awaitable[Engine]],
    admin: ScriptedAdminApi,
    clock: ManualClock,
    *,
    state: State,
    owed: bool,
) -> None:
    """With the steps that belong to it, and without: a state is never believed to have owed its steps already."""
    engine = await start(plan=CONFIRM_PLAN)
    settled_at = 900.0 if state in SETTLED else None
    turn = replace(engine.new_turn("t1", conversation_id="c1"), state=state, settled_at=settled_at)
    steps = {State.CANCELLING: (CANCEL, ROLLBACK), State.CONFIRMING: (CONFIRM,)}.get(state, ()) if owed else ()
    before = await engine.put(turn, *steps)
    await engine.stop()
    clock.move(1.0)
    again = await start(plan=CONFIRM_PLAN)
    becomes, calls, ends = LEFT.get(state, (state, set[StepKind](), state))
    after = await again.stored("t1")
    assert after.state is becomes
    assert again.recovered == (0 if state in SETTLED or steps else 1)  # what waits for a call is moved by that
    if state in SETTLED:
        assert after == before
    if state is State.OPEN:
        assert after.cause is Cause.RESTARTED
    assert {kind for _, kind in await again.outbox()} == calls
    await again.work()
    assert {made.kind for made in admin.made} == calls
    assert len(admin.made) == len(calls)
    assert await again.state("t1") is ends


async def test_an_existing_conversation_is_cancelled_only(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start()
    await engine.open("t1", begins=False, conversation_id="c1")
    await engine.stop()
    await (await start()).work()
    assert admin.kinds == [("t1", CANCEL)]


async def test_a_turn_whose_id_was_never_told_is_unresolved(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start()
    await engine.open("t1")
    await engine.stop()
    again = await start()
    await again.work()
    assert admin.kinds == [("t1", CANCEL)]
    assert await again.state("t1") is State.UNRESOLVED


async def test_steps_that_were_leased_are_made_again_at_once(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start()
    await engine.abandon(await engine.open("t1", conversation_id="c1"))
    leased = await engine.journal.lease(now=1000.0, until=9000.0, limit=9)
    assert [step.kind for step in leased] == [CANCEL]
    await engine.stop()
    again = await start()
    await again.work()  # the clock stands where it stood
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]
    assert admin.made[0].key == leased[0].idempotency_key


async def test_what_was_captured_outlives_the_restart(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start()
    live = await engine.open("t1")
    told = {"conversation_id": "c1", "task_id": "k1"}
    await engine.driver.feed(live, IdsLearned(at=1000.0, captured=told))
    await engine.stop()
    await (await start()).work()
    assert [made.captured for made in admin.made] == [{"request_id": "req_t1", **told}] * 2


async def test_what_was_seen_complete_is_never_rolled_back(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start()
    await engine.driver.feed(await engine.open("t1", conversation_id="c1"), AnswerEnded(at=1000.0))
    await engine.stop()
    again = await start()
    await again.work()
    assert admin.made == []
    turn = await again.stored("t1")
    assert (turn.state, turn.confirmed_at) == (State.COMPLETED, 1000.0)


async def test_all_of_many_pages_are_recovered_once(
    start: Callable[..., Awaitable[Engine]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "BATCH", 3)
    engine = await start()
    for number in range(10):
        await engine.open(f"t{number}", conversation_id=f"c{number}")
    await engine.stop()
    with capture_logs() as logs:
        again = await start()
    assert again.recovered == 10
    assert [entry["turns"] for entry in logs if entry["event"] == "recovered"] == [10]
    assert [entry["cause"] for entry in logs if entry["event"] == "cancelled"] == ["restarted"] * 10
    assert len(await again.outbox()) == 20
    before = await again.steps()
    assert await recover(again.journal, again.clock) == 0  # all wait for calls
    assert await again.steps() == before


async def test_a_dead_step_stays_dead_over_a_restart(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start(backoff=replace(BACKOFF, attempts_max=1))
    admin.script(ROLLBACK, FAILED)
    await engine.abandon(await engine.open("t1", conversation_id="c1"))
    await engine.work()
    await engine.stop()
    again = await start()
    assert again.recovered == 0
    await again.work()
    assert len(admin.made) == 2
    assert await again.state("t1") is State.UNRESOLVED
