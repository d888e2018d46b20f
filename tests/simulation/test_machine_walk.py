"""Walks every order of events of every length: all that drivers, peers and people can bring about, for every plan.

`World` is a turn together with what the machine does not know but its surroundings do: how far the upstream's answer
has come, which connections there still are, and what stands in the outbox. `may_happen` is the model of those
surroundings: it gives the events that can legally be fed. Worlds that are alike are visited once, so the walk ends,
having seen them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.engine.changes import change_of
from sidecar.engine.ports import StepUpdate
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
from sidecar.turn.machine import step, wanted
from sidecar.turn.state import SETTLED, Cause, Plan, State, StepKind, StepState, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Key = tuple[object, ...]
    Outbox = Mapping[StepKind, StepState]
    Step = tuple["World", Event, "World", tuple[Effect, ...]]
    Where = Callable[[], str]

AT: Final = 2.0
CAPTURED: Final = ({"conversation_id": "temp"}, {"task_id": "k1"}, {"message_id": "m1"})
LOOKS_AFTER_S: Final = (0.0, 2.0)
ROLLBACKS_MAX: Final = 1
KEPT: Final = StepDelivered(at=AT, kind=StepKind.ROLLBACK, kept=True)
KEEPS: Final = frozenset({Cause.CLOSED})
NOTHING_OWED: Final[Outbox] = MappingProxyType({})
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
    outbox: Outbox = field(default_factory=lambda: NOTHING_OWED)
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
        counts = (turn.looks, turn.rollbacks, self.drains, self.closes)
        return (*data, *mappings, *counts, turn.confirmed_at, self.answer, self.here)


def may_happen(world: World) -> Iterator[Event]:
    """Give every event that can be fed next."""
    yield Expired(at=AT)
    yield CancelRequested(at=AT, cause=Cause.REQUESTED)
    if world.turn.state not in SETTLED:
        yield Restarted(at=AT)
    for kind in world.turn.steps:
        yield from (StepDelivered(at=AT, kind=kind), StepDied(at=AT, kind=kind))
        yield StepRevived(at=AT, kind=kind)
        if StepState.DROPPED not in world.turn.steps.values():  # one is like another, and worlds are many
            yield StepDropped(at=AT, kind=kind)
    if StepKind.ROLLBACK in world.turn.steps:
        yield KEPT
    if StepKind.VERIFY in world.turn.steps:
        yield StepDelivered(at=AT, kind=StepKind.VERIFY, gone=True)
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
        yield from (IdsLearned(at=AT, captured=captured) for captured in _tellable(world.turn))
        if world.turn.state is State.OPEN:
            yield EndedUnseen(at=AT)
            yield EndedUnseen(at=AT, captured={"conversation_id": "final"})
        yield AnswerEnded(at=AT)
        yield AnswerEnded(at=AT, captured={"conversation_id": "final"})
    if world.turn.answered_at is not None:
        yield from (Delivered(at=AT), EndedUnseen(at=AT))


def _tellable(turn: Turn) -> Iterator[Mapping[str, str]]:
    """Give what the answer may tell: the conversation, and whatever a call needs."""
    needed = frozenset[str]().union(*turn.plan.needs.values())
    return (captured for captured in CAPTURED if captured is CAPTURED[0] or captured.keys() <= needed)


def happens(world: World, event: Event) -> tuple[World, tuple[Effect, ...]]:
    """Give the world after the event, and what the machine wanted done."""
    restarted = isinstance(event, Restarted)
    before = replace(world.turn, heard=True, listening=False) if restarted else world.turn
    turn, effects = step(before, event)
    closes = effects.count(CloseUpstream())
    return World(
        turn=turn,
        outbox=_outbox_after(world.outbox, turn, event, effects),
        answer=Answer.OVER if closes else _answer_after(world.answer, event),
        here=world.here and not restarted,
        drains=effects.count(DrainUpstream()) + (0 if restarted else world.drains),
        closes=closes + (0 if restarted else world.closes),
    ), effects


def _outbox_after(outbox: Outbox, turn: Turn, event: Event, effects: tuple[Effect, ...]) -> Outbox:
    """Give the outbox as the driver and the journal leave it."""
    update = _update(turn, event)
    if not update and not effects:
        return outbox
    change = change_of(turn, effects, update, at=AT)
    ended = {change.update.kind: change.update.state} if change.update else {}
    return MappingProxyType({**outbox, **ended, **dict.fromkeys(change.owed, StepState.PENDING)})


def _update(turn: Turn, event: Event) -> StepUpdate | None:
    """Give what the dispatcher notes of a step that has ended."""
    match event:
        case StepDelivered(kind=kind):
            state = StepState.DELIVERED
        case StepDied(kind=kind):
            state = StepState.DEAD
        case StepDropped(kind=kind):
            state = StepState.DROPPED
        case _:
            return None
    return StepUpdate(turn_id=turn.id, kind=kind, state=state, attempts=1, due_at=AT)


def _answer_after(answer: Answer, event: Event) -> Answer:
    match event:
        case Forwarded():
            return Answer.AWAITED
        case AnswerBegan() | IdsLearned() if answer is Answer.AWAITED:
            return Answer.BEGUN
        case Refused() | AnswerEnded() | EndedUnseen() | UpstreamLost() | Restarted():
            return Answer.OVER
        case _:
            return answer


CONVERSATION: Final = frozenset({"conversation_id"})
CANCELS: Final = (None, frozenset({"request_id"}), frozenset({"task_id"}))


def starts() -> Iterator[Turn]:
    """Give a turn for each plan, in a new and in an existing conversation, its id known and unknown."""
    for plan in (*plans(), *plans_that_look_back()):
        yield _turn(plan, begins=True)
        yield _turn(plan, begins=True, conversation_id="chosen")
        yield _turn(plan, begins=False, conversation_id="chosen")


def plans() -> Iterator[Plan]:
    """Give every combination of the calls that settle a turn in one go."""
    conversation = (None, CONVERSATION)
    for cancel, rollback, confirm, tells in product(CANCELS, conversation, conversation, (False, True)):
        if not tells or (cancel and rollback):
            yield _plan({StepKind.CANCEL: cancel, StepKind.ROLLBACK: rollback, StepKind.CONFIRM: confirm}, tells=tells)


def plans_that_look_back() -> Iterator[Plan]:
    """Give combinations of looks after the rollback, the rollback of a turn's own messages, and a cause that keeps."""
    look = {StepKind.VERIFY: CONVERSATION}
    own = {StepKind.ROLLBACK_TURN: frozenset({"conversation_id", "message_id"})}
    for cancel, more in product(CANCELS, (look, own)):
        yield _plan({StepKind.CANCEL: cancel, StepKind.ROLLBACK: CONVERSATION, **more})
    yield _plan({StepKind.ROLLBACK: CONVERSATION, **look, **own})
    yield _plan({StepKind.CANCEL: CANCELS[1], StepKind.ROLLBACK: CONVERSATION, **own}, keeps=True)
    yield _plan({StepKind.CANCEL: CANCELS[1], StepKind.ROLLBACK: CONVERSATION, **look}, keeps=True)


