"""Walks every order of events of every length: all that drivers, peers and people can bring about, for every plan.

`World` is a turn together with what the machine does not know but its surroundings do: how far the upstream's answer
has come, and which connections there still are. `may_happen` is the model of those surroundings: it gives the events
that can legally be fed. Worlds that are alike are visited once, so the walk ends, having seen them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

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
from sidecar.turn.machine import step, wanted
from sidecar.turn.state import SETTLED, Cause, Plan, State, StepKind, StepState, Turn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Key = tuple[object, ...]

AT: Final = 2.0
CAPTURED: Final = ({"conversation_id": "temp"}, {"task_id": "k1"})
WORLDS_MAX: Final = 20_000


class Answer(Enum):
    """How far the upstream's answer has come."""

    UNASKED = auto()
    AWAITED = auto()
    BEGUN = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class World:
    """A turn and its surroundings. `here` is false once the sidecar was restarted; `closes` counts CloseUpstream."""

    turn: Turn
    answer: Answer = Answer.UNASKED
    here: bool = True
    drains: int = 0
    closes: int = 0

    @property
    def key(self) -> Key:
        """Give what tells this world from others."""
        turn = self.turn
        data = (turn.state, turn.cause, turn.begins, turn.heard, turn.listening, turn.temp_id, turn.answered_at)
        mappings = (tuple(sorted(turn.captured.items())), tuple(sorted(turn.steps.items())))
        return (*data, *mappings, turn.confirmed_at, self.answer, self.here, self.drains, self.closes)


def may_happen(world: World) -> Iterator[Event]:
    """Give every event that can be fed next."""
    yield Expired(at=AT)
    yield CancelRequested(at=AT, cause=Cause.REQUESTED)
    if world.turn.state not in SETTLED:
        yield Restarted(at=AT)
    for kind in world.turn.steps:
        yield from (StepDelivered(at=AT, kind=kind), StepDied(at=AT, kind=kind), StepRevived(at=AT, kind=kind))
    if world.turn.plan.cancel_tells and StepKind.CANCEL in world.turn.steps:
        yield StepDelivered(at=AT, kind=StepKind.CANCEL, captured=CAPTURED[0])
    if world.here:
        yield from _may_be_seen_by_the_exchange(world)


def _may_be_seen_by_the_exchange(world: World) -> Iterator[Event]:
    yield DownstreamGone(at=AT, cause=Cause.CLOSED)
    yield UpstreamLost(at=AT)
    if world.turn.state is State.OPEN and world.answer in {Answer.UNASKED, Answer.AWAITED}:
        yield Forwarded(at=AT)
    if world.answer is Answer.AWAITED:
        yield Refused(at=AT)
        yield AnswerBegan(at=AT)
    if world.answer in {Answer.AWAITED, Answer.BEGUN}:
        yield from (IdsLearned(at=AT, captured=captured) for captured in CAPTURED)
        yield AnswerEnded(at=AT)
        yield AnswerEnded(at=AT, captured={"conversation_id": "final"})
    if world.turn.answered_at is not None:
        yield Delivered(at=AT)


def happens(world: World, event: Event) -> tuple[World, tuple[Effect, ...]]:
    """Give the world after the event, and what the machine wanted done."""
    restarted = isinstance(event, Restarted)
    before = replace(world.turn, heard=True, listening=False) if restarted else world.turn
    turn, effects = step(before, event)
    closes = effects.count(CloseUpstream())
    return World(
        turn=turn,
        answer=Answer.OVER if closes else _answer_after(world.answer, event),
        here=world.here and not restarted,
        drains=effects.count(DrainUpstream()) + (0 if restarted else world.drains),
        closes=closes + (0 if restarted else world.closes),
    ), effects


def _answer_after(answer: Answer, event: Event) -> Answer:
    match event:
        case Forwarded():
            return Answer.AWAITED
        case AnswerBegan() | IdsLearned() if answer is Answer.AWAITED:
            return Answer.BEGUN
        case Refused() | AnswerEnded() | UpstreamLost() | Restarted():
            return Answer.OVER
        case _:
            return answer


