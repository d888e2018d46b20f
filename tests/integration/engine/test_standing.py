"""A process by itself asks the journal only about newcomers that may meet something, and misses nothing they meet."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.gate import Gate
from sidecar.engine.late_content import LateContent
from sidecar.errors import JournalUnavailableError, RollbackPendingError, SidecarError
from sidecar.turn.events import CancelRequested
from sidecar.turn.state import Cause, State
from tests.fakes.admin_api import FAILED
from tests.fakes.engine import BACKOFF, CANCEL, FakeExchange, locked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.turn.state import Turn
    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import Engine

    Start = Callable[..., Awaitable[Engine]]

AGAIN = [{"request_id": "req_t1"}, {"conversation_id": "c1"}]


@pytest.fixture
async def engine(start: Start) -> Engine:
    return await start(alone=True)


async def what_hinders(engine: Engine, turn: Turn) -> type[SidecarError] | None:
    gate = Gate(engine.journal, engine.driver, engine.tombstones, LateContent(engine.journal, engine.driver))
    try:
        await gate.pass_(turn, timeout_s=0.0, left=asyncio.get_running_loop().create_future())
    except SidecarError as error:
        return type(error)
    return None


def newcomer(engine: Engine, again: dict[str, str]) -> Turn:
    return replace(engine.new_turn("new"), captured={"request_id": "req_new", **again})


@pytest.mark.parametrize("again", [{}, *AGAIN])
async def test_the_journal_is_not_asked_where_nothing_stands(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, again: dict[str, str]
) -> None:
    await engine.deliver(await engine.open("t1"), "c1")
    await engine.abandon(await engine.open("t2"), "c2")
    await engine.work()
    assert await engine.state("t2") is State.CANCELLED
    for read in ("find", "in_conversations"):
        monkeypatch.delattr(type(engine.journal), read)
    assert await what_hinders(engine, newcomer(engine, again)) is None
    assert await what_hinders(engine, engine.new_turn("t3", request_id="req_t2", conversation_id="c2")) is None


@pytest.mark.parametrize("again", AGAIN)
async def test_what_was_abandoned_stands_until_it_is_undone(engine: Engine, again: dict[str, str]) -> None:
    await engine.abandon(await engine.open("t1"), "c1")
    assert not engine.driver.live
    assert await what_hinders(engine, newcomer(engine, again)) is RollbackPendingError
    await engine.work()
    assert await what_hinders(engine, newcomer(engine, again)) is None


@pytest.mark.parametrize("again", AGAIN)
async def test_what_an_earlier_run_left_stands(start: Start, again: dict[str, str]) -> None:
    first = await start()
    await first.open("t1", conversation_id="c1")
    await first.stop()
    second = await start(alone=True)
    assert second.recovered == 1
    assert await what_hinders(second, newcomer(second, again)) is RollbackPendingError


@pytest.mark.parametrize("again", AGAIN)
async def test_what_is_cancelled_late_stands_from_then_on(engine: Engine, again: dict[str, str]) -> None:
    await engine.deliver(await engine.open("t1"), "c1")
    assert await what_hinders(engine, newcomer(engine, again)) is None
    await engine.driver.apply("t1", CancelRequested(at=engine.clock(), cause=Cause.OPERATOR))
    assert await what_hinders(engine, newcomer(engine, again)) is RollbackPendingError


@pytest.mark.parametrize("again", AGAIN)
async def test_what_another_process_has_tried_again_stands(
    start: Start, admin: ScriptedAdminApi, again: dict[str, str]
) -> None:
    engine = await start(alone=True, backoff=replace(BACKOFF, attempts_max=1))
    admin.script(CANCEL, FAILED)
    await engine.abandon(await engine.open("t1"), "c1")
    await engine.work()
    assert await engine.state("t1") is State.UNRESOLVED
    assert await what_hinders(engine, newcomer(engine, again)) is None
    beside = await start(own=False)
    assert await beside.operator.retry_all() == 1
    assert await what_hinders(engine, newcomer(engine, again)) is RollbackPendingError


async def test_what_never_became_durable_stands_nowhere(
    engine: Engine, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del impatient
    live = engine.driver.admit(engine.new_turn("t1", conversation_id="c1"), FakeExchange())
    with locked(engine.path), pytest.raises(JournalUnavailableError):
        await engine.driver.open(live)
    monkeypatch.delattr(type(engine.journal), "find")
    assert await what_hinders(engine, newcomer(engine, AGAIN[0])) is None
