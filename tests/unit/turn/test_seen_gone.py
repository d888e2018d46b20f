"""Law 7: gone means seen gone. It is looked for at every planned time, and what came back is rolled back again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.turn.effects import Owe
from sidecar.turn.events import (
    DownstreamGone,
    Event,
    Forwarded,
    IdsLearned,
    Restarted,
    StepDelivered,
    StepDied,
    StepRevived,
)
from sidecar.turn.state import Cause, Plan, State, StepKind, StepState, Turn
from tests.unit.turn.playbook import VERIFY_PLAN, Playbook, after, opened, reloaded

CANCEL, ROLLBACK, VERIFY = StepKind.CANCEL, StepKind.ROLLBACK, StepKind.VERIFY
GONE = DownstreamGone(at=3, cause=Cause.CLOSED)
ID = IdsLearned(at=2, captured={"conversation_id": "c1"})
CANCELLED = StepDelivered(at=4, kind=CANCEL)
ROLLED_BACK = StepDelivered(at=5, kind=ROLLBACK)
SEEN_GONE = StepDelivered(at=6, kind=VERIFY, gone=True)
CAME_BACK = StepDelivered(at=6, kind=VERIFY)
LOOKS = len(VERIFY_PLAN.looks_after_s)


def abandoned(*events: Event, plan: Plan = VERIFY_PLAN) -> Turn:
    """Give a turn that was abandoned and cancelled, after the events."""
    return after(opened(plan=plan), Forwarded(at=1), ID, GONE, CANCELLED, *events)


def test_a_turn_is_cancelled_only_when_it_was_seen_gone_at_every_look() -> None:
    playbook = (
        Playbook(abandoned())
        >> ROLLED_BACK
        << Owe(VERIFY)
        << State.CANCELLING
        >> SEEN_GONE
        << Owe(VERIFY, after_s=2.0)
        << State.CANCELLING
        >> SEEN_GONE
        << Owe(VERIFY, after_s=8.0)
        << State.CANCELLING
        >> replace(SEEN_GONE, at=16)
        << State.CANCELLED
    )
    assert playbook
    assert (playbook.turn.looks, playbook.turn.rollbacks, playbook.turn.settled_at) == (LOOKS, 0, 16)


def test_nothing_is_looked_for_before_the_rollback_was_delivered() -> None:
    assert (
        Playbook(after(opened(plan=VERIFY_PLAN), Forwarded(at=1), ID, GONE))
        >> CANCELLED
        << State.CANCELLING
        >> StepDied(at=5, kind=ROLLBACK)
        << State.UNRESOLVED
        >> StepRevived(at=6, kind=ROLLBACK)
        << Owe(ROLLBACK)
        << State.CANCELLING
        >> ROLLED_BACK
        << Owe(VERIFY)
        << State.CANCELLING
    )


def test_what_came_back_is_rolled_back_again_and_looked_for_from_the_start() -> None:
    playbook = (
        Playbook(abandoned(ROLLED_BACK, SEEN_GONE))
        >> CAME_BACK
        << Owe(ROLLBACK)
        << State.CANCELLING
        >> ROLLED_BACK
        << Owe(VERIFY)
        << State.CANCELLING
        >> SEEN_GONE
        << Owe(VERIFY, after_s=2.0)
        << State.CANCELLING
    )
    assert playbook
    assert (playbook.turn.looks, playbook.turn.rollbacks) == (1, 1)


TOO_OFTEN = (ROLLED_BACK, CAME_BACK, ROLLED_BACK, CAME_BACK, ROLLED_BACK)


def test_what_will_not_go_leaves_the_turn_unresolved() -> None:
    playbook = Playbook(abandoned(*TOO_OFTEN)) >> CAME_BACK << State.UNRESOLVED
    assert playbook
    assert playbook.turn.steps[VERIFY] is StepState.DEAD
    assert playbook.turn.rollbacks == VERIFY_PLAN.rollbacks_max


def test_the_operator_may_have_it_looked_for_again_and_rolled_back_as_often_as_before() -> None:
    playbook = (
        Playbook(abandoned(*TOO_OFTEN, SEEN_GONE, CAME_BACK))
        >> StepRevived(at=20, kind=VERIFY)
        << Owe(VERIFY)
        << State.CANCELLING
        >> CAME_BACK
        << Owe(ROLLBACK)
        << State.CANCELLING
        >> ROLLED_BACK
        << Owe(VERIFY)
        << State.CANCELLING
    )
    assert playbook
    assert (playbook.turn.looks, playbook.turn.rollbacks) == (0, 1)


def test_a_look_that_could_not_be_made_is_taken_up_where_it_was() -> None:
    playbook = (
        Playbook(abandoned(ROLLED_BACK, SEEN_GONE))
        >> StepDied(at=8, kind=VERIFY)
        << State.UNRESOLVED
        >> StepRevived(at=9, kind=VERIFY)
        << Owe(VERIFY, after_s=2.0)
        << State.CANCELLING
        >> SEEN_GONE
        << Owe(VERIFY, after_s=8.0)
        << State.CANCELLING
        >> SEEN_GONE
        << State.CANCELLED
    )
    assert playbook


@pytest.mark.parametrize("looked", range(LOOKS))
def test_a_reload_between_any_two_steps_forgets_no_look(looked: int) -> None:
    turn = abandoned(ROLLED_BACK, *[SEEN_GONE] * looked, CAME_BACK)
    for event in (Restarted(at=7), ROLLED_BACK, *[SEEN_GONE] * LOOKS):
        assert turn.state is State.CANCELLING
        turn = after(reloaded(turn), event)
    assert turn.state is State.CANCELLED


def test_every_step_that_ended_is_still_known() -> None:
    """The journal's outbox forgets no step, so neither may the turn: it must be the same when it is loaded."""
    turn = abandoned(ROLLED_BACK)
    for event in (SEEN_GONE, CAME_BACK, ROLLED_BACK, CAME_BACK, ROLLED_BACK, CAME_BACK):
        known = turn.steps.keys()
        turn = after(turn, event)
        assert turn.steps.keys() >= known


def test_a_single_look_is_enough_where_no_later_one_is_planned() -> None:
    plan = replace(VERIFY_PLAN, looks_after_s=(0.0,))
    assert Playbook(abandoned(ROLLED_BACK, plan=plan)) >> SEEN_GONE << State.CANCELLED


def test_without_a_rollback_call_there_is_nothing_to_look_for() -> None:
    plan = Plan(needs={kind: ids for kind, ids in VERIFY_PLAN.needs.items() if kind is not ROLLBACK})
    turn = after(opened(plan=plan), Forwarded(at=1), ID, GONE)
    assert Playbook(turn) >> CANCELLED << State.CANCELLED


def test_an_existing_conversation_is_not_looked_for() -> None:
    turn = after(opened(begins=False, plan=VERIFY_PLAN, conversation_id="c1"), Forwarded(at=1), GONE)
    assert Playbook(turn) >> CANCELLED << State.CANCELLED
