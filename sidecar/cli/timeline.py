"""One turn with its whole history: drawn as a timeline for people, and as JSON for programs. Pure: texts come out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sidecar.cli.tables import dump, printable, render, step_object, turn_object
from sidecar.engine.history import Happening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.engine.history import HistoryEntry, TurnHistory
    from sidecar.turn.state import Turn

_FIRST, _ON, _LAST, _OPEN_END = "●", "│", "■", "┊"
_WORDS: Final = {
    Happening.OPENED: "the question was journalled",
    Happening.ANSWER_BEGAN: "the answer began",
    Happening.ANSWERED: "the answer was whole",
    Happening.DELIVERED: "the client had it",
    Happening.CANCELLED: "cancelled",
    Happening.UPSTREAM_CLOSED: "the backend's stream was closed",
    Happening.OWED: "owed",
    Happening.STEP_REVIVED: "to be tried again",
    Happening.ATTEMPT_FAILED: "failed",
    Happening.STEP_DELIVERED: "delivered",
    Happening.STEP_DEAD: "dead",
    Happening.STEP_DROPPED: "given up by the operator",
    Happening.SETTLED: "settled",
}


def timeline(history: TurnHistory) -> str:
    """Draw a turn: what it is, then what happened to it, each with the seconds since it began."""
    rows = [
        (_place(index, history), f"+{entry.at - history.turn.created_at:.3f} s", _text(entry), entry.detail or " ")
        for index, entry in enumerate(history.entries)
    ]
    open_end = "" if history.turn.settled_at is not None else f"{_OPEN_END}\n"
    return f"{_facts(history.turn)}\n{render(None, rows, none='nothing is known of it')}{open_end}"


def history_json(history: TurnHistory) -> str:
    """Give a turn, its steps and its history as a JSON object; times are seconds since the epoch."""
    return dump(
        {
            **turn_object(history.turn),
            "outbox": [step_object(row) for row in history.steps],
            "history": [
                {
                    "at": entry.at,
                    "what": entry.what,
                    "step": entry.step,
                    "attempt": entry.attempt,
                    "detail": entry.detail,
                }
                for entry in history.entries
            ],
        }
    )


def clock_text(at: float) -> str:
    """Write a moment in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def _facts(turn: Turn) -> str:
    lines = "".join(f"{name:<13} {printable(value)}\n" for name, value in _known(turn) if value is not None)
    return f"turn          {turn.id}\n{lines}"


def _known(turn: Turn) -> Iterator[tuple[str, str | None]]:
    yield "state", turn.state if turn.cause is None else f"{turn.state} ({turn.cause})"
    yield "route", turn.route
    yield "began", clock_text(turn.created_at)
    yield "request id", turn.captured.get("request_id")
    yield "conversation", turn.conversation_id and f"{turn.conversation_id}{', begun by it' if turn.begins else ''}"
    yield "temporary id", turn.temp_id
    yield "trace", turn.traceparent
    for name, value in turn.captured.items():
        if name not in {"request_id", "conversation_id"}:
            yield name, value


def _place(index: int, history: TurnHistory) -> str:
    if index == 0:
        return _FIRST
    settled = history.turn.settled_at is not None
    return _LAST if settled and index == len(history.entries) - 1 else _ON


def _text(entry: HistoryEntry) -> str:
    words = _WORDS[entry.what]
    if entry.step is None:
        return words
    return f"{entry.step} {words}" if entry.attempt is None else f"{entry.step} {words} (attempt {entry.attempt})"
