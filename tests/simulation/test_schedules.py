"""Thousands of schedules keep the laws; the seed of one that does not plays it again, to the last event.

SIMULATION_SEED=1234 pytest tests/simulation/test_schedules.py        one schedule
SIMULATION_SCHEDULES=100000 pytest -m "" tests/simulation/test_schedules.py many
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.engine.cancellation import CancelOutcome
from sidecar.turn.state import State, StepKind
from tests.simulation.schedule import ScheduleError, play, report

if TYPE_CHECKING:
    from tests.simulation.laws import Record

SEED: Final = os.environ.get("SIMULATION_SEED")
SCHEDULES: Final = int(os.environ.get("SIMULATION_SCHEDULES", "4000"))
QUICK: Final = 2000
"""As many are played in every run, the others in the long one."""
BLOCK: Final = 250
VARIED: Final = 300

PLAYED: Final = (
    [int(SEED)]
    if SEED
    else [pytest.param(first, marks=pytest.mark.long if first >= QUICK else ()) for first in range(0, SCHEDULES, BLOCK)]
)

blocks = pytest.mark.parametrize("first", PLAYED)


@blocks
def test_every_schedule_keeps_the_laws(first: int) -> None:
    for seed in range(first, first + (1 if SEED else min(BLOCK, SCHEDULES - first))):
        try:
            play(seed)
        except ScheduleError as error:
            pytest.fail(str(error), pytrace=False)


@pytest.mark.parametrize("seed", [7, 703, 3597, 24787])
def test_the_same_seed_is_the_same_schedule(seed: int) -> None:
    assert report(play(seed), seed) == report(play(seed), seed)


def test_the_schedules_are_varied() -> None:
    """A simulation in which nothing goes wrong would keep every law."""
    seen: Counter[object] = Counter()
    for seed in range(VARIED):
        world = play(seed)
        seen["crashes"] += world.life > 1
        seen.update(ask.outcome for ask in world.laws.asks)
        seen.update(row.kind for row in world.journal.rows())
        seen.update(str(what[0]) for _, _, what in world.trace)
        for record in world.laws.records.values():
            seen.update(_marks(record))
    expected = {
        *(State.COMPLETED, State.CANCELLED, State.REFUSED, State.UNRESOLVED),
        *StepKind,
        *CancelOutcome,
        *("crashes", "came back", "late", "kept", "forestalled", "recovered"),
        *("journal trouble", "the clock jumps", "is told to stop", "cannot start", "the operator orders a cancel"),
    }
    assert expected - seen.keys() == set()


def _marks(record: Record) -> list[object]:
    """Name what happened to a turn."""
    turn = record.durable
    undone = turn is not None and turn.state is State.CANCELLED
    marks = {
        "came back": record.comebacks > 0,
        "late": undone and record.was_confirmed,
        "kept": turn is not None and undone and record.visit.begins and not turn.begins,
        "forestalled": record.forestalled,
        "recovered": record.recovered,
    }
    return [turn.state if turn else None, *(mark for mark, is_there in marks.items() if is_there)]
