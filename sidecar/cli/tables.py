"""Turns and the outbox as tables for people, and as JSON for programs. Pure: texts come out.

Ids were chosen by strangers, and errors by peers: they are shown as plain text, never as markup or control characters.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sidecar.turn.state import StepKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.engine.ports import StepRow
    from sidecar.turn.state import Turn

WIDTH_OFF_TERMINAL: Final = 16_384  # a row stays a line, for grep and its like
_STYLES: Final = {"dead": "bold red", "unresolved": "bold red", "completed": "green", "delivered": "green"}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def presets_list(presets: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Lay out presets, given as name, what it is for, and sources: a line each."""
    for name, about, _ in presets:
        yield f"{name:<17} {about}\n"


def turns_table(turns: Sequence[Turn], *, now: float) -> str:
    """Lay out turns; ages are told against `now` (seconds since the epoch)."""
    rows = [
        (
            turn.id,
            turn.route,
            turn.state,
            turn.cause,
            turn.captured.get("request_id"),
            turn.conversation_id,
            "yes" if turn.begins else "no",
            duration_text(now - turn.created_at),
            _steps_text(turn),
        )
        for turn in turns
    ]
    heads = ("id", "route", "state", "cause", "request id", "conversation id", "begins", "age", "steps")
    return render(heads, rows, none="no turns")


def turns_json(turns: Sequence[Turn]) -> str:
    """Give turns as a JSON array; times are seconds since the epoch."""
    return dump([turn_object(turn) for turn in turns])


def turn_object(turn: Turn) -> dict[str, object]:
    """Give a turn as it is written in JSON."""
    return {
        "id": turn.id,
        "route": turn.route,
        "state": turn.state,
        "cause": turn.cause,
        "request_id": turn.captured.get("request_id"),
        "conversation_id": turn.conversation_id,
        "begins": turn.begins,
        "created_at": turn.created_at,
        "answered_at": turn.answered_at,
        "confirmed_at": turn.confirmed_at,
        "settled_at": turn.settled_at,
        "steps": dict(turn.steps),
        "looks": turn.looks,
        "rollbacks": turn.rollbacks,
    }


def turn_line(turn: Turn, *, at: str) -> str:
    """Give a turn as it now is in a line, told at a time of the clock."""
    state = turn.state if turn.cause is None else f"{turn.state} ({turn.cause})"
    ids = [turn.captured.get("request_id"), turn.conversation_id]
    words = (at, turn.id, f"{state:<24}", *(one or "-" for one in ids), turn.route, _steps_text(turn))
    return f"{printable('  '.join(words)).rstrip()}\n"


def outbox_table(rows: Sequence[StepRow], *, now: float) -> str:
    """Lay out rows of the outbox; ages are told against `now` (seconds since the epoch)."""
    cells = [
        (
            str(row.id),
            row.turn_id,
            row.kind,
            row.state,
            str(row.attempts),
            _due_text(row, now),
            duration_text(now - row.created_at),
            row.error,
        )
        for row in rows
    ]
    return render(("id", "turn", "step", "state", "attempts", "due", "age", "error"), cells, none="no steps")


def outbox_json(rows: Sequence[StepRow]) -> str:
    """Give rows of the outbox as a JSON array; times are seconds since the epoch."""
    return dump([step_object(row) for row in rows])


def step_object(row: StepRow) -> dict[str, object]:
    """Give a row of the outbox as it is written in JSON."""
    return {
        "id": row.id,
        "turn_id": row.turn_id,
        "kind": row.kind,
        "state": row.state,
        "attempts": row.attempts,
        "due_at": row.due_at,
        "created_at": row.created_at,
        "error": row.error,
    }


def duration_text(seconds: float) -> str:
    """Write a duration in its largest whole unit: 59 s, 3 min, 5 h, 2 d."""
    return next(
        (f"{int(seconds // size)} {unit}" for size, unit in _UNITS if seconds >= size), f"{max(0, seconds):.0f} s"
    )


def _steps_text(turn: Turn) -> str:
    """Name the steps; and what looking for the conversation came to, after its rollback."""
    steps = [f"{kind} {turn.steps[kind]}" for kind in StepKind if kind in turn.steps]
    looks = [f"{count}x {seen}" for count, seen in ((turn.looks, "seen gone"), (turn.rollbacks, "came back")) if count]
    return ", ".join([*steps, *looks])


def _due_text(row: StepRow, now: float) -> str:
    if row.state != "pending":
        return "-"
    return "now" if row.due_at <= now else f"in {duration_text(row.due_at - now)}"


def dump(value: object) -> str:
    """Write JSON for people and programs."""
    return json.dumps(value, indent=2) + "\n"


def render(heads: Sequence[str] | None, rows: Sequence[Sequence[str | None]], *, none: str) -> str:
    """Lay out a table for stdout as it is: a terminal's width and colours, or none of them."""
    if not rows:
        return f"{none}\n"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_header=heads is not None)
    for head in heads or [""] * len(rows[0]):
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OFF_TERMINAL)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def printable(text: str) -> str:
    """Take out what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _cell(value: str | None) -> Text:
    text = printable(value or "-")
    return Text(text, style=_STYLES.get(text, ""))
