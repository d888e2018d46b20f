"""The engine whole: on a real SQLite file, with a scripted admin API, scripted exchanges, and a clock of the test's."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from sidecar.engine import offers
from sidecar.journal import connection
from tests.fakes.admin_api import ScriptedAdminApi
from tests.fakes.engine import Engine, ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
async def admin() -> ScriptedAdminApi:
    return ScriptedAdminApi()


@pytest.fixture
async def start(
    tmp_path: Path, admin: ScriptedAdminApi, clock: ManualClock
) -> AsyncIterator[Callable[..., Awaitable[Engine]]]:
    """Start an engine on the same file, as often as wanted; all are stopped in the end."""
    async with AsyncExitStack() as running:

        async def start_one(**settings: object) -> Engine:
            engine = await Engine.start(str(tmp_path / "sidecar.db"), admin, clock, **settings)  # type: ignore[arg-type]
            running.push_async_callback(engine.stop)
            return engine

        yield start_one


@pytest.fixture
async def engine(start: Callable[..., Awaitable[Engine]]) -> Engine:
    return await start()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a journal that is locked by someone else give up at once, and the driver offer its changes again at once."""
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.001)
    monkeypatch.setattr(offers, "RESUBMIT_S", 0.005)
