"""Turns, steps and tombstones to rows and back; pure.

A row may have been edited by hand: a word in it that we do not know is told as such, never guessed at.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from sidecar.engine.changes import first_key
from sidecar.engine.history import Happening, HistoryEntry
from sidecar.engine.ports import Order, OwedStep, StepRow, Tombstone
from sidecar.errors import JournalUnavailableError
from sidecar.turn.state import Cause, Plan, State, StepKind, StepState, Turn

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping
    from enum import StrEnum

    from sidecar.engine.ports import Lease, StepUpdate

Value: TypeAlias = "str | float | bytes | None"
Values: TypeAlias = "Mapping[str, Value]"
Placed: TypeAlias = "tuple[Value, ...]"
"""Values by their places, where there are many, and often."""
Member = TypeVar("Member", bound="StrEnum")

RANK: Final[Mapping[StepKind, int]] = MappingProxyType({kind: rank for rank, kind in enumerate(StepKind)})
_WITH_COLUMN: Final = ("request_id", "conversation_id")
_LEASED: Final = "leased"
NO_STEP: Final = ""
"""Stands in an order that is about the turn as a whole."""
_JSON: Final = json.JSONEncoder(separators=(",", ":"))


def turn_values(turn: Turn) -> Placed:
    """Give a turn's columns, in the order of `put_turn`. Its steps stand in the outbox, its plan in the configuration.

    Raises ValueError for a state that is none: the file's own checks are not asked (see `connection`).
    """
    others = {name: value for name, value in turn.captured.items() if name not in _WITH_COLUMN}
    return (
        turn.id,
        turn.route,
        turn.principal,
        turn.request_id,
        turn.conversation_id,
        turn.temp_id,
        _JSON.encode(others) if others else "{}",
        turn.begins,
        State(turn.state),
        turn.cause,
        turn.created_at,
        turn.answer_began_at,
        turn.answered_at,
        turn.confirmed_at,
        turn.cancelled_at,
        turn.settled_at,
        turn.traceparent,
        turn.owner,
        turn.looks,
        turn.rollbacks,
    )


def owed_values(turn: Turn, kind: StepKind, at: float, due_at: float) -> Values:
    """Give the columns of a step that is owed from `at` on, to be made at `due_at`."""
    return {
        "turn_id": turn.id,
        "owner": turn.owner,
        "kind": kind,
        "rank": RANK[kind],
        "at": at,
        "due_at": due_at,
        "idempotency_key": first_key(turn, kind),
    }


def lease_values(turn_id: str, lease: Lease) -> Values:
    """Give the columns that a lease changes."""
    return {"turn_id": turn_id, "kind": lease.kind, "until": lease.until}


def update_values(update: StepUpdate, at: float) -> Values:
    """Give the columns that an attempt's result changes. Raises ValueError for a state that is none."""
    return {
        "turn_id": update.turn_id,
        "kind": update.kind,
        "rank": RANK[update.kind],
        "state": StepState(update.state),
        "attempts": update.attempts,
        "due_at": update.due_at,
        "error": update.error,
        "at": at,
    }


def history_values(turn_id: str, entry: HistoryEntry) -> Values:
    """Give the columns of what is recorded of a turn."""
    return {
        "turn_id": turn_id,
        "at": entry.at,
        "what": entry.what,
        "step": entry.step,
        "attempt": entry.attempt,
        "detail": entry.detail,
    }


def tombstone_values(tombstone: Tombstone) -> Values:
    """Give a tombstone's columns."""
    return {
        "principal": tombstone.principal,
        "name": tombstone.name,
        "value": tombstone.value,
        "expires_at": tombstone.expires_at,
    }


def read_turn(row: sqlite3.Row, plan_of: Callable[[str], Plan]) -> Turn:
    """Make the turn of a row of `turns_with_steps`. Raises JournalUnavailableError for what cannot be understood."""
    where = f"turn {row['id']!r}"
    known = {name: row[name] for name in _WITH_COLUMN if row[name] is not None}
    return Turn(
        id=row["id"],
        route=row["route"],
        principal=row["principal"],
        begins=bool(row["begins"]),
        captured=MappingProxyType({**_read_captured(row["captured"], where), **known}),
        created_at=row["created_at"],
        plan=plan_of(row["route"]),
        temp_id=row["temp_id"],
        traceparent=row["traceparent"],
        owner=row["owner"],
        looks=row["looks"],
        rollbacks=row["rollbacks"],
        state=_member(State, row["state"], where),
        cause=None if row["cause"] is None else _member(Cause, row["cause"], where),
        answer_began_at=row["answer_began_at"],
        answered_at=row["answered_at"],
        confirmed_at=row["confirmed_at"],
        cancelled_at=row["cancelled_at"],
        settled_at=row["settled_at"],
        steps=_read_steps(row["steps"], where),
    )


def read_owed_step(row: sqlite3.Row, plan_of: Callable[[str], Plan]) -> OwedStep:
    """Make the owed step of a row of `due_steps`. Raises JournalUnavailableError."""
    return OwedStep(
        turn=read_turn(row, plan_of),
        kind=_member(StepKind, row["step_kind"], f"step {row['step_id']}"),
        attempts=row["attempts"],
        idempotency_key=row["idempotency_key"],
    )


def read_step_row(row: sqlite3.Row) -> StepRow:
    """Make the operator's view of a row of the outbox. Raises JournalUnavailableError."""
    return StepRow(
        id=row["id"],
        turn_id=row["turn_id"],
        kind=_member(StepKind, row["kind"], f"step {row['id']}"),
        state=row["state"],
        attempts=row["attempts"],
        due_at=row["due_at"],
        created_at=row["created_at"],
        error=row["error"],
        delivered_at=row["delivered_at"],
    )


def read_history(row: sqlite3.Row) -> HistoryEntry:
    """Make the entry of a row of the history. Raises JournalUnavailableError."""
    where = f"history {row['id']}"
    return HistoryEntry(
        at=row["at"],
        what=_member(Happening, row["what"], where),
        step=None if row["step"] is None else _member(StepKind, row["step"], where),
        attempt=row["attempt"],
        detail=row["detail"],
    )


def read_order(row: sqlite3.Row) -> Order:
    """Make the order of a row. Raises JournalUnavailableError."""
    step = None if row["step"] == NO_STEP else _member(StepKind, row["step"], f"order {row['turn_id']!r}")
    return Order(turn_id=row["turn_id"], step=step, reason=row["reason"], attempts=row["attempts"])


def read_tombstone(row: sqlite3.Row) -> Tombstone:
    """Make the tombstone of a row."""
    return Tombstone(principal=row["principal"], name=row["name"], value=row["value"], expires_at=row["expires_at"])


def _read_steps(text: str | None, where: str) -> Mapping[StepKind, StepState]:
    """Read `kind=state,kind=state`. To the core a leased step is a pending one."""
    pairs = (pair.partition("=") for pair in (text or "").split(",") if pair)
    steps = {
        _member(StepKind, kind, where): (StepState.PENDING if state == _LEASED else _member(StepState, state, where))
        for kind, _, state in pairs
    }
    return MappingProxyType(steps)


def _read_captured(text: str, where: str) -> Mapping[str, str]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise JournalUnavailableError(f"the journal cannot be read: captured values of {where} are no JSON of strings")
    return values


def _member(words: type[Member], text: str, where: str) -> Member:
    try:
        return words(text)
    except ValueError:
        known = ", ".join(words)
        raise JournalUnavailableError(
            f"the journal cannot be read: {text!r} in {where} is no {words.__name__} ({known}); was it edited by hand?"
        ) from None
