"""A legacy backend in this process, a sidecar before it in a process of its own, and who visits a front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import backend, sidecar
from tests.deploy.visitor import Visits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["backend", "sidecar", "visits"]


@pytest.fixture
async def visits() -> AsyncIterator[Visits]:
    visits = Visits()
    yield visits
    visits.end()
