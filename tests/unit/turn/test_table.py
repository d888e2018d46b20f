"""Both tables are total, and what they name is so."""

from __future__ import annotations

import pytest

from sidecar.errors import BugError
from sidecar.turn import events as turn_events
from sidecar.turn import table
from sidecar.turn.events import (
    AnswerBegan,
    AnswerEnded,
    CancelRequested,
    Delivered,
    DownstreamGone,
    EndedUnseen,
    Event,
    Expired,
    Forwarded,
    IdsLearned,
    Refused,
    Restarted,
    StepDelivered,
    StepDied,
    StepDropped,
    StepRevived,
    UpstreamLost,
)
from sidecar.turn.machine import IllegalEventError, step
from sidecar.turn.state import SETTLED, UNSETTLED, Cause, State, StepKind
from sidecar.turn.table import ON_EVENT, ON_OUTLOOK, Cell, Outlook
from tests.unit.turn.playbook import Playbook, after, opened

EXAMPLES: tuple[Event, ...] = (
    Forwarded(at=2),
    AnswerBegan(at=2),
    IdsLearned(at=2, captured={"conversation_id": "c1"}),
    Refused(at=2),
    AnswerEnded(at=2),
    Delivered(at=2),
    EndedUnseen(at=2),
    DownstreamGone(at=2, cause=Cause.CLOSED),
    CancelRequested(at=2, cause=Cause.REQUESTED),
    UpstreamLost(at=2),
    Expired(at=2),
    Restarted(at=2),
    StepDelivered(at=2, kind=StepKind.CANCEL),
    StepDied(at=2, kind=StepKind.CANCEL),
    StepDropped(at=2, kind=StepKind.CANCEL),
    StepRevived(at=2, kind=StepKind.CANCEL),
)


def test_every_state_has_a_cell_for_every_event() -> None:
    events = {thing for thing in vars(turn_events).values() if isinstance(thing, type) and issubclass(thing, Event)}
    events.remove(Event)
    assert {type(example) for example in EXAMPLES} == events
    assert set(ON_EVENT) == set(State)
    for state, row in ON_EVENT.items():
        assert set(row) == events, f"{state} has blank or unknown cells"
        assert all(isinstance(cell, (State, Cell)) for cell in row.values())


def test_every_row_is_as_wide_as_the_table() -> None:
    assert len(set(table._COLUMNS)) == len(State)
    assert {len(cells) for cells in table._ROWS.values()} == {len(State)}


def test_every_outlook_leads_somewhere() -> None:
    for state, moves in ON_OUTLOOK.items():
        assert state in UNSETTLED
        assert set(moves) == set(Outlook)
        assert moves[Outlook.OWING] is state
        assert moves[Outlook.DONE] in SETTLED


@pytest.mark.parametrize("state", State)
def test_what_is_settled_is_moved_by_nothing_but_a_late_cancel_and_the_operator(state: State) -> None:
    movers = {event for event, cell in ON_EVENT[state].items() if isinstance(cell, State) and cell is not state}
    if state in SETTLED:
        by_steps = {StepRevived, StepDelivered, StepDied, StepDropped}
        allowed = {State.COMPLETED: {CancelRequested}, State.UNRESOLVED: by_steps}
        assert movers == allowed.get(state, set())
    else:
        assert movers or state in ON_OUTLOOK


@pytest.mark.parametrize("state", State)
def test_what_peers_and_people_do_is_never_illegal(state: State) -> None:
    by_others = (AnswerEnded, CancelRequested, DownstreamGone, Expired, IdsLearned, UpstreamLost)
    assert Cell.ILLEGAL not in {ON_EVENT[state][event] for event in by_others}


def test_an_illegal_event_names_itself_and_the_turn() -> None:
    with pytest.raises(
        IllegalEventError, match=r"Delivered cannot happen to a turn that is open \(turn t1\)"
    ) as raised:
        step(opened(), Delivered(at=2))
    assert isinstance(raised.value, BugError)
    assert raised.value.turn.state is State.OPEN
    assert isinstance(raised.value.event, Delivered)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_either_raises_or_is_taken_in(event: Event) -> None:
    turn = opened()
    if ON_EVENT[State.OPEN][type(event)] is Cell.ILLEGAL:
        with pytest.raises(IllegalEventError):
            step(turn, event)
    else:
        assert after(turn, event).id == turn.id


def test_an_ignored_event_changes_nothing() -> None:
    refused = after(opened(), Forwarded(at=1), Refused(at=2))
    playbook = Playbook(refused) >> UpstreamLost(at=3) << State.REFUSED
    assert playbook
    assert playbook.turn is refused
