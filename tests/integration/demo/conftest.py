"""A backend with a database file of its own, and a client that goes straight to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from sidecar.demo.backend import BackendKnobs, LegacyBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QUICK = BackendKnobs(words=14, word_s=0.001)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[LegacyBackend]:
    async with LegacyBackend.serve(QUICK, path=tmp_path / "backend.db") as backend:
        yield backend


@pytest.fixture
async def person(backend: LegacyBackend) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(backend.url) as session:
        yield session
