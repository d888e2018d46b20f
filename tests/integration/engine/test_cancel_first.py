"""A cancel may come before its request, or while that is just coming in (law 6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.cancellation import CancelDesk, CancelOutcome
from sidecar.turn.events import AnswerEnded, Delivered, DownstreamGone, Forwarded
from sidecar.turn.state import Cause, State, Turn
from tests.fakes.engine import (
    ROLLBACK,
    TOMBSTONE_TTL_S,
    FakeExchange,
    done_by,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine, ManualClock

CANCELLED, REMEMBERED, COMPLETED = CancelOutcome


@pytest.mark.parametrize("restart", [False, True])
async def test_a_cancel_that_comes_first_stops_the_request(
    start: Callable[..., Awaitable[Engine]], admin: ScriptedAdminApi, *, restart: bool
) -> None:
    engine = await start()
    assert await engine.ask("req_t1", "c1") is REMEMBERED
    if restart:
        await engine.stop()
        engine = await start()
    assert await engine.arrive(engine.new_turn("t1")) is State.CANCELLED
    assert await engine.state("t1") is State.CANCELLED
    assert await engine.ask("req_t1") is CANCELLED
    await engine.work()
    assert admin.made == []


async def test_a_conversation_cancelled_first_is_not_begun_but_may_go_on(engine: Engine) -> None:
    assert await engine.ask(conversation_id="c1") is REMEMBERED
    assert await engine.arrive(engine.new_turn("new", conversation_id="c1")) is State.CANCELLED
    assert await engine.arrive(engine.new_turn("later", begins=False, conversation_id="c1")) is State.OPEN


async def test_a_tombstone_is_not_kept_for_ever(engine: Engine, clock: ManualClock) -> None:
    assert await engine.ask("req_t1") is REMEMBERED
    clock.move(TOMBSTONE_TTL_S)
    assert await engine.arrive(engine.new_turn("t1")) is State.OPEN
    assert await engine.pruner.run_once() == 1
    assert await engine.journal.tombstones(now=0.0) == []


async def test_a_cancel_that_overtakes_its_request_leaves_what_was_there_before_alone(
    engine: Engine, admin: ScriptedAdminApi
) -> None:
    """The conversation's earlier turn was delivered moments ago; the cancel means a request that has yet to come."""
    await engine.deliver(await engine.open("first"), "c1")
    assert await engine.ask("req_second", "c1") is REMEMBERED
    assert await engine.state("first") is State.COMPLETED
    assert await engine.arrive(engine.new_turn("second", begins=False, conversation_id="c1")) is State.CANCELLED
    await engine.work()
    assert admin.made == []


async def test_an_unknown_request_id_still_stops_what_is_under_way_in_the_conversation(engine: Engine) -> None:
    """The app may know the request by another id than the upstream does."""
    live = await engine.open("t1", conversation_id="c1")
    assert await engine.ask("the_apps_own", "c1") is CANCELLED
    assert live.turn.state is State.CANCELLING
    assert await engine.arrive(engine.new_turn("t2", begins=False, request_id="the_apps_own")) is State.CANCELLED


# Races: something happens while the desk is asking the journal


class Meanwhile:
    """Has something happen just before the journal answers."""

    def __init__(self, desk: CancelDesk, happens: Callable[[], Awaitable[object]], *, at: int = 1) -> None:
        self._find, self._happens, self._at = desk._journal.find, happens, at
        desk._journal.find = self.find  # type: ignore[assignment, method-assign]

    async def find(self, principal: str, **ids: str) -> Sequence[Turn]:
        found = await self._find(principal, **ids)  # type: ignore[arg-type]
        self._at -= 1
        if self._at == 0:
            await self._happens()
        return found


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("named", [True, False])
async def test_a_request_that_comes_meanwhile_is_cancelled(engine: Engine, *, at: int, named: bool) -> None:
    turn = engine.new_turn("t1", conversation_id="c1") if named else engine.new_turn("t1")
    Meanwhile(engine.desk, lambda: engine.arrive(turn), at=at)
    assert await engine.ask("req_t1", "c1") is CANCELLED
    (live,) = engine.driver.live
    assert live.turn.state is State.CANCELLED


@pytest.mark.parametrize("at", [1, 2])
async def test_it_is_cancelled_although_its_conversation_is_known_otherwise(engine: Engine, at: int) -> None:
    await engine.deliver(await engine.open("first"), "c1")
    turn = engine.new_turn("second", begins=False)
    Meanwhile(engine.desk, lambda: engine.arrive(turn), at=at)
    assert await engine.ask("req_second", "c1") is CANCELLED
    assert [live.turn.state for live in engine.driver.live] == [State.CANCELLED]
    assert await engine.state("first") is State.COMPLETED


async def test_a_conversation_id_spares_what_was_delivered_while_another_turn_is_under_way(engine: Engine) -> None:
    """The first turn is delivered but not yet let go; the cancel means the second."""
    first = await engine.open("first", conversation_id="c1")
    await engine.driver.feed(first, AnswerEnded(at=1000.0))
    await engine.driver.feed(first, Delivered(at=1000.0))
    second = await engine.open("second", begins=False, conversation_id="c1")
    assert await engine.ask(conversation_id="c1") is CANCELLED
    assert (first.turn.state, second.turn.state) == (State.COMPLETED, State.CANCELLING)


async def test_a_turn_that_is_completed_meanwhile_is_cancelled_late(engine: Engine) -> None:
    live = await engine.open("t1")
    before = engine.driver.apply

    async def deliver_first(*arguments: object) -> object:
        await engine.deliver(live, "c1")
        return await before(*arguments)  # type: ignore[arg-type]

    engine.driver.apply = deliver_first  # type: ignore[assignment, method-assign]
    assert await engine.ask("req_t1") is CANCELLED
    assert await engine.outbox() == {("t1", ROLLBACK): "pending"}


async def test_a_turn_that_leaves_meanwhile_is_cancelled_once(engine: Engine) -> None:
    live = await engine.open("t1", conversation_id="c1")
    engine.feed(live, DownstreamGone(at=1000.0, cause=Cause.RESET))
    assert await engine.ask("req_t1") is CANCELLED
    assert live.turn.cause is Cause.RESET
    assert done_by(live) == ["close", "abort"]


async def test_a_cancel_between_admission_and_forwarding_keeps_the_upstream_unaware(engine: Engine) -> None:
    live = engine.driver.admit(engine.new_turn("t1"), FakeExchange())
    opening = asyncio.ensure_future(engine.driver.open(live))
    assert await engine.ask("req_t1") is CANCELLED
    await opening
    assert live.turn.state is State.CANCELLED
    with pytest.raises(Exception, match="Forwarded cannot happen"):
        engine.driver.feed(live, Forwarded(at=1001.0))
    assert await engine.outbox() == {}
