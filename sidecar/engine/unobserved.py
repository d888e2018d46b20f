"""A TurnObserver for when nobody counts: beside a running sidecar, and in the engine's own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.engine.ports import TurnObserver
    from sidecar.turn.state import StepKind, StepState, Turn


class Unobserved:
    """Takes no note of anything."""

    def turn_opened(self, turn: Turn) -> None:
        """Do nothing."""

    def turn_moved(self, before: Turn, after: Turn) -> None:
        """Do nothing."""

    def upstream_closed(self, turn: Turn, *, at: float) -> None:
        """Do nothing."""

    def step_ended(self, turn: Turn, kind: StepKind, state: StepState, *, at: float) -> None:
        """Do nothing."""


UNOBSERVED: Final[TurnObserver] = Unobserved()
