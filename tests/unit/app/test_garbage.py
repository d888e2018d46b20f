"""What is there at the start is taken out of the collector's sight, and what comes later is not."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from sidecar.app.garbage import settle

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def thawed() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("thawed")
def test_the_collector_sees_only_what_came_later() -> None:
    earlier = [object()]
    settle()
    later = [object()]
    seen = {id(one) for one in gc.get_objects()}
    assert id(earlier) not in seen
    assert id(later) in seen
