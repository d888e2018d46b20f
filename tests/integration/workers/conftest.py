"""Two workers on a real file, with a scripted admin API and a clock of the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.admin_api import ScriptedAdminApi
from tests.fakes.crew import workers
from tests.fakes.engine import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.crew import Workers


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
async def admin() -> ScriptedAdminApi:
    return ScriptedAdminApi()


@pytest.fixture
async def two(tmp_path: Path, admin: ScriptedAdminApi, clock: ManualClock) -> AsyncIterator[Workers]:
    async with workers(str(tmp_path / "sidecar.db"), admin, clock) as crowd:
        yield crowd