def _plan(named: Mapping[StepKind, frozenset[str] | None], *, tells: bool = False, keeps: bool = False) -> Plan:
    return Plan(
        needs={kind: ids for kind, ids in named.items() if ids is not None},
        cancel_tells=tells,
        keeps=KEEPS if keeps else frozenset(),
        looks_after_s=LOOKS_AFTER_S,
        rollbacks_max=ROLLBACKS_MAX,
    )


def _turn(plan: Plan, *, begins: bool, **captured: str) -> Turn:
    ids = MappingProxyType({"request_id": "r1", **captured})
    return Turn(
        id="t1", route="/chat", principal="p", begins=begins, captured=ids, created_at=1.0, plan=plan, heard=False
    )


def walk(start: World) -> Iterator[Step]:
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
    needs = "+".join(f"{kind}({','.join(sorted(ids))})" for kind, ids in turn.plan.needs.items()) or "no calls"
    conversation = ("new" if turn.begins else "existing") + (" named" if turn.conversation_id else "")
    more = (", cancel tells" if turn.plan.cancel_tells else "") + (", keeps" if turn.plan.keeps else "")
    return f"{conversation}, {needs}{more}"


STARTS: Final = list(starts())


@pytest.fixture(scope="module", params=STARTS, ids=_name)
def steps(request: pytest.FixtureRequest) -> list[Step]:
    """Walk once for all tests; of every start in turn."""
    return list(walk(World(request.param)))


def test_every_order_of_events_keeps_the_laws(steps: list[Step]) -> None:
    assert len(steps) > 100
    for taken in steps:
        before, event, after, effects = taken
        where = partial("{0[0]} + {0[1]} -> {0[2]} {0[3]}".format, taken)
        check_owed(before, event, after, effects, where)
        check_kept_by_the_outbox(after, where)
        check_looks(before.turn, event, after.turn, where)
        check_connections(before, event, after, effects, where)
        check_answered(before.turn, event, after.turn, where)
        check_ids(before.turn, event, after.turn, where)
        check_settled(after.turn, where)


