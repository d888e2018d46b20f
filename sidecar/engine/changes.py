"""What a step of the machine comes to in the journal: the turn, what it owes, and how an attempt ended; pure."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.engine.history import ended
from sidecar.engine.ports import Change, Haste, StepUpdate
from sidecar.turn.effects import Effect, Owe
from sidecar.turn.events import AnswerEnded, Delivered, IdsLearned, Refused
from sidecar.turn.state import State, StepKind, StepState, Turn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.engine.history import HistoryEntry
    from sidecar.engine.ports import Lease
    from sidecar.turn.events import Event

OVER: Final = frozenset(StepState) - {StepState.PENDING}
_HASTE: Final[Mapping[type[Event], Haste]] = MappingProxyType(
    {
        IdsLearned: Haste.SOON,
        AnswerEnded: Haste.SOON,
        Delivered: Haste.LATER,
        Refused: Haste.SOON,
    }
)
"""Of changes that owe nothing. A delivery that a crash takes back is found again: what was answered is confirmed."""
_ORDINARY: Final = frozenset(State) - {State.CANCELLING, State.CANCELLED, State.UNRESOLVED}

STILL_THERE: Final = "the upstream still has it, however often it was rolled back"


def change_of(
    turn: Turn,
    owed: Iterable[Effect],
    update: StepUpdate | None = None,
    history: tuple[HistoryEntry, ...] = (),
    *,
    at: float,
    haste: Haste = Haste.AT_ONCE,
    lease: Lease | None = None,
) -> Change:
    """Put together what a step of the machine has to make durable; in no less haste than what is owed allows."""
    owes = owed_of(owed)
    waits_s = {owe.kind: owe.after_s for owe in owes if owe.after_s}
    kinds = tuple(owe.kind for owe in owes)
    if update is not None and _counts_for_nothing(turn, update):
        history, update = (*history, ended(update, at)), None
    taken = update and _as_taken(turn, update)
    hasty = kinds or update or history or turn.state not in _ORDINARY
    haste = Haste.AT_ONCE if hasty else haste
    return Change(
        turn=turn, owed=kinds, after_s=waits_s, update=taken, history=history, lease=lease, at=at, haste=haste
    )


def haste_of(event: Event) -> Haste:
    """Say how soon what an event changes has to be durable, where it owes nothing and undoes nothing."""
    return _HASTE.get(type(event), Haste.AT_ONCE)


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


def first_key(turn: Turn, kind: StepKind) -> str:
    """Give the idempotency key of a step that is owed for the first time; the journal makes those of later rounds."""
    return f"{turn.id}:{kind}"
