"""What a cancelled turn leaves behind: its messages in a conversation that stays, and what a policy wants kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.turn.effects import AbortDownstream, CloseUpstream, DrainUpstream, Owe
from sidecar.turn.events import (
    AnswerEnded,
    CancelRequested,
    Delivered,
    DownstreamGone,
    EndedUnseen,
    Event,
    Forwarded,
    IdsLearned,
    Restarted,
    StepDelivered,
    StepDied,
    UpstreamLost,
)
from sidecar.turn.machine import step
from sidecar.turn.state import Cause, Plan, State, StepKind, Turn
from tests.unit.turn.playbook import (
    CONFIRM_PLAN,
    MESSAGE_PLAN,
    PLAN,
    VERIFY_PLAN,
    Playbook,
    after,
    opened,
    reloaded,
)

CANCEL, ROLLBACK, CONFIRM = StepKind.CANCEL, StepKind.ROLLBACK, StepKind.CONFIRM
ROLLBACK_TURN, VERIFY = StepKind.ROLLBACK_TURN, StepKind.VERIFY
GONE = DownstreamGone(at=3, cause=Cause.CLOSED)
STOP = CancelRequested(at=9, cause=Cause.REQUESTED)
ID = IdsLearned(at=2, captured={"conversation_id": "c1"})
MESSAGE = IdsLearned(at=4, captured={"message_id": "m1"})


def existing(plan: Plan = MESSAGE_PLAN, *events: Event) -> Turn:
    """Give a forwarded turn in an existing conversation, after the events."""
    return after(opened(begins=False, plan=plan, conversation_id="c1"), Forwarded(at=1), *events)


# A turn's own messages in an existing conversation (law 3)


def test_messages_in_an_existing_conversation_are_rolled_back_after_the_cancel() -> None:
    assert (
        Playbook(existing(MESSAGE_PLAN, MESSAGE))
        >> GONE
        << Owe(CANCEL)
        << Owe(ROLLBACK_TURN)
        << AbortDownstream()
        << CloseUpstream()
        << State.CANCELLING
        >> StepDelivered(at=5, kind=CANCEL)
        << State.CANCELLING
        >> StepDelivered(at=6, kind=ROLLBACK_TURN)
        << State.CANCELLED
    )


def test_a_message_whose_id_is_not_told_yet_is_drained_for() -> None:
    assert (
        Playbook(existing())
        >> GONE
        << Owe(CANCEL)
        << AbortDownstream()
        << DrainUpstream()
        << State.CANCELLING
        >> StepDelivered(at=4, kind=CANCEL)
        << State.CANCELLING
        >> MESSAGE
        << Owe(ROLLBACK_TURN)
        << CloseUpstream()
        << State.CANCELLING
        >> StepDelivered(at=6, kind=ROLLBACK_TURN)
        << State.CANCELLED
    )


def test_messages_that_were_never_told_leave_the_turn_unresolved() -> None:
    turn = existing(MESSAGE_PLAN, GONE, StepDelivered(at=4, kind=CANCEL))
    assert Playbook(turn) >> UpstreamLost(at=5) << CloseUpstream() << State.UNRESOLVED


def test_a_new_conversation_is_rolled_back_whole_and_no_message_is_drained_for() -> None:
    assert (
        Playbook(after(opened(plan=MESSAGE_PLAN), Forwarded(at=1), ID))
        >> GONE
        << Owe(CANCEL)
        << Owe(ROLLBACK)
        << AbortDownstream()
        << CloseUpstream()
        << State.CANCELLING
    )


def test_messages_of_an_answer_that_was_not_delivered_are_rolled_back() -> None:
    turn = existing(MESSAGE_PLAN, MESSAGE, AnswerEnded(at=5))
    assert Playbook(turn) >> GONE << Owe(ROLLBACK_TURN) << AbortDownstream() << CloseUpstream() << State.CANCELLING


# A rollback that was not made, because another turn in the conversation was delivered

KEPT = StepDelivered(at=6, kind=ROLLBACK, kept=True)


def abandoned(plan: Plan, *events: Event) -> Turn:
    """Give an abandoned and cancelled turn that had begun its conversation, after the events."""
    return after(
        opened(plan=plan), Forwarded(at=1), ID, MESSAGE, GONE, StepDelivered(at=5, kind=CANCEL), *events
    )  # fmt: skip


@pytest.mark.parametrize("plan", [PLAN, VERIFY_PLAN], ids=["unverified", "verified"])
def test_a_conversation_that_another_turn_was_delivered_in_stays(plan: Plan) -> None:
    playbook = Playbook(abandoned(plan)) >> KEPT << State.CANCELLED
    assert playbook
    assert not playbook.turn.begins


def test_of_a_conversation_that_stays_the_turns_own_messages_go() -> None:
    assert (
        Playbook(abandoned(MESSAGE_PLAN))
        >> KEPT
        << Owe(ROLLBACK_TURN)
        << State.CANCELLING
        >> StepDelivered(at=7, kind=ROLLBACK_TURN)
        << State.CANCELLED
    )


def test_what_came_back_and_was_then_delivered_in_stays() -> None:
    turn = abandoned(VERIFY_PLAN, StepDelivered(at=5, kind=ROLLBACK), StepDelivered(at=6, kind=VERIFY))
    assert Playbook(turn) >> KEPT << State.CANCELLED


# Policy `keep`: the generation is cancelled, and all else stays

KEEPING = replace(
    VERIFY_PLAN, needs={**VERIFY_PLAN.needs, **MESSAGE_PLAN.needs}, keeps=frozenset({Cause.CLOSED, Cause.RESTARTED})
)


@pytest.mark.parametrize(
    "turn",
    [after(opened(plan=KEEPING), Forwarded(at=1), ID), after(opened(plan=KEEPING), Forwarded(at=1)), existing(KEEPING)],
    ids=["new", "new, still without its id", "existing"],
)
def test_a_cause_that_keeps_cancels_only_and_drains_for_nothing(turn: Turn) -> None:
    assert (
        Playbook(turn)
        >> GONE
        << Owe(CANCEL)
        << AbortDownstream()
        << CloseUpstream()
        << State.CANCELLING
        >> StepDelivered(at=4, kind=CANCEL)
        << State.CANCELLED
    )


def test_a_dead_cancel_is_seen_where_all_else_is_kept() -> None:
    turn = after(opened(plan=KEEPING), Forwarded(at=1), ID, GONE)
    assert Playbook(turn) >> StepDied(at=4, kind=CANCEL) << State.UNRESOLVED


def test_a_cause_that_keeps_holds_after_a_reload() -> None:
    turn = reloaded(after(opened(plan=KEEPING), Forwarded(at=1), ID, GONE))
    assert Playbook(turn) >> Restarted(at=5) << State.CANCELLING >> STOP << State.CANCELLING
    assert after(turn, StepDelivered(at=6, kind=CANCEL)).state is State.CANCELLED


def test_another_cause_rolls_back() -> None:
    _, effects = step(after(opened(plan=KEEPING), Forwarded(at=1), ID), STOP)
    assert {effect.kind for effect in effects if isinstance(effect, Owe)} == {CANCEL, ROLLBACK}


def test_an_answer_that_had_ended_leaves_nothing_to_do_where_it_is_kept() -> None:
    turn = after(opened(plan=KEEPING), Forwarded(at=1), ID, AnswerEnded(at=2))
    assert Playbook(turn) >> GONE << AbortDownstream() << CloseUpstream() << State.CANCELLED


# Policy `complete`, and grace: the answer ends unseen


@pytest.mark.parametrize("told", [(), (AnswerEnded(at=4),)], ids=["open", "answered"])
def test_an_answer_that_ended_unseen_is_confirmed(told: tuple[Event, ...]) -> None:
    playbook = (
        Playbook(after(opened(plan=CONFIRM_PLAN), Forwarded(at=1), ID, *told))
        >> EndedUnseen(at=5)
        << Owe(CONFIRM)
        << State.CONFIRMING
        >> StepDelivered(at=6, kind=CONFIRM)
        << State.COMPLETED
    )
    assert playbook
    turn = playbook.turn
    assert (turn.cause, turn.answered_at, turn.confirmed_at) == (None, 4 if told else 5, 5)


def test_what_an_unseen_end_tells_is_taken_in() -> None:
    ended = EndedUnseen(at=5, captured={"conversation_id": "real"})
    turn = after(opened(plan=CONFIRM_PLAN), Forwarded(at=1), ID, ended)
    assert (turn.conversation_id, turn.temp_id) == ("real", "c1")


def test_a_cancel_undoes_what_ended_unseen() -> None:
    turn = after(opened(), Forwarded(at=1), ID, EndedUnseen(at=5))
    assert turn.state is State.COMPLETED
    assert Playbook(turn) >> STOP << Owe(ROLLBACK) << State.CANCELLING


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (UpstreamLost(at=5), State.CANCELLING),
        (Restarted(at=5), State.CANCELLING),
        (STOP, State.CANCELLING),
    ],
    ids=["upstream lost", "crash", "cancel"],
)
def test_what_does_not_end_is_cancelled_whoever_was_to_come_back(event: Event, state: State) -> None:
    turn = after(opened(), Forwarded(at=1), ID)
    assert after(turn, event).state is state


@pytest.mark.parametrize("events", [(GONE,), (AnswerEnded(at=3), Delivered(at=4))], ids=["cancelled", "delivered"])
def test_an_unseen_end_changes_nothing_any_more(events: tuple[Event, ...]) -> None:
    turn = after(opened(), Forwarded(at=1), ID, *events)
    playbook = Playbook(turn) >> EndedUnseen(at=8) << turn.state
    assert playbook
    assert playbook.turn is turn
