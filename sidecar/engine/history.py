"""What happened to a turn, in the order in which it did. Pure.

Most of it the journal knows anyway: a turn's times, its steps. Only what these forget is recorded, in the transaction
of the change that it belongs to. So a turn that is delivered costs no row, and one that is undone a few.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sidecar.turn.effects import CloseUpstream
from sidecar.turn.events import StepRevived
from sidecar.turn.state import StepState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sidecar.engine.ports import Change, StepRow, StepUpdate
    from sidecar.turn.effects import Effect
    from sidecar.turn.events import Event
    from sidecar.turn.state import StepKind, Turn


class Happening(StrEnum):
    """What can be told of a turn. The members' order is that of things that happen at the same moment."""

    OPENED = "opened"
    ANSWER_BEGAN = "answer_began"
    ANSWERED = "answered"
    DELIVERED = "delivered"
    """Downstream has the whole answer."""
    CANCELLED = "cancelled"
    """Its undoing began; `detail` is the cause."""
    UPSTREAM_CLOSED = "upstream_closed"
    OWED = "owed"
    STEP_REVIVED = "step_revived"
    """The operator has it tried again."""
    ATTEMPT_FAILED = "attempt_failed"
    STEP_DELIVERED = "step_delivered"
    STEP_DEAD = "step_dead"
    STEP_DROPPED = "step_dropped"
    """The operator wants it no more; `detail` says why."""
    SETTLED = "settled"
    """`detail` is the state."""


_ORDER: Final = {what: place for place, what in enumerate(Happening)}
_ENDS: Final[Mapping[StepState, Happening]] = {
    StepState.PENDING: Happening.ATTEMPT_FAILED,
    StepState.DELIVERED: Happening.STEP_DELIVERED,
    StepState.DEAD: Happening.STEP_DEAD,
    StepState.DROPPED: Happening.STEP_DROPPED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """Something that happened. `at` is in seconds since the epoch; `step` and `attempt` (from 1) tell of a step."""

    at: float
    what: Happening
    step: StepKind | None = None
    attempt: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnHistory:
    """A turn as it is, the rows of its steps, and all that is known to have happened to it, in order."""

    turn: Turn
    steps: Sequence[StepRow]
    entries: Sequence[HistoryEntry]


def forgotten(before: Turn, after: Turn, event: Event, effects: Iterable[Effect]) -> tuple[HistoryEntry, ...]:
    """Give what an event made happen, and what the turn as it then is does not remember."""
    return tuple(_forgotten(before, after, event, effects))


def _forgotten(before: Turn, after: Turn, event: Event, effects: Iterable[Effect]) -> Iterator[HistoryEntry]:
    if before.confirmed_at is not None and after.confirmed_at is None:  # a late cancel
        yield HistoryEntry(at=before.confirmed_at, what=Happening.DELIVERED)
    if before.heard and any(isinstance(effect, CloseUpstream) for effect in effects):
        yield HistoryEntry(at=event.at, what=Happening.UPSTREAM_CLOSED)
    if isinstance(event, StepRevived) and before.steps.get(event.kind) is StepState.DEAD != after.steps.get(event.kind):
        yield HistoryEntry(at=event.at, what=Happening.STEP_REVIVED, step=event.kind)


def to_record(change: Change) -> tuple[HistoryEntry, ...]:
    """Give what has to be recorded with a change."""
    return change.history if change.update is None else (*change.history, ended(change.update, change.at))


def ended(update: StepUpdate, at: float) -> HistoryEntry:
    """Say what an attempt at a step came to, or that it was dropped."""
    detail = update.error or update.note
    return HistoryEntry(at=at, what=_ENDS[update.state], step=update.kind, attempt=update.attempts, detail=detail)


def history_of(turn: Turn, steps: Sequence[StepRow], recorded: Sequence[HistoryEntry]) -> TurnHistory:
    """Put together what is known of a turn."""
    known = (*_of_turn(turn), *_of_steps(steps), *recorded)
    entries = sorted(known, key=lambda entry: (entry.at, _ORDER[entry.what]))
    return TurnHistory(turn=turn, steps=steps, entries=entries)


def _of_turn(turn: Turn) -> Iterator[HistoryEntry]:
    times = (
        (turn.created_at, Happening.OPENED, None),
        (turn.answer_began_at, Happening.ANSWER_BEGAN, None),
        (turn.answered_at, Happening.ANSWERED, None),
        (turn.confirmed_at, Happening.DELIVERED, None),
        (turn.cancelled_at, Happening.CANCELLED, turn.cause),
        (turn.settled_at, Happening.SETTLED, turn.state),
    )
    for at, what, detail in times:
        if at is not None:
            yield HistoryEntry(at=at, what=what, detail=detail)


def _of_steps(steps: Iterable[StepRow]) -> Iterator[HistoryEntry]:
    for row in steps:
        yield HistoryEntry(at=row.created_at, what=Happening.OWED, step=row.kind)
