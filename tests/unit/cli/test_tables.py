"""Turns and the outbox as the operator sees them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

import pytest

from sidecar.cli import tables
from sidecar.engine.ports import StepRow
from sidecar.turn.state import Cause, Plan, State, StepKind, StepState, Turn

NOW: Final = 10_000.0
TURN: Final = Turn(
    id="turn-1",
    route="/api/ai-coach/chat",
    principal="secret-hash",
    begins=True,
    captured={"request_id": "req_1", "conversation_id": "mobile-1", "user": "someone"},
    created_at=NOW - 125,
    plan=Plan(),
    state=State.UNRESOLVED,
    cause=Cause.CLOSED,
    settled_at=NOW - 5,
    steps={StepKind.CANCEL: StepState.DELIVERED, StepKind.ROLLBACK: StepState.DEAD},
)
ROW: Final = StepRow(
    id=7,
    turn_id="turn-1",
    kind=StepKind.ROLLBACK,
    state="pending",
    attempts=3,
    due_at=NOW + 90,
    created_at=NOW - 7200,
    error="answered 500",
)


def test_a_turn_is_a_line() -> None:
    _, _, line = tables.turns_table([TURN], now=NOW).splitlines()
    assert " ".join(line.split()) == (
        "turn-1 /api/ai-coach/chat unresolved closed req_1 mobile-1 yes 2 min cancel delivered, rollback dead"
    )


def test_a_turn_says_what_was_seen_of_its_conversation() -> None:
    steps = dict.fromkeys((StepKind.VERIFY, StepKind.ROLLBACK), StepState.PENDING)
    line = tables.turns_table([replace(TURN, steps=steps, looks=2, rollbacks=1)], now=NOW).splitlines()[-1]
    assert line.rstrip().endswith("rollback pending, verify pending, 2x seen gone, 1x came back")


def test_what_a_turn_has_not_is_a_dash() -> None:
    bare = replace(TURN, captured={}, cause=None, begins=False, steps={})
    _, _, line = tables.turns_table([bare], now=NOW).splitlines()
    assert line.split() == ["turn-1", "/api/ai-coach/chat", "unresolved", "-", "-", "-", "no", "2", "min", "-"]


def test_a_step_is_a_line() -> None:
    heads, _, line = tables.outbox_table([ROW], now=NOW).splitlines()
    assert heads.split() == ["id", "turn", "step", "state", "attempts", "due", "age", "error"]
    assert " ".join(line.split()) == "7 turn-1 rollback pending 3 in 1 min 2 h answered 500"


@pytest.mark.parametrize(
    ("state", "due_at", "text"),
    [("pending", NOW, "now"), ("pending", NOW + 1, "in 1 s"), ("dead", NOW + 1, "-"), ("leased", NOW + 1, "-")],
)
def test_when_a_step_falls_due(state: str, due_at: float, text: str) -> None:
    row = replace(ROW, state=state, due_at=due_at, error=None, attempts=0)
    _, _, line = tables.outbox_table([row], now=NOW).splitlines()
    assert " ".join(line.split()) == f"7 turn-1 rollback {state} 0 {text} 2 h -"


def test_where_there_is_nothing_it_says_so() -> None:
    assert tables.turns_table([], now=NOW) == "no turns\n"
    assert tables.outbox_table([], now=NOW) == "no steps\n"
    assert json.loads(tables.turns_json([])) == json.loads(tables.outbox_json([])) == []


@pytest.mark.parametrize("hostile", ["[red]x[/red]", "[/]", "x\x1b[2Jy", "x\ny", ":boom:"])
def test_what_strangers_chose_is_plain_text(hostile: str) -> None:
    text = tables.outbox_table([replace(ROW, error=hostile)], now=NOW)
    assert len(text.splitlines()) == 3
    assert "".join(char if char.isprintable() else " " for char in hostile) in text
    assert "\x1b" not in text


def test_long_ids_stay_whole() -> None:
    assert "x" * 512 in tables.turns_table([replace(TURN, id="x" * 512)], now=NOW)


def test_turns_as_json() -> None:
    assert json.loads(tables.turns_json([TURN])) == [
        {
            "id": "turn-1",
            "route": "/api/ai-coach/chat",
            "state": "unresolved",
            "cause": "closed",
            "request_id": "req_1",
            "conversation_id": "mobile-1",
            "begins": True,
            "created_at": NOW - 125,
            "answered_at": None,
            "confirmed_at": None,
            "settled_at": NOW - 5,
            "steps": {"cancel": "delivered", "rollback": "dead"},
            "looks": 0,
            "rollbacks": 0,
        }
    ]


def test_the_outbox_as_json() -> None:
    assert json.loads(tables.outbox_json([ROW])) == [
        {
            "id": 7,
            "turn_id": "turn-1",
            "kind": "rollback",
            "state": "pending",
            "attempts": 3,
            "due_at": NOW + 90,
            "created_at": NOW - 7200,
            "error": "answered 500",
        }
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86_400 * 9, "9 d")],
)
def test_durations(seconds: float, text: str) -> None:
    assert tables.duration_text(seconds) == text