def starts() -> Iterator[Turn]:
    """Give a turn for each plan, in a new and in an existing conversation, its id known and unknown."""
    cancels = (None, frozenset({"request_id"}), frozenset({"task_id"}))
    conversation = (None, frozenset({"conversation_id"}))
    for cancel, rollback, confirm, tells in product(cancels, conversation, conversation, (False, True)):
        named = {StepKind.CANCEL: cancel, StepKind.ROLLBACK: rollback, StepKind.CONFIRM: confirm}
        plan = Plan(needs={kind: ids for kind, ids in named.items() if ids is not None}, cancel_tells=tells)
        yield _turn(plan, begins=True)
        yield _turn(plan, begins=True, conversation_id="chosen")
        yield _turn(plan, begins=False, conversation_id="chosen")


def _turn(plan: Plan, *, begins: bool, **captured: str) -> Turn:
    ids = MappingProxyType({"request_id": "r1", **captured})
    return Turn(
        id="t1", route="/chat", principal="p", begins=begins, captured=ids, created_at=1.0, plan=plan, heard=False
    )


def walk(start: World) -> Iterator[tuple[World, Event, World, tuple[Effect, ...]]]:
    """Give every step between any two worlds that can be reached."""
    seen, waiting = {start.key}, [start]
    while waiting:
        world = waiting.pop()
        for event in may_happen(world):
            after, effects = happens(world, event)
            yield world, event, after, effects
            if after.key not in seen:
                seen.add(after.key)
                waiting.append(after)
        assert len(seen) < WORLDS_MAX, "the walk was expected to end"


def _name(turn: Turn) -> str:
    needs = "+".join(f"{kind}({','.join(ids)})" for kind, ids in turn.plan.needs.items()) or "no calls"
    conversation = ("new" if turn.begins else "existing") + (" named" if turn.conversation_id else "")
    return f"{conversation}, {needs}{', cancel tells' if turn.plan.cancel_tells else ''}"


STARTS: Final = list(starts())


@pytest.mark.parametrize("turn", STARTS, ids=_name)
def test_every_order_of_events_keeps_the_laws(turn: Turn) -> None:
    steps = 0
    for before, event, after, effects in walk(World(turn)):
        where = f"{before} + {event} -> {after} {effects}"
        check_owed(before, event, after, effects, where)
        check_connections(before, event, after, effects, where)
        check_answered(before.turn, event, after.turn, where)
        check_ids(before.turn, event, after.turn, where)
        check_settled(after.turn, where)
        steps += 1
    assert steps > 100


def check_owed(before: World, event: Event, after: World, effects: tuple[Effect, ...], where: str) -> None:
    """Check that a step is owed once, to whom it may be owed, and never for what was seen complete."""
    kinds = [effect.kind for effect in effects if isinstance(effect, Owe)]
    assert kinds == sorted(kinds, key=list(StepKind).index), where
    for kind in kinds:
        revived = isinstance(event, StepRevived) and before.turn.steps.get(kind) is StepState.DEAD
        assert revived or kind not in before.turn.steps, where
        assert after.turn.steps[kind] is StepState.PENDING, where
        assert before.answer is not Answer.UNASKED or not after.here, where
        assert before.turn.plan.needs[kind] <= after.turn.captured.keys(), where
        assert kind is StepKind.CANCEL or before.turn.begins, where
    if before.turn.answered_at is not None:
        assert revived_or_not_owed(StepKind.CANCEL, event, kinds), where
    if StepKind.ROLLBACK in kinds and StepKind.CANCEL in wanted(after.turn):
        assert StepKind.CANCEL in after.turn.steps or after.answer is Answer.OVER, where
    if not after.turn.listening:
        askable = {kind for kind in wanted(after.turn) if after.turn.plan.needs[kind] <= after.turn.captured.keys()}
        assert askable <= after.turn.steps.keys(), where
    for kind, state in before.turn.steps.items():
        assert state is not StepState.DELIVERED or after.turn.steps[kind] is state, where


def revived_or_not_owed(kind: StepKind, event: Event, kinds: list[StepKind]) -> bool:
    """Say whether a kind of step is owed at most because the operator asked for it."""
    return kind not in kinds or isinstance(event, StepRevived)


def check_answered(before: Turn, event: Event, after: Turn, where: str) -> None:
    """Check law 5: what may have been seen complete is undone only for someone who left or asked."""
    if before.state is State.ANSWERED and not isinstance(event, (DownstreamGone, CancelRequested)):
        assert after.state in {State.ANSWERED, State.CONFIRMING, State.COMPLETED}, where


