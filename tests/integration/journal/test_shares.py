"""Several processes on one journal: each is given its own work, and only that."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.ports import Change
from sidecar.engine.share import Share
from sidecar.errors import InProgressError
from sidecar.journal.store import SqliteJournal
from sidecar.turn.state import Plan, State, StepKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sidecar.turn.state import Turn

    Opening = Callable[..., Awaitable[SqliteJournal]]

CANCEL = StepKind.CANCEL
PLAN = Plan()


@pytest.fixture
async def opened(path: str) -> AsyncIterator[Opening]:
    """Open the file as one of several processes, as often as wanted."""
    async with AsyncExitStack() as stack:

        async def open_one(number: int = 0, of: int = 2, *, own: bool = False) -> SqliteJournal:
            share = Share(number, of)
            one = await SqliteJournal.open(path, plan_of=lambda _: PLAN, clock=lambda: 1.0, own=own, share=share)
            stack.push_async_callback(one.close)
            return one

        yield open_one


async def put(journal: SqliteJournal, turn: Turn, owner: int, *owed: StepKind) -> None:
    await journal.submit(Change(turn=replace(turn, owner=owner), owed=owed, at=1.0))


async def test_each_gets_its_own_work_and_sees_all_turns(opened: Opening, make_turn: Callable[..., Turn]) -> None:
    both = [await opened(0, own=True), await opened(1)]
    for number, journal in enumerate(both):
        await put(journal, make_turn(f"open-{number}"), number)
        await put(journal, make_turn(f"owing-{number}", state=State.CANCELLING), number, CANCEL)
        await journal.order_cancel(f"open-{number}", at=1.0)
    for number, journal in enumerate(both):
        assert [turn.id for turn in await journal.unsettled()] == [f"open-{number}"]
        assert await journal.overdue(created_before=1e9) == [f"open-{number}"]
        assert [order.turn_id for order in await journal.orders()] == [f"open-{number}"]
        assert [step.turn.id for step in await journal.lease(now=9.0, until=19.0, limit=9)] == [f"owing-{number}"]
        assert await journal.next_due_at() == 19.0
        assert (await journal.load(f"open-{1 - number}")) is not None
    assert await both[0].release_leases() == 1
    assert await both[0].next_due_at() == 1.0
    assert await both[1].next_due_at() == 19.0


@pytest.mark.parametrize("again", [1, 3])
async def test_another_number_of_processes_shares_out_anew(
    opened: Opening, make_turn: Callable[..., Turn], again: int
) -> None:
    """Whatever may still move has an owner afterwards, and its steps have the same."""
    first = await opened(0, own=True)
    await first.spread()
    for number in range(12):
        state = State.UNRESOLVED if number % 3 == 0 else State.CANCELLING
        await put(first, make_turn(f"t{number:02}", state=state), number % 2, CANCEL)
    await first.close()
    owner = await opened(0, again, own=True)
    await owner.spread()
    shares = [owner, *[await opened(number, again) for number in range(1, again)]]
    leased = [step.turn for one in shares for step in await one.lease(now=9.0, until=19.0, limit=99)]
    assert sorted(turn.id for turn in leased) == [f"t{number:02}" for number in range(12)]
    assert {turn.owner for turn in leased} == set(range(again))


async def test_as_many_processes_as_last_time_keep_theirs(opened: Opening, make_turn: Callable[..., Turn]) -> None:
    first = await opened(0, own=True)
    await first.spread()
    turn = make_turn("t1", state=State.CANCELLING)
    await put(first, turn, 1)
    await first.close()
    again = await opened(0, own=True)
    await again.spread()
    assert await again.load("t1") == replace(turn, owner=1, plan=PLAN)


async def test_two_with_one_request_id_are_not_under_way_at_once(
    opened: Opening, make_turn: Callable[..., Turn]
) -> None:
    """The second is told so, and takes none of its group with it; once the first is over, there may be another."""
    one, two = await opened(0, own=True), await opened(1)
    await put(one, make_turn("t1", captured={"request_id": "same"}), 0)
    results = await asyncio.gather(
        two.submit(Change(turn=make_turn("t2", captured={"request_id": "same"}), at=1.0)),
        two.submit(Change(turn=make_turn("t3", captured={"request_id": "other"}), at=1.0)),
        two.submit(Change(turn=make_turn("t4", captured={"request_id": "same"}, principal="p2"), at=1.0)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [InProgressError, type(None), type(None)]
    assert await two.load("t2") is None
    await put(one, make_turn("t1", captured={"request_id": "same"}, state=State.COMPLETED), 0)
    await put(two, make_turn("t2", captured={"request_id": "same"}), 1)


async def test_writers_side_by_side_lose_nothing(opened: Opening, make_turn: Callable[..., Turn]) -> None:
    both = [await opened(0, own=True), await opened(1)]

    async def write(number: int) -> None:
        for count in range(60):
            await put(both[number], make_turn(f"{number}-{count}"), number)

    await asyncio.gather(write(0), write(1))
    assert [len(await one.unsettled()) for one in both] == [60, 60]
