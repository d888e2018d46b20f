"""A legacy backend in this process, and a sidecar before it in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.demo.backend import BackendKnobs, LegacyBackend
from tests.acceptance.process import SidecarProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[LegacyBackend]:
    async with LegacyBackend.serve(BackendKnobs(), path=tmp_path / "backend.db") as backend:
        yield backend


@pytest.fixture
async def sidecar(backend: LegacyBackend, tmp_path: Path) -> AsyncIterator[SidecarProcess]:
    process = SidecarProcess(tmp_path, backend.url, admin_timeout_s=2)
    await process.start()
    yield process
    await process.close()
