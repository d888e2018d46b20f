"""The sweeper expires what is overdue, live or not; the pruner forgets what nobody will ask for any more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.engine import pruner, sweeper
from sidecar.turn.events import AnswerEnded
from sidecar.turn.state import Cause, State
from tests.fakes.admin_api import FAILED
from tests.fakes.engine import BACKOFF, CANCEL, RETENTION_S, ROLLBACK, TEMP_TTL_S, done_by
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine, ManualClock


# The sweeper


async def test_a_live_turn_past_its_time_is_cut_and_rolled_back(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    live = await engine.open("t1", conversation_id="c1")
    clock.move(TEMP_TTL_S)
    assert await engine.sweeper.run_once() == 0
    clock.move(0.001)
    assert await engine.sweeper.run_once() == 1
    assert done_by(live) == ["close", "abort"]
    assert (live.turn.state, live.turn.cause) == (State.CANCELLING, Cause.EXPIRED)
    await engine.work()
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]
    assert await engine.sweeper.run_once() == 0


async def test_a_stored_turn_past_its_time_is_rolled_back(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    """One whose exchange ended without a word, such as a handler that was cancelled while it opened its turn."""
    await engine.put(engine.new_turn("t1", conversation_id="c1"))
    clock.move(TEMP_TTL_S + 1)
    with capture_logs() as logs:
        assert await engine.sweeper.run_once() == 1
    assert [entry["event"] for entry in logs] == ["cancelled", "swept"]
    assert (logs[0]["cause"], logs[1]["expired"]) == ("expired", 1)
    await engine.work()
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]


@pytest.mark.parametrize("live", [True, False])
async def test_what_was_answered_is_confirmed_instead(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock, *, live: bool
) -> None:
    turn = await engine.open("t1", conversation_id="c1")
    await engine.driver.feed(turn, AnswerEnded(at=1000.0))
    if not live:
        engine.driver.release(turn)
    clock.move(TEMP_TTL_S + 1)
    assert await engine.sweeper.run_once() == 1
    assert await engine.state("t1") is State.COMPLETED
    await engine.work()
    assert admin.made == []


async def test_the_young_and_the_settled_are_left_alone(engine: Engine, clock: ManualClock) -> None:
    await engine.deliver(await engine.open("done"), "c0")
    await engine.abandon(await engine.open("owing", conversation_id="c1"))
    clock.move(TEMP_TTL_S + 1)
    young = await engine.open("young", conversation_id="c2")
    assert await engine.sweeper.run_once() == 0
    assert young.turn.state is State.OPEN
    assert await engine.state("owing") is State.CANCELLING


async def test_many_batches_are_swept(engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "BATCH", 4)
    for number in range(10):
        await engine.put(engine.new_turn(f"t{number}", conversation_id=f"c{number}"))
    clock.move(TEMP_TTL_S + 1)
    assert await engine.sweeper.run_once() == 10
    assert len(await engine.outbox()) == 20


async def test_it_works_by_itself(engine: Engine, clock: ManualClock) -> None:
    live = await engine.open("t1", conversation_id="c1")
    clock.move(TEMP_TTL_S + 1)
    engine.sweeper._interval_s = 0.001
    engine.sweeper.start()
    await eventually(lambda: live.turn.state is State.CANCELLING)
    await engine.sweeper.stop()


def test_it_comes_by_often_enough(engine: Engine) -> None:
    assert engine.sweeper._interval_s <= TEMP_TTL_S / 4
    short = sweeper.Sweeper(engine.journal, engine.driver, engine.clock, temp_ttl_s=2.0)
    assert short._interval_s == 0.5


# The pruner


async def test_settled_turns_go_when_their_time_is_over(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    await engine.deliver(await engine.open("delivered"), "c1")
    await engine.abandon(await engine.open("undone", conversation_id="c2"))
    await engine.work()
    clock.move(RETENTION_S)
    await engine.open("under_way")
    assert await engine.pruner.run_once() == 0
    clock.move(0.001)
    with capture_logs() as logs:
        assert await engine.pruner.run_once() == 2
    assert logs == [{"event": "pruned", "count": 2, "log_level": "info"}]
    assert [turn.id for turn in await engine.journal.turns()] == ["under_way"]
    assert await engine.outbox() == {}
    assert len(admin.made) == 2


async def test_what_is_owed_or_unresolved_is_never_forgotten(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    engine = await start(backoff=replace(BACKOFF, attempts_max=1))
    admin.script(CANCEL, FAILED)
    for turn_id in ("dead", "told"):
        await engine.abandon(await engine.open(turn_id, conversation_id=turn_id))
        await engine.work()
    await engine.abandon(await engine.open("owing", conversation_id="c3"))
    clock.move(2 * RETENTION_S)
    assert await engine.pruner.run_once() == 1
    assert {turn.id for turn in await engine.journal.turns()} == {"dead", "owing"}


async def test_many_batches_are_pruned(engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruner, "BATCH", 3)
    for number in range(7):
        await engine.driver.record_cancelled(engine.new_turn(f"t{number}"))
        await engine.ask(f"unknown{number}")
    clock.move(RETENTION_S + 1)
    assert await engine.pruner.run_once() == 14
    assert await engine.journal.turns() == []


def test_a_short_retention_is_kept_to(engine: Engine) -> None:
    assert pruner.Pruner(engine.journal, engine.clock, retention_s=2.0)._interval_s == 0.5
    assert engine.pruner._interval_s == pruner.INTERVAL_MAX_S
