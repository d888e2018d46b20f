"""A console before a running sidecar, and an operator who asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.openapi import Document
from tests.fakes.operator import operator
from tests.fakes.scene import scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.operator import Operator
    from tests.fakes.scene import Scene


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, console={"address": "127.0.0.1:0"}, admin={"attempts_max": 1}) as running:
        yield running


@pytest.fixture
async def asks(running: Scene) -> AsyncIterator[Operator]:
    async with operator(running.sidecar.console_url) as asks:
        yield asks


@pytest.fixture
async def document(asks: Operator) -> Document:
    return Document((await asks.ask("/api/openapi.json")).json)
