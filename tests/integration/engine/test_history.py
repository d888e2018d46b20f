"""One turn's full history: what its columns and its steps tell, and what was recorded because these forget it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.engine.history import Happening
from sidecar.turn.events import CancelRequested, DownstreamGone, UpstreamLost
from sidecar.turn.state import Cause, Plan, StepKind
from tests.fakes.admin_api import DONE, FAILED, GONE
from tests.fakes.engine import CANCEL, PLAN, RETENTION_S, ROLLBACK, locked
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine

    Start = Callable[..., Awaitable[Engine]]
    Told = list[tuple[Happening, StepKind | None, str | None]]

VERIFYING = Plan(needs={**PLAN.needs, StepKind.VERIFY: frozenset({"conversation_id"})}, looks_after_s=(0.0, 2.0))


@pytest.fixture
async def engine(start: Start) -> Engine:
    return await start()


async def told(engine: Engine, turn_id: str = "t1") -> Told:
    """Give what happened, in order; the times must be in order, too."""
    history = await engine.operator.history(turn_id)
    assert history is not None
    times = [entry.at for entry in history.entries]
    assert times == sorted(times)
    return [(entry.what, entry.step, entry.detail) for entry in history.entries]


def recorded(engine: Engine) -> int:
    with closing(sqlite3.connect(engine.path)) as database:
        number: int = database.execute("SELECT count(*) FROM history").fetchone()[0]
        return number


async def test_an_unknown_turn_has_none(engine: Engine) -> None:
    assert await engine.operator.history("nobody") is None


async def test_a_delivered_turn_costs_no_row(engine: Engine) -> None:
    await engine.deliver(await engine.open("t1"), "c1")
    assert await told(engine) == [
        (Happening.OPENED, None, None),
        (Happening.ANSWER_BEGAN, None, None),
        (Happening.ANSWERED, None, None),
        (Happening.DELIVERED, None, None),
        (Happening.SETTLED, None, "completed"),
    ]
    assert recorded(engine) == 0


async def test_an_abandoned_turn_tells_every_attempt(engine: Engine, admin: ScriptedAdminApi) -> None:
    admin.script(CANCEL, FAILED, DONE)
    admin.script(ROLLBACK, GONE)
    live = await engine.open("t1")
    engine.clock.move(1)
    await engine.abandon(live, "c1")
    await engine.work()
    engine.clock.move(5)
    await engine.work()
    assert await told(engine) == [
        (Happening.OPENED, None, None),
        (Happening.ANSWER_BEGAN, None, None),
        (Happening.CANCELLED, None, "closed"),
        (Happening.UPSTREAM_CLOSED, None, None),
        (Happening.OWED, CANCEL, None),
        (Happening.OWED, ROLLBACK, None),
        (Happening.ATTEMPT_FAILED, CANCEL, "503"),
        (Happening.STEP_DELIVERED, CANCEL, None),
        (Happening.STEP_DELIVERED, ROLLBACK, "already gone"),
        (Happening.SETTLED, None, "cancelled"),
    ]
    history = await engine.operator.history("t1")
    assert history is not None
    assert [entry.attempt for entry in history.entries if entry.attempt] == [1, 2, 1]
    assert [(row.kind, row.state, row.delivered_at) for row in history.steps] == [
        (CANCEL, "delivered", 1006.0),
        (ROLLBACK, "delivered", 1006.0),
    ]
    assert history.turn.cancelled_at == 1001.0


async def test_a_drained_answer_is_closed_when_it_has_no_more_to_tell(engine: Engine) -> None:
    live = await engine.open("t1")
    await engine.abandon(live)
    engine.clock.move(3)
    await engine.driver.feed(live, UpstreamLost(at=engine.clock()))
    history = await engine.operator.history("t1")
    assert history is not None
    closed = [entry.at for entry in history.entries if entry.what is Happening.UPSTREAM_CLOSED]
    assert closed == [1003.0]


async def test_a_late_cancel_does_not_forget_that_the_answer_was_delivered(engine: Engine) -> None:
    await engine.deliver(await engine.open("t1"), "c1")
    engine.clock.move(2)
    await engine.driver.apply("t1", CancelRequested(at=engine.clock(), cause=Cause.REQUESTED))
    assert (await engine.stored("t1")).confirmed_at is None
    whats = [what for what, _, _ in await told(engine)]
    assert whats.index(Happening.DELIVERED) < whats.index(Happening.CANCELLED)


async def test_looks_tell_what_they_saw(start: Start, admin: ScriptedAdminApi) -> None:
    engine = await start(plan=VERIFYING)
    admin.script(StepKind.VERIFY, GONE, DONE, GONE, GONE)
    await engine.abandon(await engine.open("t1"), "c1")
    for _ in range(5):
        await engine.work()
        engine.clock.move(2)
    looks = [detail for what, step, detail in await told(engine) if step is StepKind.VERIFY and what != Happening.OWED]
    assert looks == ["seen gone", "still there", "seen gone", "seen gone"]


async def test_a_dead_step_that_is_tried_again_tells_both(engine: Engine, admin: ScriptedAdminApi) -> None:
    admin.script(CANCEL, *[FAILED] * 4)
    await engine.abandon(await engine.open("t1"), "c1")
    for _ in range(4):
        await engine.work()
        engine.clock.move(20)
    assert await engine.operator.retry_all() == 1
    await engine.work()
    whats = [what for what, step, _ in await told(engine) if step is CANCEL]
    assert whats == [
        Happening.OWED,
        *[Happening.ATTEMPT_FAILED] * 3,
        Happening.STEP_DEAD,
        Happening.STEP_REVIVED,
        Happening.STEP_DELIVERED,
    ]
    history = await engine.operator.history("t1")
    assert history is not None
    assert history.turn.cancelled_at == 1000.0, "when its undoing began, not when it was tried again"


@pytest.mark.usefixtures("impatient")
async def test_what_the_journal_could_not_take_is_recorded_once_it_can(start: Start) -> None:
    engine = await start()
    live = await engine.open("t1", conversation_id="c1")
    with capture_logs() as logs:
        with locked(engine.path):
            durable = engine.driver.feed(live, DownstreamGone(at=1001.0, cause=Cause.CLOSED))
            await eventually(lambda: any(line["event"] == "journal_retry" for line in logs))
        await durable
    assert [what for what, _, _ in await told(engine)].count(Happening.UPSTREAM_CLOSED) == 1


async def test_it_goes_with_the_turn(engine: Engine) -> None:
    await engine.abandon(await engine.open("t1"), "c1")
    await engine.work()
    assert recorded(engine) > 0
    engine.clock.move(RETENTION_S + 1)
    await engine.pruner.run_once()
    assert recorded(engine) == 0
