"""The simulation would notice: each law, broken on purpose in the real code, breaks a schedule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.engine import dispatcher, driver, recovery
from sidecar.engine.cancellation import CancelDesk
from sidecar.engine.driver import Driver
from sidecar.engine.tombstones import Tombstones
from sidecar.turn import machine
from sidecar.turn.events import Restarted, StepDelivered
from sidecar.turn.state import State, StepKind
from tests.simulation.schedule import ScheduleError, play

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.turn.effects import Effect
    from sidecar.turn.events import Event
    from sidecar.turn.state import Turn

SEEDS: Final = 400


def _journal_first(patch: pytest.MonkeyPatch) -> None:
    async def open_unwritten(_: Driver, __: object) -> None:
        """Let the turn go upstream without being durable."""

    patch.setattr(Driver, "open", open_unwritten)


def _owed_for_good(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dispatcher, "retry_delay_s", lambda *_, **__: 1e9)


def _only_what_it_began(patch: pytest.MonkeyPatch) -> None:
    wanted = machine.wanted
    patch.setattr(machine, "wanted", lambda turn: wanted(replace(turn, begins=True)))


def _answered_is_confirmed(patch: pytest.MonkeyPatch) -> None:
    step = machine.step

    def cancel_what_was_answered(turn: Turn, event: Event) -> tuple[Turn, tuple[Effect, ...]]:
        if isinstance(event, Restarted) and turn.state is State.ANSWERED:
            turn = replace(turn, state=State.OPEN, answered_at=None)
        return step(turn, event)

    patch.setattr(recovery, "step", cancel_what_was_answered)


def _first_cancels_are_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tombstones, "forestall", lambda *_: False)


def _late_is_too_late(patch: pytest.MonkeyPatch) -> None:
    async def always(*_: object) -> bool:
        return True

    patch.setattr(CancelDesk, "_may_undo", always)


def _gone_is_seen_gone(patch: pytest.MonkeyPatch) -> None:
    step = machine.step

    def believe(turn: Turn, event: Event) -> tuple[Turn, tuple[Effect, ...]]:
        if isinstance(event, StepDelivered) and event.kind is StepKind.VERIFY:
            event = replace(event, gone=True)
        return step(turn, event)

    patch.setattr(driver, "step", believe)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "broken",
    [
        _journal_first,
        _owed_for_good,
        _only_what_it_began,
        _answered_is_confirmed,
        _first_cancels_are_kept,
        _late_is_too_late,
        _gone_is_seen_gone,
    ],
)
def test_a_broken_law_breaks_a_schedule(
    broken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    with pytest.raises(ScheduleError):
        _play_all()


def _play_all() -> None:
    for seed in range(SEEDS):
        play(seed)
