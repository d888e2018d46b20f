"""Only this file decides a turn's state, by following the two tables of `table`: `step(turn, event)`.

First the event's cell says where the turn goes; its facts are taken in, and what is owed from then on is owed; then
the outlook moves the turn on when nothing is owed for it any more.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from sidecar.errors import BugError
from sidecar.turn.alter import altered
from sidecar.turn.effects import AbortDownstream, CloseUpstream, DrainUpstream, Effect, Owe
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
from sidecar.turn.state import SETTLED, Cause, State, StepKind, StepState, Turn
from sidecar.turn.table import ON_EVENT, ON_OUTLOOK, Cell, Outlook

if TYPE_CHECKING:
    from collections.abc import Mapping


class IllegalEventError(BugError):
    """An event that cannot happen in the turn's state: a bug of ours."""

    def __init__(self, turn: Turn, event: Event) -> None:
        super().__init__(f"{type(event).__name__} cannot happen to a turn that is {turn.state} (turn {turn.id})")
        self.turn = turn
        self.event = event


def step(turn: Turn, event: Event) -> tuple[Turn, tuple[Effect, ...]]:
    """Take in an event: give the turn as it then is, and what has to be done.

    Raises IllegalEventError where the table says that the event cannot happen.
    """
    target = ON_EVENT[turn.state][type(event)]
    if target is Cell.IGNORED:
        return turn, ()
    if target is Cell.ILLEGAL:
        raise IllegalEventError(turn, event)
    after, owed = _owe(_absorb(_moved(turn, target, event), event))
    after, local = _attend_upstream(turn, after)
    return _settle(after, event.at), (*owed, *local)


def _moved(turn: Turn, target: State, event: Event) -> Turn:
    """Give the turn in its new state. When its undoing began is kept, whatever the operator has tried again since."""
    begins = target is State.CANCELLING and turn.cancelled_at is None
    if target is turn.state and not begins:
        return turn
    return altered(turn, state=target, cancelled_at=event.at if begins else turn.cancelled_at)


def outlook(turn: Turn) -> Outlook:
    """Say what is still to come for the turn."""
    if not turn.steps and not wanted(turn):
        return Outlook.DONE
    if StepState.PENDING in turn.steps.values() or (turn.listening and _untold(turn)):
        return Outlook.OWING
    ends = {turn.steps.get(kind) for kind in wanted(turn)}
    if StepState.DEAD in ends:
        return Outlook.STUCK
    if StepState.DROPPED in ends:
        return Outlook.DROPPED
    return Outlook.UNTOLD if _missing(turn) else Outlook.DONE


def wanted(turn: Turn) -> tuple[StepKind, ...]:
    """Name the admin calls that the turn's state asks for, in their order, whether or not they can be made yet.

    There is nothing to cancel once the answer has ended; only a conversation that this turn began is rolled back or
    confirmed (law 3), in any other the turn's own messages are; nothing at all is owed for a turn that the upstream
    never heard of.
    """
    match turn.state:
        case State.CONFIRMING:
            asked: tuple[tuple[StepKind, bool], ...] = ((StepKind.CONFIRM, turn.begins),)
        case State.CANCELLING:
            asked = _undoing(turn)
        case _:
            return ()
    return tuple(kind for kind, due in asked if due and turn.heard and kind in turn.plan.needs)


def _undoing(turn: Turn) -> tuple[tuple[StepKind, bool], ...]:
    undone = turn.cause not in turn.plan.keeps
    return (
        (StepKind.CANCEL, turn.answered_at is None),
        (StepKind.ROLLBACK, undone and turn.begins),
        (StepKind.ROLLBACK_TURN, undone and not turn.begins),
        (StepKind.VERIFY, undone and turn.begins and StepKind.ROLLBACK in turn.plan.needs),
    )


