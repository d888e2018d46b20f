"""Every test of what is guarded runs on both event loops: `sidecar run` takes uvloop where it is installed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.fakes.scene import Scene, scene
from tests.integration.guard.reading import GUARDS, STEADY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Scene]:
    """Run a sidecar with both kinds of guards."""
    async with scene(tmp_path, guard=GUARDS, admin=STEADY) as running:
        yield running
