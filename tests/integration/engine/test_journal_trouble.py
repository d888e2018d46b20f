"""A journal that cannot be written for a while loses nothing of what a live turn owes: it is offered again (law 2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.errors import JournalUnavailableError
from sidecar.turn.events import AnswerEnded, CancelRequested, DownstreamGone, IdsLearned, StepDelivered
from sidecar.turn.state import Cause, State
from tests.fakes.admin_api import DONE
from tests.fakes.engine import CANCEL, LEASE_S, ROLLBACK, TEMP_TTL_S, locked
from tests.fakes.waiting import DEADLINE_S, eventually

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine, ManualClock

    Logs = list[MutableMapping[str, Any]]

pytestmark = pytest.mark.usefixtures("impatient")

GONE = DownstreamGone(at=1001.0, cause=Cause.CLOSED)
BOTH = {("t1", CANCEL): "pending", ("t1", ROLLBACK): "pending"}


def count(logs: Logs, event: str) -> int:
    return [entry["event"] for entry in logs].count(event)


async def test_what_a_live_turn_owes_is_offered_until_it_is_durable(engine: Engine, admin: ScriptedAdminApi) -> None:
    live = await engine.open("t1", conversation_id="c1")
    with capture_logs() as logs:
        with locked(engine.path):
            durable = engine.driver.feed(live, GONE)
            engine.driver.release(live)
            await eventually(lambda: count(logs, "journal_retry") > 2)
            assert not durable.done()
            assert tuple(engine.driver.live) == (live,)  # it can still be found
            assert await engine.state("t1") is State.OPEN
        await durable
    assert await engine.outbox() == BOTH
    await engine.work()
    assert admin.kinds == [("t1", CANCEL), ("t1", ROLLBACK)]
    assert await engine.state("t1") is State.CANCELLED
    assert engine.driver.live == ()


async def test_a_change_that_is_offered_again_brings_back_no_older_state(engine: Engine) -> None:
    live = await engine.open("t1", conversation_id="temp_1")
    with capture_logs() as logs:
        with locked(engine.path):
            answered = engine.driver.feed(live, AnswerEnded(at=1001.0, captured={"conversation_id": "real_1"}))
            await eventually(lambda: count(logs, "journal_retry") > 0)
        gone = engine.driver.feed(live, GONE)
        await gone
        await answered
    turn = await engine.stored("t1")
    assert (turn.state, turn.conversation_id, turn.answered_at) == (State.CANCELLING, "real_1", 1001.0)
    assert await engine.outbox() == {("t1", ROLLBACK): "pending"}


async def test_a_full_disk_loses_nothing_either(engine: Engine) -> None:
    writer = engine.journal._writer._connection
    (row,) = await writer.execute_fetchall("PRAGMA page_count")
    live = await engine.open("t1", conversation_id="c1")
    await writer.execute_fetchall(f"PRAGMA max_page_count = {row[0]}")
    with capture_logs() as logs:
        long_ids = {f"id{number}": "x" * 512 for number in range(200)}
        durable = engine.driver.feed(live, IdsLearned(at=1001.0, captured=long_ids))
        owed = engine.driver.feed(live, GONE)
        await eventually(lambda: count(logs, "journal_retry") > 1)
        assert "full" in next(entry["error"] for entry in logs if entry["event"] == "journal_retry")
        assert not durable.done()
        await writer.execute_fetchall("PRAGMA max_page_count = 100000")
        await owed
        await durable
    assert await engine.outbox() == BOTH
    assert (await engine.stored("t1")).captured["id19"] == "x" * 512


async def test_a_stored_turn_is_left_as_it_was(engine: Engine) -> None:
    await engine.abandon(await engine.open("t1", conversation_id="c1"))
    before = await engine.stored("t1")
    with locked(engine.path), pytest.raises(JournalUnavailableError):
        await engine.driver.apply("t1", StepDelivered(at=1002.0, kind=CANCEL))
    assert await engine.stored("t1") == before


async def test_a_call_whose_result_could_not_be_noted_is_made_again_with_the_same_key(
    engine: Engine, admin: ScriptedAdminApi, clock: ManualClock
) -> None:
    await engine.abandon(await engine.open("t1", conversation_id="c1"))
    answer = admin.hang(CANCEL, "t1")
    assert await engine.dispatcher.run_once() == 1
    await eventually(lambda: admin.made)
    with capture_logs() as logs, locked(engine.path):
        answer.set_result(DONE)
        await eventually(lambda: count(logs, "attempt_lost"))
    await engine.work()
    assert len(admin.made) == 1  # its lease still holds
    clock.move(LEASE_S)
    await engine.work()
    assert admin.kinds == [("t1", CANCEL), ("t1", CANCEL), ("t1", ROLLBACK)]
    assert admin.made[0].key == admin.made[1].key
    assert await engine.state("t1") is State.CANCELLED


async def test_a_lease_that_cannot_be_taken_is_no_end_of_the_dispatcher(
    engine: Engine, admin: ScriptedAdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.engine.dispatcher.POLL_S", 0.005)
    live = await engine.open("t1", conversation_id="c1")
    with capture_logs() as logs:
        with locked(engine.path):
            engine.dispatcher.start()
            engine.driver.feed(live, GONE)
            await eventually(lambda: count(logs, "dispatcher_waits"))
        await eventually(lambda: len(admin.made) == 2)


async def test_draining_ends_where_the_journal_does_not_answer(engine: Engine) -> None:
    await engine.abandon(await engine.open("t1", conversation_id="c1"))
    with capture_logs() as logs, locked(engine.path):
        await engine.work()
    assert count(logs, "dispatcher_stops_early") == 1


async def test_the_sweeper_does_not_turn_round_and_round_a_turn_that_is_not_durable(
    engine: Engine, clock: ManualClock
) -> None:
    live = await engine.open("t1", conversation_id="c1")
    with locked(engine.path):
        durable = engine.driver.feed(live, CancelRequested(at=1000.0, cause=Cause.REQUESTED))
        clock.move(TEMP_TTL_S + 1)
        async with asyncio.timeout(DEADLINE_S):
            await engine.sweeper.run_once()  # the journal still calls it open
    await durable
    assert await engine.sweeper.run_once() == 0


async def test_a_sweep_that_fails_is_made_again(engine: Engine, clock: ManualClock) -> None:
    await engine.put(engine.new_turn("stored", conversation_id="c1"))
    clock.move(TEMP_TTL_S + 1)
    with locked(engine.path), pytest.raises(JournalUnavailableError):
        await engine.sweeper.run_once()
    assert await engine.state("stored") is State.OPEN
    assert await engine.sweeper.run_once() == 1
    assert await engine.state("stored") is State.CANCELLING
