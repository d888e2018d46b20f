"""What a step of the machine comes to in the journal: the turn, what it owes, and how an attempt ended; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.engine.history import ended
from sidecar.engine.ports import Change, StepUpdate
from sidecar.turn.effects import Effect, Owe
from sidecar.turn.state import StepState, Turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.engine.history import HistoryEntry

OVER: Final = frozenset(StepState) - {StepState.PENDING}
STILL_THERE: Final = "the upstream still has it, however often it was rolled back"


def change_of(
    turn: Turn,
    owed: Iterable[Effect],
    update: StepUpdate | None = None,
    history: tuple[HistoryEntry, ...] = (),
    *,
    at: float,
) -> Change:
    """Put together what a step of the machine has to make durable."""
    owes = owed_of(owed)
    waits_s = {owe.kind: owe.after_s for owe in owes if owe.after_s}
    kinds = tuple(owe.kind for owe in owes)
    if update is not None and _counts_for_nothing(turn, update):
        history, update = (*history, ended(update, at)), None
    taken = update and _as_taken(turn, update)
    return Change(turn=turn, owed=kinds, after_s=waits_s, update=taken, history=history, at=at)


def _counts_for_nothing(turn: Turn, update: StepUpdate) -> bool:
    """Say whether an attempt was still under way when its step was dropped, or a drop came after the step's end."""
    return (turn.steps.get(update.kind) is StepState.DROPPED) is not (update.state is StepState.DROPPED)


def _as_taken(turn: Turn, update: StepUpdate) -> StepUpdate:
    """Give the update as the machine took it: it alone says how a step ended.

    A look that finds a conversation once too often is dead (law 7), though the call was made.
    """
    state = turn.steps.get(update.kind)
    if state not in OVER or state is update.state:
        return update
    return replace(update, state=state, error=STILL_THERE if state is StepState.DEAD else None)


def owed_of(effects: Iterable[Effect]) -> tuple[Owe, ...]:
    """Give the steps that effects make owed."""
    return tuple(effect for effect in effects if isinstance(effect, Owe))
