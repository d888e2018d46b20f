"""The laws of a turn, where request, cancel and rollback are matters of different processes."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from sidecar.engine import gate
from sidecar.engine.cancellation import CancelOutcome
from sidecar.engine.orders import Orders
from sidecar.errors import InProgressError, RollbackPendingError
from sidecar.turn.state import State
from tests.fakes.crew import PATIENT_S, until_there
from tests.fakes.engine import CANCEL, ROLLBACK, FakeExchange, done_by
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.crew import Workers

NOBODY_POLLS_S = 3600.0


async def test_a_turn_is_cancelled_by_its_owner_wherever_one_asks(two: Workers) -> None:
    live = await two[1].engine.open("t1")
    assert await two[0].engine.ask("req_t1") is CancelOutcome.CANCELLED
    assert live.turn.state is State.CANCELLING
    assert "abort" in done_by(live)
    assert (await two[0].engine.stored("t1")).owner == 1
    assert await two[0].engine.ask("req_t1") is CancelOutcome.CANCELLED  # twice


async def test_what_ended_long_ago_is_judged_by_its_owner_too(two: Workers) -> None:
    engine = two[1].engine
    await engine.deliver(await engine.open("t1"), "c1")
    two.clock.move(3600.0)
    assert await two[0].engine.ask("req_t1") is CancelOutcome.COMPLETED
    assert await engine.state("t1") is State.COMPLETED


async def test_a_conversation_is_cancelled_wherever_its_turns_are(two: Workers) -> None:
    ours = await two[0].engine.open("t0", conversation_id="c", begins=False)
    theirs = await two[1].engine.open("t1", conversation_id="c", begins=False)
    assert await two[0].engine.ask(conversation_id="c") is CancelOutcome.CANCELLED
    assert {ours.turn.state, theirs.turn.state} == {State.CANCELLING}


async def test_a_known_request_decides_alone_though_a_peer_has_it(two: Workers) -> None:
    other = await two[0].engine.open("t0", conversation_id="c", begins=False)
    theirs = await two[1].engine.open("t1")
    assert await two[0].engine.ask("req_t1", "c") is CancelOutcome.CANCELLED
    assert (other.turn.state, theirs.turn.state) == (State.OPEN, State.CANCELLING)


async def test_a_stranger_gets_what_anyone_gets_for_an_unknown_id(two: Workers) -> None:
    theirs = await two[1].engine.open("t1")
    assert await two[0].engine.ask("req_t1", principal="stranger") is CancelOutcome.REMEMBERED
    assert theirs.turn.state is State.OPEN


@pytest.mark.parametrize("asked", [0, 1])
async def test_a_cancel_that_came_first_forestalls_everywhere(two: Workers, asked: int) -> None:
    assert await two[asked].engine.ask("req_t1") is CancelOutcome.REMEMBERED
    arrived = await two[1].arrive(two[1].engine.new_turn("t1"))
    assert arrived.state is State.CANCELLED


async def test_a_newcomer_that_waits_at_a_peers_fence_is_cancelled(two: Workers) -> None:
    await two[0].engine.abandon(await two[0].engine.open("t0"), "c")
    waiting = asyncio.create_task(two[1].arrive(two[1].engine.new_turn("t1", begins=False, conversation_id="c")))
    await eventually(lambda: two[1].engine.driver.fence.newcomers("p1", "request_id", "req_t1"))
    assert await two[0].engine.ask("req_t1") is CancelOutcome.CANCELLED
    assert (await waiting).state is State.CANCELLED


@pytest.mark.parametrize("seed", range(10))
async def test_a_cancel_at_one_worker_and_its_request_at_another_never_miss_each_other(two: Workers, seed: int) -> None:
    """Whichever comes first by a hair: the turn is cancelled, and the asker is told no lie."""
    chance = random.Random(seed)  # noqa: S311  (moments, no secrets)

    async def soon(act: object) -> object:
        assert asyncio.iscoroutine(act)
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        return await act

    turns = [two[1].engine.new_turn(f"t{number}") for number in range(10)]
    ran = await asyncio.gather(
        *(soon(two[1].arrive(turn)) for turn in turns), *(soon(two[0].engine.ask(turn.request_id)) for turn in turns)
    )
    assert set(ran[10:]) <= {CancelOutcome.CANCELLED, CancelOutcome.REMEMBERED}
    states = [await two[1].engine.state(turn.id) for turn in turns]
    assert set(states) <= {State.CANCELLED, State.CANCELLING}


async def test_of_two_with_one_id_at_the_same_instant_one_is_refused(two: Workers) -> None:
    newcomers = [two[number].engine.new_turn(f"t{number}", request_id="same") for number in (0, 1)]
    ran = await asyncio.gather(*(two[number].arrive(newcomers[number]) for number in (0, 1)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in ran) == ["InProgressError", "Turn"]
    assert sum(not worker.engine.driver.live for worker in two.running.values()) == 1


async def test_an_id_that_is_open_elsewhere_is_refused_at_once(two: Workers) -> None:
    await two[1].engine.open("t1")
    with pytest.raises(InProgressError):
        await two[0].arrive(two[0].engine.new_turn("t2", request_id="req_t1"), timeout_s=NOBODY_POLLS_S)


async def test_who_waits_for_a_peers_rollback_is_woken(two: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "POLL_S", NOBODY_POLLS_S)
    engine = two[0].engine
    await engine.abandon(await engine.open("t0"), "c")
    newcomer = two[1].engine.new_turn("t1", begins=False, conversation_id="c")
    waiting = asyncio.create_task(two[1].arrive(newcomer, timeout_s=NOBODY_POLLS_S))
    await eventually(lambda: two[1].engine.driver.fence.newcomers("p1", "request_id", "req_t1"))
    with pytest.raises(RollbackPendingError):
        await two[1].arrive(two[1].engine.new_turn("t2", begins=False, conversation_id="c"), timeout_s=0.0)
    await engine.work()
    assert (await asyncio.wait_for(waiting, PATIENT_S)).state is State.OPEN


async def test_no_rollback_hits_what_a_peer_has_just_let_in(two: Workers, admin: ScriptedAdminApi) -> None:
    """The newcomer has passed the gate, but stands in no journal yet; delivered, it keeps the conversation (law 3)."""
    engine, other = two[0].engine, two[1].engine
    live = await engine.open("t0")
    let_in = other.driver.admit(other.new_turn("t1", begins=False, conversation_id="c"), FakeExchange())
    await engine.abandon(live, "c")
    await engine.work()
    assert admin.kinds == [("t0", CANCEL)]
    assert (await engine.outbox())["t0", ROLLBACK] == "pending"
    await other.driver.open(let_in)
    two.clock.move(1.0)
    await engine.work()  # the journal knows of it by now
    assert admin.kinds == [("t0", CANCEL)]
    await other.deliver(let_in)
    await engine.work()
    assert admin.kinds == [("t0", CANCEL)]
    assert await engine.state("t0") is State.CANCELLED


async def test_a_crashed_owner_is_waited_for_and_its_turns_are_recovered(two: Workers) -> None:
    await two[1].engine.open("t1")
    two.hold.clear()
    await two.kill(1)
    asked = asyncio.create_task(two[0].engine.ask("req_t1"))
    assert await two[0].engine.ask("unknown") is CancelOutcome.REMEMBERED  # nobody waits who need not
    assert not asked.done()
    two.hold.set()
    assert await asked is CancelOutcome.CANCELLED
    replacement = await until_there(two, 1)
    assert replacement.engine.recovered == 1
    assert await replacement.engine.state("t1") is State.CANCELLING
    arrived = await replacement.arrive(replacement.engine.new_turn("t2", request_id="unknown"))
    assert arrived.state is State.CANCELLED  # told of when it was not there, but read at its start


async def test_each_makes_the_calls_for_its_own_turns_only(two: Workers, admin: ScriptedAdminApi) -> None:
    for number in (0, 1):
        await two[number].engine.abandon(await two[number].engine.open(f"t{number}"), f"c{number}")
    await two[1].engine.work()
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]
    await two[0].engine.work()
    assert admin.kinds[2:] == [("t0", CANCEL), ("t0", ROLLBACK)]


async def test_an_order_is_carried_out_by_the_owner(two: Workers) -> None:
    live = await two[1].engine.open("t1")
    await two[0].engine.journal.order_cancel("t1", at=two.clock())
    done = [await Orders(two[n].engine.journal, two[n].engine.driver, two.clock).run_once() for n in (0, 1)]
    assert done == [0, 1]
    assert live.turn.state is State.CANCELLING
