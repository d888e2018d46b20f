"""Only this file decides a turn's state, and it does so by two literal tables.

`ON_EVENT` is total: every state has a cell for every event. A cell is the state to go to, `IGNORED` (the fact changes
nothing any more), or `ILLEGAL` (our own bug, which raises; nothing that a peer does can reach it). `ON_OUTLOOK` is
followed right after: it moves a turn on when nothing is owed for it any more. The diagram in docs/ is made from both.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.errors import BugError
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
from sidecar.turn.state import SETTLED, Cause, State, StepKind, StepState, Turn

if TYPE_CHECKING:
    from collections.abc import Mapping


class Cell(Enum):
    """A cell of the table that names no state."""

    IGNORED = auto()
    ILLEGAL = auto()


class Outlook(Enum):
    """What is still to come for a turn that is on its way to being settled."""

    OWING = auto()
    """A step is pending, or an id may still be told."""
    DONE = auto()
    """Every step was delivered."""
    STUCK = auto()
    """A step is dead: the operator may have it tried again."""
    UNTOLD = auto()
    """A step needs an id that nobody will tell any more."""


_IGN, _ILL = Cell.IGNORED, Cell.ILLEGAL
_OPEN, _ANSWERED, _CANCELLING, _CONFIRMING = State.OPEN, State.ANSWERED, State.CANCELLING, State.CONFIRMING

# fmt: off
_COLUMNS: Final[tuple[State, ...]] = (
                      State.OPEN,   State.ANSWERED, State.CANCELLING, State.CONFIRMING, State.COMPLETED, State.CANCELLED, State.REFUSED, State.UNRESOLVED)  # noqa: E501
_ROWS: Final[Mapping[type[Event], tuple[State | Cell, ...]]] = MappingProxyType({
    Forwarded:       (_OPEN,        _ILL,           _ILL,             _ILL,             _ILL,            _ILL,            _ILL,          _ILL),          # noqa: E501
    AnswerBegan:     (_OPEN,        _ILL,           _CANCELLING,      _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    IdsLearned:      (_OPEN,        _ANSWERED,      _CANCELLING,      _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    Refused:         (State.REFUSED, _ILL,          _CANCELLING,      _ILL,             _ILL,            _IGN,            _ILL,          _IGN),          # noqa: E501
    AnswerEnded:     (_ANSWERED,    _IGN,           _CANCELLING,      _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    Delivered:       (_ILL,         _CONFIRMING,    _IGN,             _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    DownstreamGone:  (_CANCELLING,  _CANCELLING,    _IGN,             _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    CancelRequested: (_CANCELLING,  _CANCELLING,    _IGN,             _CANCELLING,      _CANCELLING,     _IGN,            _IGN,          _IGN),          # noqa: E501
    UpstreamLost:    (_CANCELLING,  _IGN,           _CANCELLING,      _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    Expired:         (_CANCELLING,  _CONFIRMING,    _IGN,             _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    Restarted:       (_CANCELLING,  _CONFIRMING,    _CANCELLING,      _CONFIRMING,      _ILL,            _ILL,            _ILL,          _ILL),          # noqa: E501
    StepDelivered:   (_ILL,         _ILL,           _CANCELLING,      _CONFIRMING,      _IGN,            _IGN,            _ILL,          _CANCELLING),   # noqa: E501
    StepDied:        (_ILL,         _ILL,           _CANCELLING,      _CONFIRMING,      _IGN,            _IGN,            _ILL,          _CANCELLING),   # noqa: E501
    StepRevived:     (_ILL,         _ILL,           _CANCELLING,      _CONFIRMING,      _IGN,            _IGN,            _ILL,          _CANCELLING),   # noqa: E501
})
# fmt: on

ON_EVENT: Final[Mapping[State, Mapping[type[Event], State | Cell]]] = MappingProxyType(
    {
        state: MappingProxyType({event: cells[column] for event, cells in _ROWS.items()})
        for column, state in enumerate(_COLUMNS)
    }
)

ON_OUTLOOK: Final[Mapping[State, Mapping[Outlook, State]]] = MappingProxyType(
    {
        State.CANCELLING: MappingProxyType(
            {
                Outlook.OWING: State.CANCELLING,
                Outlook.DONE: State.CANCELLED,
                Outlook.STUCK: State.UNRESOLVED,
                Outlook.UNTOLD: State.UNRESOLVED,
            }
        ),
        State.CONFIRMING: MappingProxyType(
            {
                Outlook.OWING: State.CONFIRMING,
                Outlook.DONE: State.COMPLETED,
                Outlook.STUCK: State.CONFIRMING,
                Outlook.UNTOLD: State.COMPLETED,
            }
        ),
    }
)


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
    after = _absorb(replace(turn, state=target), event)
    after, owed = _owe(after)
    after, local = _attend_upstream(turn, after)
    return _settle(after, event.at), (*owed, *local)


def outlook(turn: Turn) -> Outlook:
    """Say what is still to come for the turn."""
    missing = _missing(turn)
    if StepState.PENDING in turn.steps.values() or (missing and turn.listening):
        return Outlook.OWING
    if StepState.DEAD in (turn.steps.get(kind) for kind in wanted(turn)):
        return Outlook.STUCK
    return Outlook.UNTOLD if missing else Outlook.DONE


def wanted(turn: Turn) -> tuple[StepKind, ...]:
    """Name the admin calls that the turn's state asks for, in their order, whether or not they can be made yet.

    There is nothing to cancel once the answer has ended; only a conversation that this turn began is rolled back or
    confirmed (law 3); nothing at all is owed for a turn that the upstream never heard of.
    """
    asked = {
        State.CANCELLING: ((StepKind.CANCEL, turn.answered_at is None), (StepKind.ROLLBACK, turn.begins)),
        State.CONFIRMING: ((StepKind.CONFIRM, turn.begins),),
    }.get(turn.state, ())
    return tuple(kind for kind, due in asked if due and turn.heard and kind in turn.plan.needs)


def _absorb(turn: Turn, event: Event) -> Turn:  # noqa: C901, PLR0911, PLR0912  (a case each)
    """Take the event's facts into the turn's data."""
    match event:
        case Forwarded():
            return replace(turn, heard=True, listening=True)
        case AnswerBegan(at=at):
            return replace(turn, answer_began_at=at)
        case IdsLearned(captured=captured):
            return replace(turn, captured=MappingProxyType({**captured, **turn.captured}))
        case Refused():
            return replace(turn, begins=False, heard=False, listening=False)
        case AnswerEnded(at=at, captured=captured):
            return _give_way(replace(turn, answered_at=at, listening=False), captured)
        case Delivered(at=at):
            return replace(turn, confirmed_at=at)
        case DownstreamGone(cause=cause) | CancelRequested(cause=cause):
            return replace(turn, cause=cause, confirmed_at=None)
        case UpstreamLost():
            return replace(turn, cause=turn.cause or Cause.UPSTREAM_FAILED, listening=False)
        case Expired(at=at) | Restarted(at=at) if turn.state is State.CONFIRMING:
            return replace(turn, confirmed_at=turn.confirmed_at or at, listening=False)
        case Expired():
            return replace(turn, cause=Cause.EXPIRED)
        case Restarted():
            return replace(turn, cause=turn.cause or Cause.RESTARTED, listening=False)
        case StepDelivered(kind=kind, captured=captured, gone=gone):
            ids = MappingProxyType({**captured, **turn.captured})
            begins = turn.begins and not (gone and _never_came(turn, kind))
            return _end_step(replace(turn, captured=ids, begins=begins), kind, StepState.DELIVERED)
        case StepDied(kind=kind):
            return _end_step(turn, kind, StepState.DEAD)
        case StepRevived(kind=kind):
            return _forget_dead_step(turn, kind)
        case _:
            raise BugError(f"{type(event).__name__} is in the table, but nothing takes in its facts")


def _give_way(turn: Turn, captured: Mapping[str, str]) -> Turn:
    """Let what the answer's end told take the place of what was known; a temporary id is still remembered as such.

    Only in a conversation that this turn began: an existing one keeps the id that the request named.
    """
    if not turn.begins:
        captured = {**captured, **turn.captured}
    after = replace(turn, captured=MappingProxyType({**turn.captured, **captured}))
    if turn.temp_id is not None or after.conversation_id == turn.conversation_id:
        return after
    return replace(after, temp_id=turn.conversation_id)


def _with_step(turn: Turn, kind: StepKind, state: StepState) -> Turn:
    return replace(turn, steps=MappingProxyType({**turn.steps, kind: state}))


def _end_step(turn: Turn, kind: StepKind, state: StepState) -> Turn:
    """Note how a pending step ended. One that had ended before (a clock's jump can lease it twice) stays as it was."""
    return _with_step(turn, kind, state) if turn.steps.get(kind) is StepState.PENDING else turn


def _never_came(turn: Turn, kind: StepKind) -> bool:
    """Say whether "no such thing" means that the request never reached the upstream, so that nothing was begun.

    Only an upstream whose answer to a cancel tells ids would have told them, had it known the request. Where a
    rollback can do without being told, it is made all the same.
    """
    untold = not turn.plan.needs.get(StepKind.ROLLBACK, frozenset()) <= turn.captured.keys()
    return kind is StepKind.CANCEL and turn.plan.cancel_tells and untold and turn.answer_began_at is None


def _forget_dead_step(turn: Turn, kind: StepKind) -> Turn:
    """Forget a dead step that is still wanted, so that it is owed anew."""
    if turn.steps.get(kind) is not StepState.DEAD or kind not in wanted(turn):
        return turn
    return replace(turn, steps=MappingProxyType({name: state for name, state in turn.steps.items() if name != kind}))


def _missing(turn: Turn) -> tuple[StepKind, ...]:
    return tuple(kind for kind in wanted(turn) if kind not in turn.steps)


def _owe(turn: Turn) -> tuple[Turn, tuple[Effect, ...]]:
    """Owe each wanted step whose ids are known; one that may still learn its ids holds up those after it."""
    owed: list[Effect] = []
    for kind in _missing(turn):
        if turn.plan.needs[kind] <= turn.captured.keys():
            turn = _with_step(turn, kind, StepState.PENDING)
            owed.append(Owe(kind))
        elif turn.listening:
            break
    return turn, tuple(owed)


def _attend_upstream(before: Turn, after: Turn) -> tuple[Turn, tuple[Effect, ...]]:
    """End the relay of a cancelled turn at once, and the upstream's answer as soon as it has no more to tell (law 4).

    A late cancel finds the relay over: downstream's connection may by then serve its next request.
    """
    if after.state is not State.CANCELLING:
        return after, ()
    entered = before.state in {State.OPEN, State.ANSWERED}
    abort: tuple[Effect, ...] = (AbortDownstream(),) if entered else ()
    if after.listening and _missing(after):
        return after, (*abort, DrainUpstream()) if entered else ()
    if entered or before.listening:
        return replace(after, listening=False), (*abort, CloseUpstream())
    return after, ()


def _settle(turn: Turn, at: float) -> Turn:
    moves = ON_OUTLOOK.get(turn.state)
    settled = replace(turn, state=moves[outlook(turn)]) if moves else turn
    return replace(settled, settled_at=at if settled.state in SETTLED else None)
