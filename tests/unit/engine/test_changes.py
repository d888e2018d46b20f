"""What a step of the machine comes to in the journal: above all, how soon it has to be there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.engine.changes import change_of, haste_of
from sidecar.engine.ports import Change, Haste, StepUpdate
from sidecar.turn.effects import Owe
from sidecar.turn.events import AnswerEnded, Delivered, DownstreamGone, Event, IdsLearned
from sidecar.turn.state import Cause, Plan, State, StepKind, StepState, Turn

TURN = Turn(
    id="t1", route="/chat", principal="p1", begins=True, captured={"request_id": "r1"}, created_at=1.0, plan=Plan()
)
UPDATE = StepUpdate(turn_id="t1", kind=StepKind.CONFIRM, state=StepState.DEAD, attempts=1, due_at=1.0)
PATIENT = [
    (IdsLearned(at=1.0, captured={"conversation_id": "c1"}), Haste.SOON),
    (AnswerEnded(at=1.0), Haste.SOON),
    (Delivered(at=1.0), Haste.LATER),
]


@pytest.mark.parametrize(("event", "haste"), [*PATIENT, (DownstreamGone(at=1.0, cause=Cause.RESET), Haste.AT_ONCE)])
def test_an_event_has_its_haste(event: Event, haste: Haste) -> None:
    assert haste_of(event) is haste
    assert change_of(TURN, (), at=1.0, haste=haste).haste is haste


@pytest.mark.parametrize("haste", [Haste.SOON, Haste.LATER])
@pytest.mark.parametrize("state", [State.CANCELLING, State.CANCELLED, State.UNRESOLVED])
def test_what_is_undone_is_committed_at_once(state: State, haste: Haste) -> None:
    undone = Turn(**{**vars(TURN), "state": state})
    assert change_of(undone, (), at=1.0, haste=haste).haste is Haste.AT_ONCE


@pytest.mark.parametrize("haste", [Haste.SOON, Haste.LATER])
def test_what_is_owed_or_was_tried_is_committed_at_once(haste: Haste) -> None:
    assert change_of(TURN, (Owe(StepKind.CONFIRM, 0.0),), at=1.0, haste=haste).haste is Haste.AT_ONCE
    assert change_of(TURN, (), UPDATE, at=1.0, haste=haste).haste is Haste.AT_ONCE


@pytest.mark.parametrize(
    ("state", "awaits"),
    [(None, True), (StepState.DELIVERED, False), (StepState.PENDING, False), (StepState.DEAD, True)],
)
def test_of_a_call_that_was_made_the_disk_may_be_behind(state: StepState | None, *, awaits: bool) -> None:
    update = None if state is None else replace(UPDATE, state=state)
    assert Change(turn=TURN, update=update, at=1.0).awaits_disk is awaits
    assert Change(turn=TURN, update=update, owed=(StepKind.ROLLBACK,), at=1.0).awaits_disk
