"""A cancel may come while the turn is under way, twice, late, or from a stranger (law 6)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.cancellation import CancelOutcome
from sidecar.turn.events import AnswerEnded, Refused
from sidecar.turn.state import Cause, State
from tests.fakes.admin_api import FAILED
from tests.fakes.engine import (
    BACKOFF,
    CANCEL,
    CONFIRM,
    CONFIRM_PLAN,
    GRACE_S,
    ROLLBACK,
    done_by,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine, ManualClock

CANCELLED, REMEMBERED, COMPLETED = CancelOutcome


# Under way


@pytest.mark.parametrize("ids", [("req_t1", None), (None, "c1"), ("req_t1", "c1"), ("req_t1", "elsewhere")])
async def test_a_turn_under_way_is_cancelled_by_either_id_or_both(
    engine: Engine, admin: ScriptedAdminApi, ids: tuple[str | None, str | None]
) -> None:
    live = await engine.open("t1", conversation_id="c1")
    assert await engine.ask(*ids) is CANCELLED
    assert done_by(live) == ["close", "abort"]
    assert await engine.state("t1") is State.CANCELLING  # durable on return
    assert (await engine.stored("t1")).cause is Cause.REQUESTED
    await engine.work()
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]
    remembered = [(stone.name, stone.value) for stone in await engine.journal.tombstones(now=0.0)]
    assert remembered == [("request_id", "req_t1")], "it goes nowhere if it comes again"


async def test_a_conversation_id_cancels_every_turn_under_way_in_it(engine: Engine) -> None:
    lives = [await engine.open(name, begins=name == "a", conversation_id="c1") for name in ("a", "b")]
    other = await engine.open("other", conversation_id="c2")
    assert await engine.ask(conversation_id="c1") is CANCELLED
    assert [live.turn.state for live in (*lives, other)] == [State.CANCELLING, State.CANCELLING, State.OPEN]


async def test_a_known_request_id_decides_alone(engine: Engine) -> None:
    mine = await engine.open("mine", conversation_id="c1")
    other = await engine.open("other", begins=False, conversation_id="c1")
    assert await engine.ask("req_mine", "c1") is CANCELLED
    assert (mine.turn.state, other.turn.state) == (State.CANCELLING, State.OPEN)


async def test_a_temporary_id_is_as_good_as_the_real_one(engine: Engine) -> None:
    live = await engine.open("t1", conversation_id="temp_1")
    await engine.driver.feed(live, AnswerEnded(at=1000.0, captured={"conversation_id": "real_1"}))
    assert await engine.ask(conversation_id="temp_1") is CANCELLED
    assert live.turn.state is State.CANCELLING


async def test_twice_is_the_same_answer_and_no_more_work(engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.open("t1", conversation_id="c1")
    assert set(await asyncio.gather(*(engine.ask("req_t1") for _ in range(5)))) == {CANCELLED}
    await engine.work()
    assert len(admin.made) == 2
    assert await engine.ask("req_t1") is CANCELLED
    assert await engine.ask(conversation_id="c1") is CANCELLED
    await engine.work()
    assert len(admin.made) == 2


async def test_one_that_is_unresolved_was_cancelled_too(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start(backoff=replace(BACKOFF, attempts_max=1))
    admin.script(CANCEL, FAILED)
    await engine.abandon(await engine.open("t1", conversation_id="c1"))
    await engine.work()
    assert await engine.state("t1") is State.UNRESOLVED
    assert await engine.ask("req_t1") is CANCELLED


# Late


@pytest.mark.parametrize("late_s", [0.0, GRACE_S])
async def test_late_within_the_grace_time_a_new_conversation_is_rolled_back(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock, late_s: float
) -> None:
    await engine.deliver(await engine.open("t1"), "c1")
    clock.move(late_s)
    assert await engine.ask("req_t1") is CANCELLED
    await engine.work()
    assert admin.kinds == [("t1", ROLLBACK)]
    assert await engine.state("t1") is State.CANCELLED


async def test_after_the_grace_time_it_stays(engine: Engine, admin: ScriptedAdminApi, clock: ManualClock) -> None:
    await engine.deliver(await engine.open("t1"), "c1")
    clock.move(GRACE_S + 0.001)
    assert await engine.ask("req_t1") is COMPLETED
    assert await engine.ask(conversation_id="c1") is COMPLETED
    await engine.work()
    assert admin.made == []
    assert await engine.state("t1") is State.COMPLETED


async def test_late_an_existing_conversation_stays(engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.deliver(await engine.open("t1", begins=False, conversation_id="c1"))
    assert await engine.ask("req_t1") is COMPLETED
    await engine.work()
    assert admin.made == []


async def test_late_a_conversation_that_went_on_stays(engine: Engine, admin: ScriptedAdminApi) -> None:
    await engine.deliver(await engine.open("first"), "c1")
    await engine.deliver(await engine.open("second", begins=False, conversation_id="c1"))
    assert await engine.ask("req_first") is COMPLETED
    await engine.work()
    assert admin.made == []


async def test_late_while_it_is_being_confirmed(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi
) -> None:
    engine = await start(plan=CONFIRM_PLAN)
    await engine.deliver(await engine.open("t1"), "c1")
    assert await engine.ask("req_t1") is CANCELLED
    await engine.work()
    assert admin.kinds == [("t1", CONFIRM), ("t1", ROLLBACK)]
    assert await engine.state("t1") is State.CANCELLED


async def test_a_refused_turn_is_over(engine: Engine, admin: ScriptedAdminApi) -> None:
    live = await engine.open("t1", conversation_id="c1")
    await engine.driver.feed(live, Refused(at=1000.0))
    assert await engine.ask("req_t1") is COMPLETED
    engine.driver.release(live)
    assert await engine.ask("req_t1") is COMPLETED
    await engine.work()
    assert admin.made == []


# From a stranger, or of nothing known


@pytest.mark.parametrize("ids", [("req_t1", None), (None, "c1"), ("req_t1", "c1")])
async def test_a_stranger_gets_the_answer_for_an_unknown_id_and_nothing_happens(
    engine: Engine, admin: ScriptedAdminApi, ids: tuple[str | None, str | None]
) -> None:
    live = await engine.open("t1", conversation_id="c1")
    unknown = tuple(value and "unknown" for value in ids)
    assert await engine.ask(*ids, principal="stranger") is await engine.ask(*unknown, principal="stranger")
    assert live.turn.state is State.OPEN
    await engine.deliver(live)
    assert await engine.ask(*ids, principal="stranger") is REMEMBERED
    assert await engine.state("t1") is State.COMPLETED
    assert await engine.arrive(engine.new_turn("t2", request_id="req_t1")) is State.OPEN  # his tombstone, not mine
    await engine.work()
    assert admin.made == []