def check_connections(before: World, event: Event, after: World, effects: tuple[Effect, ...], where: str) -> None:
    """Check law 4: a relay is ended once; the upstream's answer is drained only for an id, and closed exactly once."""
    assert after.closes <= 1, where
    assert after.drains <= 1, where
    assert (AbortDownstream() in effects) <= (before.turn.state in {State.OPEN, State.ANSWERED}), where
    if DrainUpstream() in effects:
        assert after.turn.listening, where
        assert CloseUpstream() not in effects, where
        wanting = after.turn.plan.needs.keys() - after.turn.steps.keys()
        assert any(not after.turn.plan.needs[kind] <= after.turn.captured.keys() for kind in wanting), where
    if before.turn.listening and not after.turn.listening and after.turn.cause is not None and after.here:
        assert after.closes == 1, where
    if CloseUpstream() in effects:
        assert not after.turn.listening, where
        over = isinstance(event, (UpstreamLost, AnswerEnded, Refused, Restarted)) or not before.turn.listening
        assert over or set(wanted(after.turn)) <= after.turn.steps.keys(), where


def check_ids(before: Turn, event: Event, after: Turn, where: str) -> None:
    """Check that what was captured is never lost; only the answer's end lets an id give way."""
    assert before.captured.keys() <= after.captured.keys(), where
    for name, value in before.captured.items():
        if after.captured[name] != value:
            assert isinstance(event, AnswerEnded), where
            assert after.temp_id == value, where


def check_settled(turn: Turn, where: str) -> None:
    """Check that each state means what it says."""
    pending = [kind for kind, state in turn.steps.items() if state is StepState.PENDING]
    assert (turn.settled_at is not None) == (turn.state in SETTLED), where
    match turn.state:
        case State.OPEN | State.ANSWERED | State.REFUSED:
            assert not turn.steps, where
        case State.COMPLETED:
            assert turn.confirmed_at is not None, where
            assert not pending, where
        case State.CANCELLED:
            assert turn.cause is not None, where
            assert turn.confirmed_at is None, where
            assert not pending, where
            rolled_back = turn.steps.get(StepKind.ROLLBACK) is StepState.DELIVERED
            assert rolled_back or not (turn.begins and turn.heard and StepKind.ROLLBACK in turn.plan.needs), where
        case State.UNRESOLVED:
            assert not pending, where
            assert StepState.DEAD in turn.steps.values() or turn.plan.needs.keys() - turn.steps.keys(), where
        case State.CONFIRMING:
            assert turn.begins, where
            assert turn.steps.keys() == {StepKind.CONFIRM}, where
        case State.CANCELLING:
            assert pending or turn.listening, where


@pytest.mark.parametrize("turn", STARTS, ids=_name)
def test_every_turn_can_be_settled(turn: Turn) -> None:
    """From every world: once connections are over and every owed step was delivered, the turn is settled."""
    worlds = {after.key: after for _, _, after, _ in walk(World(turn))}
    for world in worlds.values():
        settled = _play_out(world)
        assert settled.turn.state in SETTLED, f"{world} ends as {settled}"
        dead = StepState.DEAD in world.turn.steps.values()
        if not dead and settled.turn.state is State.UNRESOLVED:
            missing = settled.turn.plan.needs.keys() - settled.turn.steps.keys()
            assert missing, f"{world} ends as {settled}"


def _play_out(world: World) -> World:
    """Let everything under way come to its end: the exchange first, then the dispatcher."""
    for _ in range(10):
        event = next(iter(_endings(world)), None)
        if event is None:
            return world
        world, _ = happens(world, event)
    raise AssertionError(f"{world} finds no end")


def _endings(world: World) -> Iterable[Event]:
    turn = world.turn
    if turn.state is State.OPEN or (turn.state is State.CANCELLING and turn.listening):
        yield UpstreamLost(at=AT)
    if turn.state is State.ANSWERED:
        yield Delivered(at=AT)
    for kind, state in sorted(turn.steps.items()):
        if state is StepState.PENDING:
            yield StepDelivered(at=AT, kind=kind)
        if state is StepState.DEAD and turn.state is State.CONFIRMING:
            yield StepRevived(at=AT, kind=kind)
