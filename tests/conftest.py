"""What tests of several rooms share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.scene import Scene, scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# How long a machine takes over an example says how busy it is, and nothing of the code: no example fails by its time.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Scene]:
    """Run a sidecar with the default settings."""
    async with scene(tmp_path) as running:
        yield running
