"""The driver: what it returns from is durable, what it owes goes with the state, every turn has one hand."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.ports import StepUpdate
from sidecar.errors import JournalUnavailableError
from sidecar.turn.events import (
    AnswerEnded,
    CancelRequested,
    Delivered,
    DownstreamGone,
    Forwarded,
    IdsLearned,
    StepDelivered,
    UpstreamLost,
)
from sidecar.turn.state import Cause, State, StepState
from tests.fakes.engine import CANCEL, ROLLBACK, FakeExchange, as_loaded, done_by, locked
from tests.fakes.waiting import eventually, loop_turns

if TYPE_CHECKING:
    from tests.fakes.engine import Engine

GONE = DownstreamGone(at=1001.0, cause=Cause.RESET)
STOP = CancelRequested(at=1001.0, cause=Cause.REQUESTED)
TOLD = IdsLearned(at=1000.5, captured={"conversation_id": "c1"})


def on_disk(path: str, query: str) -> list[tuple[object, ...]]:
    """Read what someone beside the sidecar reads."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def test_a_turn_is_durable_when_open_returns(engine: Engine) -> None:
    live = engine.driver.admit(engine.new_turn("t1"), FakeExchange())
    assert on_disk(engine.path, "SELECT id FROM turns") == []
    await engine.driver.open(live)
    assert on_disk(engine.path, "SELECT id, state FROM turns") == [("t1", "open")]


async def test_a_turn_can_be_found_and_cancelled_before_it_is_durable(engine: Engine) -> None:
    live = engine.driver.admit(engine.new_turn("t1"), FakeExchange())
    opening = asyncio.ensure_future(engine.driver.open(live))
    assert engine.driver.live_with("p1", "request_id", "req_t1") == (live,)
    await engine.driver.feed(live, STOP)
    await opening
    assert await engine.state("t1") is State.CANCELLED  # the upstream never heard of it: nothing is owed
    assert await engine.outbox() == {}
    assert done_by(live) == ["close", "abort"]


@pytest.mark.usefixtures("impatient")
async def test_a_turn_that_cannot_be_journalled_is_forgotten(engine: Engine) -> None:
    with locked(engine.path):
        live = engine.driver.admit(engine.new_turn("t1"), FakeExchange())
        with pytest.raises(JournalUnavailableError):
            await engine.driver.open(live)
    assert engine.driver.live == ()
    assert engine.driver.live_with("p1", "request_id", "req_t1") == ()
    await engine.driver.wait_until_empty()
    assert await engine.journal.load("t1") is None


async def test_a_turn_whose_cancel_came_first_is_journalled_as_cancelled(engine: Engine) -> None:
    await engine.driver.record_cancelled(engine.new_turn("t1", conversation_id="c1"))
    turn = await engine.stored("t1")
    assert (turn.state, turn.cause, turn.settled_at) == (State.CANCELLED, Cause.REQUESTED, 1000.0)
    assert await engine.outbox() == {}
    assert engine.driver.live == ()