def _absorb(turn: Turn, event: Event) -> Turn:  # noqa: C901, PLR0911, PLR0912  (a case each)
    """Take the event's facts into the turn's data."""
    match event:
        case Forwarded():
            return altered(turn, heard=True, listening=True)
        case AnswerBegan(at=at):
            return altered(turn, answer_began_at=at)
        case IdsLearned(captured=captured):
            return altered(turn, captured=MappingProxyType({**captured, **turn.captured}))
        case Refused():
            return altered(turn, begins=False, heard=False, listening=False)
        case AnswerEnded(at=at, captured=captured):
            return _give_way(altered(turn, answered_at=at, listening=False), captured)
        case EndedUnseen(at=at, captured=captured):
            ended = altered(turn, answered_at=turn.answered_at or at, confirmed_at=at, listening=False)
            return _give_way(ended, captured)
        case Delivered(at=at):
            return altered(turn, confirmed_at=at)
        case DownstreamGone(cause=cause) | CancelRequested(cause=cause):
            return altered(turn, cause=cause, confirmed_at=None)
        case UpstreamLost():
            return altered(turn, cause=turn.cause or Cause.UPSTREAM_FAILED, listening=False)
        case Expired(at=at) | Restarted(at=at) if turn.state is State.CONFIRMING:
            return altered(turn, confirmed_at=turn.confirmed_at or at, listening=False)
        case Expired():
            return altered(turn, cause=Cause.EXPIRED)
        case Restarted():
            return altered(turn, cause=turn.cause or Cause.RESTARTED, listening=False)
        case StepDelivered():
            return _take_result(turn, event)
        case StepDied(kind=kind):
            return _end_step(turn, kind, StepState.DEAD)
        case StepDropped(kind=kind):
            return _drop_step(turn, kind)
        case StepRevived(kind=kind):
            return _forget_dead_step(turn, kind)
        case _:
            raise BugError(f"{type(event).__name__} is in the table, but nothing takes in its facts")


def _give_way(turn: Turn, captured: Mapping[str, str]) -> Turn:
    """Let what the answer's end told take the place of what was known; a temporary id is still remembered as such.

    Only in a conversation that this turn began: an existing one keeps the id that the request named.
    """
    if not captured:
        return turn
    if not turn.begins:
        captured = {**captured, **turn.captured}
    after = altered(turn, captured=MappingProxyType({**turn.captured, **captured}))
    if turn.temp_id is not None or after.conversation_id == turn.conversation_id:
        return after
    return altered(after, temp_id=turn.conversation_id)


def _take_result(turn: Turn, result: StepDelivered) -> Turn:
    """Take in what a call came to. A result that comes twice (a clock's jump can lease a step twice) counts once."""
    if turn.steps.get(result.kind) is not StepState.PENDING:
        return turn
    turn = altered(turn, captured=MappingProxyType({**result.captured, **turn.captured}))
    if result.kind is StepKind.VERIFY:
        return _look(turn, gone=result.gone)
    if result.kept:
        turn = altered(turn, begins=False)
    elif result.gone and _never_came(turn, result.kind):
        turn = altered(turn, begins=False, heard=False)
    return _with_step(turn, result.kind, StepState.DELIVERED)


def _look(turn: Turn, *, gone: bool) -> Turn:
    """Gone means seen gone (law 7): look as often as planned; what came back is rolled back again."""
    if gone:
        return _with_step(altered(turn, looks=turn.looks + 1), StepKind.VERIFY, StepState.DELIVERED)
    if turn.rollbacks >= turn.plan.rollbacks_max:
        return _with_step(altered(turn, looks=0), StepKind.VERIFY, StepState.DEAD)
    again = altered(turn, looks=0, rollbacks=turn.rollbacks + 1)
    return _without(_with_step(again, StepKind.VERIFY, StepState.DELIVERED), StepKind.ROLLBACK)


def _with_step(turn: Turn, kind: StepKind, state: StepState) -> Turn:
    return altered(turn, steps=MappingProxyType({**turn.steps, kind: state}))


def _end_step(turn: Turn, kind: StepKind, state: StepState) -> Turn:
    """Note how a pending step ended. One that had ended before stays as it was."""
    return _with_step(turn, kind, state) if turn.steps.get(kind) is StepState.PENDING else turn


def _drop_step(turn: Turn, kind: StepKind) -> Turn:
    """Give up a step that was not delivered, for good; what an attempt under way comes to counts for nothing."""
    undelivered = turn.steps.get(kind) in {StepState.PENDING, StepState.DEAD}
    return _with_step(turn, kind, StepState.DROPPED) if undelivered else turn


