"""When a conversation is gone: every combination of what two turns can be to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from sidecar.engine.late_content import is_gone, is_undone, newest
from sidecar.turn.state import Cause, Plan, State, Turn

UNDONE: Final = {State.CANCELLING, State.CANCELLED, State.UNRESOLVED}
CONFIRMED: Final = {State.CONFIRMING, State.COMPLETED}
UNDER_WAY: Final = {State.OPEN, State.ANSWERED}
TURN: Final = Turn(
    id="t1",
    route="/chat",
    principal="p1",
    begins=True,
    captured={"request_id": "r1", "conversation_id": "c1"},
    created_at=1.0,
    cause=Cause.CLOSED,
    plan=Plan(keeps=frozenset({Cause.VANISHED})),
)


def test_of_nobody_is_nothing_gone() -> None:
    assert not is_gone([])


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("cause", [None, *Cause])
@pytest.mark.parametrize("state", State)
def test_only_what_a_turn_began_is_undone_with_it(state: State, cause: Cause | None, *, begins: bool) -> None:
    turn = replace(TURN, state=state, cause=cause, begins=begins)
    assert is_undone(turn) == (state in UNDONE and begins and cause is not Cause.VANISHED)
    assert is_gone([turn]) == is_undone(turn)


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("principal", ["p1", "p2"])
def test_another_turn_keeps_it_that_was_delivered_or_begins_it_anew(
    state: State, principal: str, *, begins: bool
) -> None:
    undone = replace(TURN, state=State.CANCELLED)
    other = replace(TURN, id="t2", state=state, begins=begins, principal=principal)
    keeps = state in CONFIRMED or (begins and state in UNDER_WAY)
    assert is_gone([undone, other]) == is_gone([other, undone]) == (not keeps)


def test_a_turn_is_what_it_is_in_memory() -> None:
    stored = [TURN, replace(TURN, id="t2")]
    live = [replace(TURN, state=State.CANCELLING), replace(TURN, id="t3")]
    assert [(turn.id, turn.state) for turn in newest([*stored, *live])] == [
        ("t1", State.CANCELLING),
        ("t2", State.OPEN),
        ("t3", State.OPEN),
    ]