async def test_state_and_outbox_are_committed_together_or_not_at_all(engine: Engine, impatient: None) -> None:
    del impatient
    live = await engine.open("t1")
    engine.feed(live, TOLD)
    await asyncio.to_thread(
        on_disk, engine.path, "CREATE TRIGGER no BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    durable = engine.driver.feed(live, GONE)
    assert live.turn.state is State.CANCELLING  # it is acted on at once
    await eventually(lambda: live.undurable == 1)
    await loop_turns()
    assert not durable.done()
    assert await engine.state("t1") is State.OPEN
    await asyncio.to_thread(on_disk, engine.path, "DROP TRIGGER no")  # a transaction under way needs the loop to end
    await durable
    assert await engine.state("t1") is State.CANCELLING
    assert await engine.outbox() == {("t1", CANCEL): "pending", ("t1", ROLLBACK): "pending"}


async def test_the_owed_are_announced_when_they_are_durable_and_not_before(engine: Engine) -> None:
    seen: list[object] = []
    engine.driver._on_owed = lambda: seen.append(on_disk(engine.path, "SELECT kind FROM outbox ORDER BY rank"))
    live = await engine.open("t1")
    engine.feed(live, TOLD)
    await engine.driver.feed(live, GONE)
    assert seen == [[("cancel",), ("rollback",)]]
    await engine.driver.feed(live, STOP)
    assert len(seen) == 1  # nothing newly owed


@pytest.mark.parametrize("told", [True, False])
async def test_effects_reach_the_exchange_at_once(engine: Engine, *, told: bool) -> None:
    live = await engine.open("t1")
    if told:
        engine.feed(live, TOLD)
    engine.driver.feed(live, GONE)
    assert done_by(live) == (["close", "abort"] if told else ["abort", "drain"])
    engine.feed(live, UpstreamLost(at=1002.0))
    assert done_by(live).count("close") == 1


async def test_an_event_that_changes_nothing_durable_is_not_written(engine: Engine) -> None:
    live = engine.driver.admit(engine.new_turn("t1"), FakeExchange())
    await engine.driver.open(live)
    before = live.undurable
    for event in (Forwarded(at=1001.0), IdsLearned(at=1001.0, captured={"request_id": "other"})):
        assert engine.driver.feed(live, event).done()
    assert live.undurable == before == 0
    assert engine.driver.live_with("p1", "request_id", "other") == ()


async def test_a_turn_can_be_found_by_every_id_it_ever_had_and_only_by_its_principal(engine: Engine) -> None:
    live = await engine.open("t1")
    engine.feed(live, IdsLearned(at=1.0, captured={"conversation_id": "temp_1"}))
    await engine.driver.feed(live, AnswerEnded(at=2.0, captured={"conversation_id": "real_1"}))
    for value in ("temp_1", "real_1"):
        assert engine.driver.live_with("p1", "conversation_id", value) == (live,)
        assert engine.driver.live_with("p1", "request_id", value) == ()
        assert engine.driver.live_with("stranger", "conversation_id", value) == ()
    await engine.driver.feed(live, Delivered(at=3.0))
    engine.driver.release(live)
    assert engine.driver.live_with("p1", "conversation_id", "temp_1") == ()
    assert len(engine.driver._index) == 0
    assert (await engine.stored("t1")).temp_id == "temp_1"


async def test_a_released_turn_stays_live_until_it_is_durable(engine: Engine) -> None:
    live = await engine.open("t1")
    durable = engine.driver.feed(live, GONE)
    engine.driver.release(live)
    assert tuple(engine.driver.live) == (live,)
    await durable
    await engine.driver.wait_until_empty()
    assert engine.driver.live == ()
    assert await engine.stored("t1") == as_loaded(live.turn)


async def test_wait_until_empty_waits_for_the_last_turn(engine: Engine) -> None:
    first, second = await engine.open("t1"), await engine.open("t2")
    waiting = asyncio.ensure_future(engine.driver.wait_until_empty())
    engine.driver.release(first)
    await loop_turns()
    assert not waiting.done()
    engine.driver.release(second)
    await waiting


async def test_apply_reaches_the_exchange_of_a_live_turn_and_is_durable_on_return(engine: Engine) -> None:
    live = await engine.open("t1", conversation_id="c1")
    after = await engine.driver.apply("t1", STOP)
    assert after is live.turn
    assert done_by(live) == ["close", "abort"]
    assert on_disk(engine.path, "SELECT state, cause FROM turns") == [("cancelling", "requested")]


async def test_apply_steps_a_turn_that_is_not_live(engine: Engine) -> None:
    await engine.abandon(await engine.open("t1", conversation_id="c1"))
    assert engine.driver.live == ()
    after = await engine.driver.apply("t1", StepDelivered(at=1002.0, kind=CANCEL))
    assert after is not None
    assert after.steps[CANCEL] is StepState.DELIVERED
    assert after.state is State.CANCELLING


async def test_apply_to_an_unknown_turn_is_harmless(engine: Engine) -> None:
    assert await engine.driver.apply("nobody", STOP) is None
    assert await engine.journal.turns() == []


async def test_a_stored_turn_has_one_hand_at_a_time(engine: Engine) -> None:
    """Several that load the same turn at once would overwrite what the others made of it."""
    await engine.abandon(await engine.open("t1", conversation_id="c1"))
    await asyncio.gather(
        *(
            engine.driver.apply(
                "t1",
                StepDelivered(at=1002.0, kind=kind, captured={f"{kind}_told": "x"}),
                StepUpdate(turn_id="t1", kind=kind, state=StepState.DELIVERED, attempts=1, due_at=1002.0),
            )
            for kind in (CANCEL, ROLLBACK)
        )
    )
    turn = await engine.stored("t1")
    assert turn.state is State.CANCELLED
    assert {"cancel_told", "rollback_told"} <= turn.captured.keys()
    assert engine.driver._locks._locks == {}


@pytest.mark.usefixtures("impatient")
async def test_a_released_turn_stays_live_until_all_of_it_is_durable(engine: Engine) -> None:
    live = await engine.open("t1")
    await asyncio.to_thread(
        on_disk, engine.path, "CREATE TRIGGER no BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    told = engine.driver.feed(live, TOLD)
    gone = engine.driver.feed(live, GONE)
    engine.driver.release(live)
    await told
    await loop_turns()
    assert tuple(engine.driver.live) == (live,)
    await asyncio.to_thread(on_disk, engine.path, "DROP TRIGGER no")
    await gone
    await engine.driver.wait_until_empty()
    assert engine.driver.live == ()


async def test_an_event_fed_from_within_an_effect_is_taken_in_after_it(engine: Engine) -> None:
    """An exchange that closes its upstream may at once have more to tell."""
    live = await engine.open("t1")

    class Prompt(FakeExchange):
        def drain_upstream(self) -> None:
            engine.driver.feed(live, TOLD)

    live.exchange = exchange = Prompt()
    await engine.driver.feed(live, GONE)
    engine.driver.release(live)
    await engine.driver.wait_until_empty()
    assert exchange.done == ["abort", "close"]
    assert await engine.outbox() == {("t1", CANCEL): "pending", ("t1", ROLLBACK): "pending"}
    assert (await engine.stored("t1")).conversation_id == "c1"


async def test_a_turn_released_from_within_an_effect_stays_live_until_it_is_durable(engine: Engine) -> None:
    """Or whoever came next would load it from the journal as it was before."""
    live = await engine.open("t1", conversation_id="c1")

    class Hasty(FakeExchange):
        def close_upstream(self) -> None:
            engine.driver.release(live)

    live.exchange = Hasty()
    durable = engine.driver.feed(live, GONE)
    assert tuple(engine.driver.live) == (live,)
    assert not engine.driver._emptied.is_set()
    await durable
    await engine.driver.wait_until_empty()
    assert len(engine.driver._index) == 0
    assert await engine.stored("t1") == as_loaded(live.turn)
