"""The laws of a turn that the core itself carries, each as the dialogues that show it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.turn.effects import AbortDownstream, CloseUpstream, DrainUpstream, Effect, Owe
from sidecar.turn.events import (
    AnswerBegan,
    AnswerEnded,
    CancelRequested,
    Delivered,
    DownstreamGone,
    Event,
    Expired,
    Forwarded,
    IdsLearned,
    Refused,
    Restarted,
    StepDelivered,
    StepDied,
    StepRevived,
    UpstreamLost,
)
from sidecar.turn.machine import step
from sidecar.turn.state import Cause, Plan, State, StepKind, StepState
from tests.unit.turn.playbook import (
    CONFIRM_PLAN,
    PLAN,
    REQUEST_ID,
    TASK_PLAN,
    TELLING_PLAN,
    Playbook,
    after,
    opened,
    reloaded,
)

CANCEL, ROLLBACK, CONFIRM = StepKind.CANCEL, StepKind.ROLLBACK, StepKind.CONFIRM
GONE = DownstreamGone(at=3, cause=Cause.CLOSED)
STOP = CancelRequested(at=9, cause=Cause.REQUESTED)
ID = IdsLearned(at=2, captured={"conversation_id": "c1"})
ENDED = AnswerEnded(at=4)
ABANDONMENTS: tuple[Event, ...] = (GONE, STOP, UpstreamLost(at=3), Expired(at=3), Restarted(at=3))


def owed(turn_and_effects: tuple[object, tuple[Effect, ...]]) -> set[StepKind]:
    """Give the steps that an answer of the machine newly owes."""
    return {effect.kind for effect in turn_and_effects[1] if isinstance(effect, Owe)}


# A turn that goes well


def test_delivered_without_a_confirm_call() -> None:
    playbook = (
        Playbook(opened())
        >> Forwarded(at=1)
        << State.OPEN
        >> ID
        << State.OPEN
        >> ENDED
        << State.ANSWERED
        >> Delivered(at=5)
        << State.COMPLETED
    )
    assert playbook
    assert (playbook.turn.answered_at, playbook.turn.confirmed_at, playbook.turn.settled_at) == (4, 5, 5)


def test_delivered_and_confirmed() -> None:
    assert (
        Playbook(after(opened(plan=CONFIRM_PLAN), Forwarded(at=1), ID, ENDED))
        >> Delivered(at=5)
        << Owe(CONFIRM)
        << State.CONFIRMING
        >> StepDelivered(at=6, kind=CONFIRM)
        << State.COMPLETED
    )


def test_a_dead_confirm_stays_confirming_until_the_operator_has_it_tried_again() -> None:
    assert (
        Playbook(after(opened(plan=CONFIRM_PLAN), Forwarded(at=1), ID, ENDED, Delivered(at=5)))
        >> StepDied(at=6, kind=CONFIRM)
        << State.CONFIRMING
        >> Restarted(at=7)
        << State.CONFIRMING
        >> StepRevived(at=8, kind=CONFIRM)
        << Owe(CONFIRM)
        << State.CONFIRMING
        >> StepDelivered(at=9, kind=CONFIRM)
        << State.COMPLETED
    )


def test_what_was_delivered_is_complete_even_where_no_id_to_confirm_was_ever_told() -> None:
    assert (
        Playbook(after(opened(plan=CONFIRM_PLAN), Forwarded(at=1), ENDED))
        >> Delivered(at=5)
        << State.COMPLETED
    )  # fmt: skip


def test_a_refused_turn_owes_nothing() -> None:
    assert (
        Playbook(after(opened(), Forwarded(at=1)))
        >> Refused(at=2)
        << State.REFUSED
        >> GONE
        << State.REFUSED
        >> STOP
        << State.REFUSED
    )


# Law 3: rolled back only if this turn began it


@pytest.mark.parametrize("event", ABANDONMENTS, ids=lambda event: type(event).__name__)
def test_a_turn_in_an_existing_conversation_is_cancelled_only(event: Event) -> None:
    turn = after(opened(begins=False, plan=CONFIRM_PLAN, conversation_id="c1"), Forwarded(at=1))
    assert owed(step(turn, event)) == {CANCEL}


def test_nothing_is_confirmed_for_a_turn_in_an_existing_conversation() -> None:
    turn = opened(begins=False, plan=CONFIRM_PLAN, conversation_id="c1")
    assert Playbook(after(turn, Forwarded(at=1), ENDED)) >> Delivered(at=5) << State.COMPLETED


@pytest.mark.parametrize("event", ABANDONMENTS[:4], ids=lambda event: type(event).__name__)
def test_nothing_is_owed_for_a_turn_that_the_upstream_never_heard_of(event: Event) -> None:
    turn, effects = step(opened(conversation_id="c1"), event)
    assert effects == (AbortDownstream(), CloseUpstream())
    assert turn.state is State.CANCELLED


def test_a_turn_found_in_the_journal_may_have_been_heard_of() -> None:
    assert owed(step(reloaded(opened(conversation_id="c1")), Restarted(at=3))) == {CANCEL, ROLLBACK}


# Law 4: an id learned late still counts


def test_an_answer_with_nothing_more_to_tell_is_closed_at_once() -> None:
    assert (
        Playbook(after(opened(), Forwarded(at=1), ID))
        >> GONE
        << Owe(CANCEL)
        << Owe(ROLLBACK)
        << AbortDownstream()
        << CloseUpstream()
        << State.CANCELLING
        >> StepDelivered(at=5, kind=CANCEL)
        << State.CANCELLING
        >> StepDelivered(at=6, kind=ROLLBACK)
        << State.CANCELLED
    )


def test_a_missing_id_is_drained_for_and_the_answer_then_closed() -> None:
    assert (
        Playbook(after(opened(), Forwarded(at=1)))
        >> GONE
        << Owe(CANCEL)
        << AbortDownstream()
        << DrainUpstream()
        << State.CANCELLING
        >> StepDelivered(at=4, kind=CANCEL)
        << State.CANCELLING
        >> ID
        << Owe(ROLLBACK)
        << CloseUpstream()
        << State.CANCELLING
        >> StepDelivered(at=6, kind=ROLLBACK)
        << State.CANCELLED
    )


def test_a_rollback_waits_for_a_cancel_whose_id_may_still_be_told() -> None:
    assert (
        Playbook(after(opened(plan=TASK_PLAN), Forwarded(at=1), ID))
        >> GONE
        << AbortDownstream()
        << DrainUpstream()
        << State.CANCELLING
        >> IdsLearned(at=4, captured={"task_id": "k1"})
        << Owe(CANCEL)
        << Owe(ROLLBACK)
        << CloseUpstream()
        << State.CANCELLING
    )


def test_an_answer_that_ends_while_it_is_drained_leaves_nothing_to_cancel() -> None:
    assert (
        Playbook(after(opened(plan=TASK_PLAN), Forwarded(at=1), ID, GONE))
        >> AnswerEnded(at=5, captured={"conversation_id": "c2"})
        << Owe(ROLLBACK)
        << CloseUpstream()
        << State.CANCELLING
        >> StepDelivered(at=6, kind=ROLLBACK)
        << State.CANCELLED
    )


def test_a_drain_that_told_nothing_leaves_the_turn_unresolved() -> None:
    assert (
        Playbook(after(opened(), Forwarded(at=1), GONE))
        >> UpstreamLost(at=4)
        << CloseUpstream()
        << State.CANCELLING
        >> StepDelivered(at=5, kind=CANCEL)
        << State.UNRESOLVED
    )


def test_a_cancel_whose_id_is_never_told_holds_up_no_rollback() -> None:
    assert (
        Playbook(after(opened(plan=TASK_PLAN), Forwarded(at=1), ID, GONE))
        >> UpstreamLost(at=4)
        << Owe(ROLLBACK)
        << CloseUpstream()
        << State.CANCELLING
        >> StepDelivered(at=5, kind=ROLLBACK)
        << State.UNRESOLVED
    )


def test_the_cancel_call_may_tell_the_id_that_a_crash_has_lost() -> None:
    assert (
        Playbook(reloaded(opened(plan=TELLING_PLAN)))
        >> Restarted(at=3)
        << Owe(CANCEL)
        << AbortDownstream()
        << CloseUpstream()
        << State.CANCELLING
        >> StepDelivered(at=4, kind=CANCEL, captured={"conversation_id": "c1"})
        << Owe(ROLLBACK)
        << State.CANCELLING
        >> StepDelivered(at=5, kind=ROLLBACK)
        << State.CANCELLED
    )


@pytest.mark.parametrize(
    "told_nothing", [StepDelivered(at=4, kind=CANCEL), StepDied(at=4, kind=CANCEL)], ids=["delivered", "dead"]
)
def test_a_cancel_call_that_tells_nothing_leaves_the_turn_unresolved(told_nothing: Event) -> None:
    turn = after(reloaded(opened(plan=TELLING_PLAN)), Restarted(at=3), told_nothing)
    assert turn.state is State.UNRESOLVED


@pytest.mark.parametrize("plan", [PLAN, TASK_PLAN], ids=["cancel owed", "cancel still without its id"])
def test_a_refusal_while_draining_leaves_nothing_to_roll_back(plan: Plan) -> None:
    turn = after(opened(plan=plan), Forwarded(at=1), GONE)
    refused, effects = step(turn, Refused(at=4))
    assert effects == (CloseUpstream(),)
    pending = refused.steps.get(CANCEL) is StepState.PENDING
    assert pending == (plan is PLAN)
    assert refused.state is (State.CANCELLING if pending else State.CANCELLED)


def test_a_refusal_while_draining_outlasts_a_crash() -> None:
    turn = reloaded(after(opened(), Forwarded(at=1), GONE, Refused(at=4)))
    assert (
        Playbook(turn)
        >> Restarted(at=5)
        << State.CANCELLING
        >> StepDelivered(at=6, kind=CANCEL)
        << State.CANCELLED
    )  # fmt: skip


@pytest.mark.parametrize("event", [UpstreamLost(at=4), Restarted(at=4)], ids=lambda event: type(event).__name__)
def test_the_first_cause_stays(event: Event) -> None:
    assert after(opened(), Forwarded(at=1), GONE, event).cause is Cause.CLOSED


def test_a_first_answer_is_not_overwritten_before_the_answer_has_ended() -> None:
    turn = after(opened(), Forwarded(at=1), ID, IdsLearned(at=3, captured={"conversation_id": "somebody-elses"}))
    assert turn.conversation_id == "c1"


def test_a_temporary_id_gives_way_at_the_end_and_is_remembered() -> None:
    turn = after(opened(), Forwarded(at=1), ID, AnswerEnded(at=4, captured={"conversation_id": "real"}))
    assert (turn.conversation_id, turn.temp_id) == ("real", "c1")


def test_an_existing_conversation_keeps_its_id_whatever_the_answer_says() -> None:
    turn = opened(begins=False, conversation_id="c1")
    turn = after(turn, Forwarded(at=1), AnswerEnded(at=4, captured={"conversation_id": "another", "message_id": "m1"}))
    assert turn.captured == {"request_id": "req_1", "conversation_id": "c1", "message_id": "m1"}


def test_a_temporary_id_that_we_announced_stays_the_temporary_id() -> None:
    announced = replace(opened(), temp_id="temp_ours")
    turn = after(announced, Forwarded(at=1), ID, AnswerEnded(at=4, captured={"conversation_id": "real"}))
    assert (turn.conversation_id, turn.temp_id) == ("real", "temp_ours")


# Law 5: complete means delivered


@pytest.mark.parametrize("event", [GONE, STOP], ids=["left", "cancelled"])
def test_an_answer_that_was_not_delivered_is_rolled_back_but_there_is_nothing_to_cancel(event: Event) -> None:
    assert (
        Playbook(after(opened(), Forwarded(at=1), ID, ENDED))
        >> event
        << Owe(ROLLBACK)
        << AbortDownstream()
        << CloseUpstream()
        << State.CANCELLING
    )


@pytest.mark.parametrize("event", [Restarted(at=7), Expired(at=7)], ids=["crash", "sweeper"])
def test_what_may_have_been_seen_complete_is_confirmed(event: Event) -> None:
    playbook = (
        Playbook(after(opened(plan=CONFIRM_PLAN), Forwarded(at=1), ID, ENDED))
        >> event
        << Owe(CONFIRM)
        << State.CONFIRMING
    )
    assert playbook
    assert (playbook.turn.confirmed_at, playbook.turn.cause) == (7, None)


def test_an_upstream_that_breaks_off_after_its_answer_changes_nothing() -> None:
    assert (
        Playbook(after(opened(), Forwarded(at=1), ID, ENDED))
        >> UpstreamLost(at=5)
        << State.ANSWERED
        >> Delivered(at=6)
        << State.COMPLETED
    )


def test_leaving_after_delivery_is_no_cancel() -> None:
    completed = after(opened(), Forwarded(at=1), ID, ENDED, Delivered(at=5))
    assert Playbook(completed) >> GONE << State.COMPLETED


# Law 6: twice, late


def test_a_cancel_that_comes_twice_changes_nothing() -> None:
    playbook = Playbook(after(opened(), Forwarded(at=1), ID, GONE)) >> STOP << State.CANCELLING
    assert playbook
    assert playbook.turn.cause is Cause.CLOSED


def test_a_late_cancel_owes_only_the_rollback_and_touches_no_connection() -> None:
    playbook = (
        Playbook(after(opened(), Forwarded(at=1), ID, ENDED, Delivered(at=5)))
        >> STOP
        << Owe(ROLLBACK)
        << State.CANCELLING
        >> StepDelivered(at=10, kind=ROLLBACK)
        << State.CANCELLED
    )
    assert playbook
    assert playbook.turn.confirmed_at is None


def test_a_cancel_while_confirming_lets_the_confirm_end_first() -> None:
    assert (
        Playbook(after(opened(plan=CONFIRM_PLAN), Forwarded(at=1), ID, ENDED, Delivered(at=5)))
        >> STOP
        << Owe(ROLLBACK)
        << State.CANCELLING
        >> StepDelivered(at=10, kind=ROLLBACK)
        << State.CANCELLING
        >> StepDied(at=11, kind=CONFIRM)
        << State.CANCELLED
    )


# Law 2: owed for good


def test_a_dead_step_is_seen_and_can_be_revived() -> None:
    playbook = (
        Playbook(after(opened(), Forwarded(at=1), ID, GONE, StepDelivered(at=4, kind=CANCEL)))
        >> StepDied(at=5, kind=ROLLBACK)
        << State.UNRESOLVED
        >> StepRevived(at=6, kind=ROLLBACK)
        << Owe(ROLLBACK)
        << State.CANCELLING
        >> StepDelivered(at=7, kind=ROLLBACK)
        << State.CANCELLED
    )
    assert playbook
    assert playbook.turn.settled_at == 7


def test_only_a_dead_step_is_revived() -> None:
    assert (
        Playbook(after(opened(), Forwarded(at=1), ID, GONE, StepDied(at=4, kind=CANCEL)))
        >> StepRevived(at=5, kind=ROLLBACK)
        << State.CANCELLING
        >> StepRevived(at=6, kind=CANCEL)
        << Owe(CANCEL)
        << State.CANCELLING
    )


def test_a_confirm_that_nobody_wants_any_more_is_not_revived() -> None:
    confirming = after(opened(plan=CONFIRM_PLAN), Forwarded(at=1), ID, ENDED, Delivered(at=5))
    turn = after(confirming, StepDied(at=6, kind=CONFIRM), STOP, StepDied(at=10, kind=ROLLBACK))
    playbook = Playbook(turn) >> StepRevived(at=11, kind=CONFIRM) << State.UNRESOLVED
    assert playbook
    assert playbook.turn.steps == {CONFIRM: StepState.DEAD, ROLLBACK: StepState.DEAD}


def test_a_step_that_ended_twice_keeps_its_first_end() -> None:
    turn = after(opened(), Forwarded(at=1), ID, GONE, StepDelivered(at=4, kind=CANCEL), StepDied(at=5, kind=CANCEL))
    assert turn.steps[CANCEL] is StepState.DELIVERED


def test_a_restart_owes_nothing_twice() -> None:
    turn = reloaded(after(opened(), Forwarded(at=1), ID, GONE))
    assert Playbook(turn) >> Restarted(at=4) << State.CANCELLING


# A request that never came


def crashed(plan: Plan, **captured: str) -> Playbook:
    """Give the dialogue after a crash that left open whether the upstream ever heard of the turn."""
    turn = reloaded(replace(opened(plan=plan), captured={"request_id": REQUEST_ID, **captured}))
    return Playbook(after(turn, Restarted(at=3)))


def test_no_such_request_says_that_nothing_was_begun_where_the_answer_would_have_told() -> None:
    assert crashed(TELLING_PLAN) >> StepDelivered(at=4, kind=CANCEL, gone=True) << State.CANCELLED


def test_no_such_request_leaves_it_open_where_the_answer_tells_nothing() -> None:
    assert crashed(PLAN) >> StepDelivered(at=4, kind=CANCEL, gone=True) << State.UNRESOLVED


def test_a_known_conversation_is_rolled_back_whatever_the_cancel_found() -> None:
    playbook = crashed(TELLING_PLAN, conversation_id="c1")
    assert playbook >> StepDelivered(at=4, kind=CANCEL, gone=True) << State.CANCELLING
    assert playbook.turn.steps[ROLLBACK] is StepState.PENDING


def test_an_answer_that_began_is_proof_that_it_came() -> None:
    turn = after(opened(plan=TELLING_PLAN), Forwarded(at=1), AnswerBegan(at=2), UpstreamLost(at=3))
    assert Playbook(turn) >> StepDelivered(at=4, kind=CANCEL, gone=True) << State.UNRESOLVED
