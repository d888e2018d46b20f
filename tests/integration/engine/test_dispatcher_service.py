"""The dispatcher as a service: woken by what is owed, stopped and started again without losing or doubling a step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.engine import dispatcher as dispatcher_module
from sidecar.engine.dispatcher import POLL_S
from sidecar.turn.state import State
from tests.fakes.admin_api import DONE, FAILED
from tests.fakes.engine import CANCEL, ROLLBACK
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine, ManualClock


async def settled(engine: Engine, turn_id: str) -> State:
    """Wait until a turn is settled."""
    async with asyncio.timeout(5):
        while (state := await engine.state(turn_id)) is State.CANCELLING:
            pass
    return state


async def test_what_is_owed_is_called_at_once(engine: Engine, admin: ScriptedAdminApi) -> None:
    engine.dispatcher.start()
    live = await engine.open("t1")
    async with asyncio.timeout(0.9 * POLL_S):  # it is woken, and does not come by
        await engine.abandon(live, "c1")
        assert await settled(engine, "t1") is State.CANCELLED
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]


async def test_a_retry_is_made_when_it_falls_due(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "POLL_S", 0.005)
    admin.script(CANCEL, FAILED)
    engine.dispatcher.start()
    await engine.abandon(await engine.open("t1"), "c1")
    async with asyncio.timeout(5):
        while not (await engine.steps())["t1", CANCEL].attempts:
            pass
    clock.move(60.0)
    assert await settled(engine, "t1") is State.CANCELLED


async def test_it_sleeps_until_the_next_step_falls_due(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    assert await engine.dispatcher._pause_s() == POLL_S  # nothing owed
    admin.script(CANCEL, FAILED)
    await engine.abandon(await engine.open("t1"), "c1")
    await engine.work()
    assert await engine.dispatcher._pause_s() == pytest.approx(0.75)
    clock.move(-100.0)
    assert await engine.dispatcher._pause_s() == POLL_S  # another process may make one due earlier


async def test_it_does_not_keep_looking_while_every_place_is_taken(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    engine = await start(concurrency_max=1)
    answer = admin.hang(CANCEL, "t1")
    for turn_id in ("t1", "t2"):
        await engine.abandon(await engine.open(turn_id), turn_id)
        clock.move(1.0)
    assert await engine.dispatcher.run_once() == 1
    assert await engine.journal.next_due_at() == 1001.0
    assert await engine.dispatcher._pause_s() == POLL_S  # the end of the attempt wakes it
    engine.owed.clear()
    answer.set_result(DONE)
    await engine.owed.wait(5.0)
    await engine.work()
    assert set((await engine.outbox()).values()) == {"delivered"}


async def test_an_attempt_dropped_at_the_stop_is_made_again_with_the_same_key(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start()
    admin.hang(CANCEL, "t1")
    engine.dispatcher.start()
    await engine.abandon(await engine.open("t1"), "c1")
    await eventually(lambda: admin.made)
    await engine.stop()
    assert admin.under_way == 0
    admin.hang(CANCEL, "t1").set_result(DONE)
    again = await start()
    await again.work()
    assert admin.kinds == [("t1", CANCEL), ("t1", CANCEL), ("t1", ROLLBACK)]
    assert admin.made[0].key == admin.made[1].key
    assert await again.state("t1") is State.CANCELLED


async def test_a_key_outlives_retries_and_restarts(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    engine = await start()
    await engine.abandon(await engine.open("t1"), "c1")
    admin.script(CANCEL, FAILED, FAILED, FAILED)
    for _ in range(3):
        await engine.work()
        await engine.stop()
        clock.move(60.0)
        engine = await start()
    assert (await engine.steps())["t1", CANCEL].attempts == 3  # a restart forgives no attempt
    await engine.work()
    assert admin.kinds == [("t1", CANCEL)] * 4 + [("t1", ROLLBACK)]
    assert len({made.key for made in admin.made if made.kind is CANCEL}) == 1


async def test_draining_makes_all_that_is_due_and_waits_for_nothing_that_is_not(
    engine: Engine, admin: ScriptedAdminApi
) -> None:
    admin.script(CANCEL, FAILED)
    for number in range(20):
        await engine.abandon(await engine.open(f"t{number:02}"), f"c{number}")
    await engine.dispatcher.drain(5.0)
    states = await engine.outbox()
    assert sorted(states.values()).count("pending") == 2  # the failed cancel and the rollback behind it
    assert len(admin.made) == 39


async def test_draining_gives_up_on_a_call_that_hangs(engine: Engine, admin: ScriptedAdminApi) -> None:
    admin.hang(CANCEL, "t1")
    await engine.abandon(await engine.open("t1"), "c1")
    with capture_logs() as logs:
        await engine.dispatcher.drain(0.02)
    assert [(entry["event"], entry["owing"]) for entry in logs] == [("dispatcher_stops_early", True)]
    assert admin.under_way == 1
    await engine.dispatcher.stop()
    assert admin.under_way == 0


async def test_it_may_be_stopped_twice_or_unstarted(engine: Engine) -> None:
    await engine.dispatcher.stop()
    engine.dispatcher.start()
    engine.dispatcher.start()
    await engine.dispatcher.stop()
    await engine.dispatcher.stop()


async def test_a_bug_of_ours_does_not_end_it(
    engine: Engine, admin: ScriptedAdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "POLL_S", 0.005)
    lease = engine.journal.lease

    async def fail_once(**_: object) -> object:
        engine.journal.lease = lease  # type: ignore[method-assign]
        raise ZeroDivisionError("ours")

    engine.journal.lease = fail_once  # type: ignore[assignment, method-assign]
    await engine.abandon(await engine.open("t1"), "c1")
    with capture_logs() as logs:
        engine.dispatcher.start()
        await eventually(lambda: len(admin.made) == 2)
    assert (logs[0]["event"], logs[0]["log_level"]) == ("dispatcher_failed", "error")
