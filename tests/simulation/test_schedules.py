"""Thousands of schedules, each by its seed: clients, upstream, admin API, journal and crashes at their worst.

A seed reproduces any of them: `SIMULATION_SEED=1234 pytest tests/simulation`. A longer run:
`SIMULATION_SCHEDULES=100000 pytest tests/simulation`.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.simulation.schedule import SCHEDULES, play

BLOCK: Final = 200
ONE: Final = os.environ.get("SIMULATION_SEED")


@pytest.mark.skipif(ONE is not None, reason="one seed is asked for")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SCHEDULES, BLOCK))
def test_the_laws_hold_in_every_schedule(first: int) -> None:
    for seed in range(first, min(first + BLOCK, SCHEDULES)):
        play(seed)


@pytest.mark.skipif(ONE is None, reason="no seed is asked for")
def test_the_laws_hold_in_the_schedule_asked_for() -> None:
    play(int(ONE or 0))
