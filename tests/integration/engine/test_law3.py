"""Law 3: a conversation is rolled back only if this turn began it, and no other turn in it was confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.engine.results import KEPT
from sidecar.turn.events import AnswerEnded
from sidecar.turn.state import State
from tests.fakes.engine import CANCEL, CONFIRM_PLAN, ROLLBACK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine


async def test_an_existing_conversation_is_never_rolled_back(engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.abandon(await engine.open("t1", begins=False, conversation_id="c1"))
    await engine.work()
    assert admin.kinds == [("t1", CANCEL)]
    assert await engine.state("t1") is State.CANCELLED


@pytest.mark.parametrize("answered", [False, True])
async def test_a_rollback_waits_while_another_turn_in_the_conversation_is_under_way(
    engine: Engine, admin: ScriptedAdminApi, *, answered: bool
) -> None:
    first = await engine.open("first", conversation_id="c1")
    second = await engine.open("second", begins=False, conversation_id="c1")
    if answered:
        await engine.driver.feed(second, AnswerEnded(at=1000.0))
    await engine.abandon(first)
    await engine.work()
    assert admin.kinds == [("first", CANCEL)]
    assert (await engine.outbox())["first", ROLLBACK] == "pending"
    await engine.abandon(second)
    await engine.work()
    assert ("first", ROLLBACK) in admin.kinds
    assert await engine.state("first") is State.CANCELLED


@pytest.mark.parametrize("confirms", [False, True])
async def test_a_rollback_is_dropped_where_another_turn_was_delivered(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, *, confirms: bool
) -> None:
    engine = await start(plan=CONFIRM_PLAN) if confirms else await start()
    first = await engine.open("first", conversation_id="c1")
    second = await engine.open("second", begins=False, conversation_id="c1")
    await engine.abandon(first)
    await engine.deliver(second)
    await engine.work()
    assert ("first", ROLLBACK) not in admin.kinds
    step = (await engine.steps())["first", ROLLBACK]
    assert (step.state, step.error) == ("delivered", KEPT)
    assert KEPT.startswith("not made: ")
    assert await engine.state("first") is State.CANCELLED


async def test_another_turn_that_was_undone_keeps_nothing(engine: Engine, admin: ScriptedAdminApi) -> None:
    for turn_id, begins in (("first", True), ("second", False)):
        await engine.abandon(await engine.open(turn_id, begins=begins, conversation_id="c1"))
    await engine.work()
    assert sorted(admin.kinds) == [("first", CANCEL), ("first", ROLLBACK), ("second", CANCEL)]


async def test_other_conversations_and_other_steps_do_not_wait(engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.open("busy", begins=False, conversation_id="c1")
    await engine.abandon(await engine.open("same", conversation_id="c1"))
    await engine.abandon(await engine.open("other", conversation_id="c2"))
    await engine.work()
    assert sorted(admin.kinds) == [("other", CANCEL), ("other", ROLLBACK), ("same", CANCEL)]


async def test_the_waiting_rollback_is_free_when_the_other_turn_ends_over_a_restart(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start()
    await engine.open("second", begins=False, conversation_id="c1")
    await engine.abandon(await engine.open("first", conversation_id="c1"))
    await engine.work()
    await engine.stop()
    again = await start()
    await again.work()
    assert sorted(admin.kinds) == [("first", CANCEL), ("first", ROLLBACK), ("second", CANCEL)]