def check_owed(before: World, event: Event, after: World, effects: tuple[Effect, ...], where: Where) -> None:
    """Check that a step is owed once, to whom it may be owed, and never for what was seen complete."""
    kinds = [effect.kind for effect in effects if isinstance(effect, Owe)]
    assert kinds == sorted(kinds, key=list(StepKind).index), where()
    for kind in kinds:
        assert kind not in before.turn.steps or may_be_owed_again(kind, before.turn, event), where()
        assert after.turn.steps[kind] is StepState.PENDING, where()
        assert before.answer is not Answer.UNASKED or not after.here, where()
        assert before.turn.plan.needs[kind] <= after.turn.captured.keys(), where()
        check_law_3(kind, before.turn, after.turn, where)
    if event == KEPT and before.turn.steps.get(StepKind.ROLLBACK) is StepState.PENDING:
        assert not after.turn.begins, where()
    if before.turn.answered_at is not None:
        assert revived_or_not_owed(StepKind.CANCEL, event, kinds), where()
    if {StepKind.ROLLBACK, StepKind.ROLLBACK_TURN}.intersection(kinds) and StepKind.CANCEL in wanted(after.turn):
        assert StepKind.CANCEL in after.turn.steps or after.answer is Answer.OVER, where()
    if not after.turn.listening:
        askable = {kind for kind in wanted(after.turn) if after.turn.plan.needs[kind] <= after.turn.captured.keys()}
        assert askable - {StepKind.VERIFY} <= after.turn.steps.keys(), where()
    for kind, state in before.turn.steps.items():
        again = kind in kinds and may_be_owed_again(kind, before.turn, event)
        final = state in {StepState.DELIVERED, StepState.DROPPED}
        assert not final or after.turn.steps[kind] is state or again, where()
        assert state is not StepState.DROPPED or not again, where()


def may_be_owed_again(kind: StepKind, before: Turn, event: Event) -> bool:
    """Say whether a step that was owed before may be owed anew: by the operator, with those after it, or by law 7."""
    match event:
        case StepRevived(kind=revived):
            too_soon = list(StepKind).index(kind) > list(StepKind).index(revived)
            return before.steps.get(kind) is StepState.DEAD or (too_soon and before.steps[revived] is StepState.DEAD)
        case StepDelivered(kind=StepKind.VERIFY, gone=gone):
            return kind is (StepKind.VERIFY if gone else StepKind.ROLLBACK)
        case StepDelivered(kind=StepKind.ROLLBACK):
            return kind is StepKind.VERIFY
        case _:
            return False


def check_law_3(kind: StepKind, before: Turn, after: Turn, where: Where) -> None:
    """Check that a conversation is rolled back only by who began it, and nothing for a cause that keeps."""
    match kind:
        case StepKind.CANCEL:
            return
        case StepKind.ROLLBACK_TURN:
            assert not after.begins, where()
        case _:
            assert before.begins, where()
            assert after.begins, where()
    assert kind is StepKind.CONFIRM or after.cause not in after.plan.keeps, where()


def check_kept_by_the_outbox(after: World, where: Where) -> None:
    """Check that the turn knows of its steps what the outbox knows: loaded from the journal, it is the same."""
    assert after.turn.steps == after.outbox, where()


def check_looks(before: Turn, event: Event, after: Turn, where: Where) -> None:
    """Check law 7: looked for only after the rollback, within limits, and `cancelled` only after the last look."""
    assert after.looks <= len(LOOKS_AFTER_S), where()
    assert after.rollbacks <= ROLLBACKS_MAX, where()
    verify = after.steps.get(StepKind.VERIFY)
    if verify is StepState.PENDING:
        assert after.steps[StepKind.ROLLBACK] is StepState.DELIVERED, where()
        assert after.looks < len(LOOKS_AFTER_S), where()
    came_back = event == StepDelivered(at=AT, kind=StepKind.VERIFY)
    if came_back and before.steps.get(StepKind.VERIFY) is StepState.PENDING:
        assert after.looks == 0, where()
        rolled_back_again = after.steps[StepKind.ROLLBACK] is StepState.PENDING
        assert rolled_back_again or (verify is StepState.DEAD and before.rollbacks == ROLLBACKS_MAX), where()
    if after.state is State.CANCELLED and StepKind.VERIFY in wanted(replace(after, state=State.CANCELLING)):
        assert verify is StepState.DELIVERED, where()
        assert after.looks == len(LOOKS_AFTER_S), where()


