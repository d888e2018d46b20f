"""One turn with its history, as the operator sees it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from sidecar.cli.timeline import _WORDS, clock_text, history_json, timeline
from sidecar.engine.history import Happening, HistoryEntry, history_of
from sidecar.engine.ports import StepRow
from sidecar.turn.state import Cause, Plan, State, StepKind, StepState, Turn

AT: Final = 1_700_000_000.0
TURN: Final = Turn(
    id="turn-1",
    route="/api/ai-coach/chat",
    principal="hash",
    begins=True,
    captured={"request_id": "req_1", "conversation_id": "mobile-1", "user": "some\x1b[31mone"},
    created_at=AT,
    plan=Plan(),
    state=State.UNRESOLVED,
    cause=Cause.CLOSED,
    answer_began_at=AT + 0.25,
    cancelled_at=AT + 1,
    settled_at=AT + 9.5,
    steps={StepKind.ROLLBACK: StepState.DEAD},
)
ROW: Final = StepRow(
    id=7,
    turn_id="turn-1",
    kind=StepKind.ROLLBACK,
    state="dead",
    attempts=2,
    due_at=AT + 9,
    created_at=AT + 1,
    error="no",
)
RECORDED: Final = (
    HistoryEntry(at=AT + 1, what=Happening.UPSTREAM_CLOSED),
    HistoryEntry(at=AT + 2, what=Happening.ATTEMPT_FAILED, step=StepKind.ROLLBACK, attempt=1, detail="answered 500"),
    HistoryEntry(at=AT + 9.5, what=Happening.STEP_DEAD, step=StepKind.ROLLBACK, attempt=2, detail="no"),
)
HISTORY: Final = history_of(TURN, [ROW], RECORDED)


def test_all_that_happened_is_drawn_in_its_order() -> None:
    lines = [" ".join(line.split()) for line in timeline(HISTORY).splitlines()]
    assert lines == [
        "turn turn-1",
        "state unresolved (closed)",
        "route /api/ai-coach/chat",
        "began 2023-11-14 22:13:20.000 UTC",
        "request id req_1",
        "conversation mobile-1, begun by it",
        "user some [31mone",
        "",
        "● +0.000 s the question was journalled",
        "│ +0.250 s the answer began",
        "│ +1.000 s cancelled closed",
        "│ +1.000 s the backend's stream was closed",
        "│ +1.000 s rollback owed",
        "│ +2.000 s rollback failed (attempt 1) answered 500",
        "│ +9.500 s rollback dead (attempt 2) no",
        "■ +9.500 s settled unresolved",
    ]


def test_one_that_goes_on_has_an_open_end() -> None:
    turn = replace(TURN, state=State.OPEN, cause=None, cancelled_at=None, settled_at=None, steps={})
    lines = timeline(history_of(turn, [], [])).splitlines()
    assert lines[-1] == "┊"
    assert lines[-2].startswith("│")


def test_json_has_the_turn_its_steps_and_its_history() -> None:
    told = json.loads(history_json(HISTORY))
    assert (told["id"], told["state"]) == ("turn-1", "unresolved")
    assert told["outbox"][0]["kind"] == "rollback"
    assert [entry["what"] for entry in told["history"]][:2] == ["opened", "answer_began"]
    assert told["history"][-2] == {
        "at": AT + 9.5,
        "what": "step_dead",
        "step": "rollback",
        "attempt": 2,
        "detail": "no",
    }


def test_there_are_words_for_whatever_happens() -> None:
    assert set(_WORDS) == set(Happening)


def test_the_clock_is_that_of_utc() -> None:
    assert clock_text(AT + 0.0129) == "2023-11-14 22:13:20.012 UTC"