def _never_came(turn: Turn, kind: StepKind) -> bool:
    """Say whether "no such thing" means that the request never reached the upstream, so that nothing was begun.

    Only an upstream whose answer to a cancel tells ids would have told them, had it known the request. Where a
    rollback can do without being told, it is made all the same.
    """
    untold = not turn.plan.needs.get(StepKind.ROLLBACK, frozenset()) <= turn.captured.keys()
    return kind is StepKind.CANCEL and turn.plan.cancel_tells and untold and turn.answer_began_at is None


def _forget_dead_step(turn: Turn, kind: StepKind) -> Turn:
    """Forget a dead step that is still wanted, so that it is owed anew.

    What was delivered after it was made too soon, and is made again: what is cancelled only now may have been saved
    behind the back of an earlier rollback. But where it is still being looked for, that will be seen.
    """
    if turn.steps.get(kind) is not StepState.DEAD or kind not in wanted(turn):
        return turn
    if kind is StepKind.VERIFY and turn.steps.get(StepKind.ROLLBACK) is not StepState.DELIVERED:
        return turn  # not before there is something to look for
    order = list(StepKind)
    later = [each for each in wanted(turn) if order.index(each) > order.index(kind) and each is not StepKind.VERIFY]
    looking = turn.steps.get(StepKind.VERIFY) is StepState.PENDING
    too_soon = [each for each in later if turn.steps.get(each) is StepState.DELIVERED and not looking]
    return _without(altered(turn, looks=0 if too_soon else turn.looks, rollbacks=0), kind, *too_soon)


def _without(turn: Turn, *kinds: StepKind) -> Turn:
    """Forget steps, so that they are owed anew."""
    kept = {name: state for name, state in turn.steps.items() if name not in kinds}
    return altered(turn, steps=MappingProxyType(kept))


def _missing(turn: Turn) -> tuple[StepKind, ...]:
    return tuple(kind for kind in wanted(turn) if kind not in turn.steps or _unsure(turn, kind))


def _unsure(turn: Turn, kind: StepKind) -> bool:
    """Say whether a look was made and more are planned - by what the journal keeps, so that a reload knows it too."""
    looked = kind is StepKind.VERIFY and turn.steps[kind] is StepState.DELIVERED
    return looked and turn.looks < len(turn.plan.looks_after_s)


def _untold(turn: Turn) -> bool:
    """Say whether a wanted step cannot be made for want of an id."""
    return any(not turn.plan.needs[kind] <= turn.captured.keys() for kind in _missing(turn))


def _owe(turn: Turn) -> tuple[Turn, tuple[Effect, ...]]:
    """Owe each wanted step whose ids are known; one that may still learn its ids holds up those after it.

    There is nothing to look for before the rollback was delivered.
    """
    owed: list[Effect] = []
    for kind in _missing(turn):
        if kind is StepKind.VERIFY and turn.steps.get(StepKind.ROLLBACK) is not StepState.DELIVERED:
            break
        if turn.plan.needs[kind] <= turn.captured.keys():
            turn = _with_step(turn, kind, StepState.PENDING)
            owed.append(Owe(kind, _wait_s(turn) if kind is StepKind.VERIFY else 0.0))
        elif turn.listening:
            break
    return turn, tuple(owed)


def _wait_s(turn: Turn) -> float:
    """Give the seconds from the last look, or from the rollback, to the next one."""
    times = turn.plan.looks_after_s
    return times[turn.looks] - (times[turn.looks - 1] if turn.looks else 0.0)


def _attend_upstream(before: Turn, after: Turn) -> tuple[Turn, tuple[Effect, ...]]:
    """End the relay of a cancelled turn at once, and the upstream's answer as soon as it has no more to tell (law 4).

    A late cancel finds the relay over: downstream's connection may by then serve its next request.
    """
    if after.state is not State.CANCELLING:
        return after, ()
    entered = before.state in {State.OPEN, State.ANSWERED}
    abort: tuple[Effect, ...] = (AbortDownstream(),) if entered else ()
    if after.listening and _untold(after):
        return after, (*abort, DrainUpstream()) if entered else ()
    if entered or before.listening:
        return altered(after, listening=False), (*abort, CloseUpstream())
    return after, ()


def _settle(turn: Turn, at: float) -> Turn:
    moves = ON_OUTLOOK.get(turn.state)
    state = moves[outlook(turn)] if moves else turn.state
    settled_at = at if state in SETTLED else None
    unmoved = state is turn.state and settled_at == turn.settled_at
    return turn if unmoved else altered(turn, state=state, settled_at=settled_at)