def revived_or_not_owed(kind: StepKind, event: Event, kinds: list[StepKind]) -> bool:
    """Say whether a kind of step is owed at most because the operator asked for it."""
    return kind not in kinds or isinstance(event, StepRevived)


def check_answered(before: Turn, event: Event, after: Turn, where: Where) -> None:
    """Check law 5: what may have been seen complete is undone only for someone who left or asked."""
    if before.state is State.ANSWERED and not isinstance(event, (DownstreamGone, CancelRequested)):
        assert after.state in {State.ANSWERED, State.CONFIRMING, State.COMPLETED}, where()


def check_connections(before: World, event: Event, after: World, effects: tuple[Effect, ...], where: Where) -> None:
    """Check law 4: a relay is ended once; the upstream's answer is drained only for an id, and closed exactly once."""
    assert after.closes <= 1, where()
    if isinstance(event, DownstreamGone) and before.turn.state is State.OPEN and before.turn.told:
        assert CloseUpstream() in effects, where()  # the exchange relies on it, and hangs up before it asks
    assert after.drains <= 1, where()
    assert (AbortDownstream() in effects) <= (before.turn.state in {State.OPEN, State.ANSWERED}), where()
    if DrainUpstream() in effects:
        assert after.turn.listening, where()
        assert CloseUpstream() not in effects, where()
        wanting = after.turn.plan.needs.keys() - after.turn.steps.keys()
        assert any(not after.turn.plan.needs[kind] <= after.turn.captured.keys() for kind in wanting), where()
    if before.turn.listening and not after.turn.listening and after.turn.cause is not None and after.here:
        assert after.closes == 1, where()
    if CloseUpstream() in effects:
        assert not after.turn.listening, where()
        over = isinstance(event, (UpstreamLost, AnswerEnded, Refused, Restarted)) or not before.turn.listening
        assert over or set(wanted(after.turn)) - {StepKind.VERIFY} <= after.turn.steps.keys(), where()


def check_ids(before: Turn, event: Event, after: Turn, where: Where) -> None:
    """Check that what was captured is never lost; only the answer's end lets an id give way."""
    assert before.captured.keys() <= after.captured.keys(), where()
    for name, value in before.captured.items():
        if after.captured[name] != value:
            assert isinstance(event, (AnswerEnded, EndedUnseen)), where()
            assert after.temp_id == value, where()


def check_settled(turn: Turn, where: Where) -> None:
    """Check that each state means what it says."""
    pending = [kind for kind, state in turn.steps.items() if state is StepState.PENDING]
    assert (turn.settled_at is not None) == (turn.state in SETTLED), where()
    match turn.state:
        case State.OPEN | State.ANSWERED | State.REFUSED:
            assert not turn.steps, where()
        case State.COMPLETED:
            assert turn.confirmed_at is not None, where()
            assert not pending, where()
        case State.CANCELLED:
            assert turn.cause is not None, where()
            assert turn.confirmed_at is None, where()
            assert not pending, where()
            undone = wanted(replace(turn, state=State.CANCELLING))
            assert all(turn.steps.get(kind) is StepState.DELIVERED for kind in undone), where()
        case State.UNRESOLVED:
            assert not pending, where()
            undone = wanted(replace(turn, state=State.CANCELLING))
            assert any(turn.steps.get(kind) is not StepState.DELIVERED for kind in undone), where()
        case State.CONFIRMING:
            assert turn.begins, where()
            assert turn.steps.keys() == {StepKind.CONFIRM}, where()
        case State.CANCELLING:
            assert pending or turn.listening, where()


def test_every_turn_can_be_settled(steps: list[Step]) -> None:
    """From every world: once connections are over and every owed step was delivered, the turn is settled."""
    worlds = {after.key: after for _, _, after, _ in steps}
    for world in worlds.values():
        settled = _play_out(world)
        assert settled.turn.state in SETTLED, f"{world} ends as {settled}"
        given_up = {StepState.DEAD, StepState.DROPPED} & set(world.turn.steps.values())
        if not given_up and settled.turn.state is State.UNRESOLVED:
            untold = settled.turn.plan.needs.keys() - settled.turn.steps.keys()
            assert untold, f"{world} ends as {settled}"


def _play_out(world: World) -> World:
    """Let everything under way come to its end: the exchange first, then the dispatcher."""
    for _ in range(12):
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
            yield StepDelivered(at=AT, kind=kind, gone=kind is StepKind.VERIFY)
        if state is StepState.DEAD and turn.state is State.CONFIRMING:
            yield StepRevived(at=AT, kind=kind)
