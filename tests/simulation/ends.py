"""What must hold when all faults have stopped and everything has settled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar.engine.cancellation import CancelOutcome
from sidecar.engine.ports import Verdict
from sidecar.turn.machine import wanted
from sidecar.turn.state import SETTLED, State, StepKind, StepState
from tests.simulation.client import STRANGER
from tests.simulation.laws import UNDONE

if TYPE_CHECKING:
    from sidecar.turn.state import Turn
    from tests.simulation.laws import Record
    from tests.simulation.world import World


def check_ends(world: World) -> None:
    """Check every turn, every request to cancel, the outbox, and the upstream's database."""
    for row in world.journal.rows():
        world.laws.must(f"2: {row.kind} is {row.state}", row.state in {"delivered", "dead", "dropped"}, row.turn_id)
        unasked = row.state == "dropped" and (row.turn_id, row.kind) not in world.laws.dropped
        world.laws.must(f"2: {row.kind} was dropped, and nobody ordered that", not unasked, row.turn_id)
    for turn_id, generation in world.upstream.generations.items():
        durable = world.laws.records[turn_id].durable
        world.laws.must("1: sent upstream, and not in the journal", durable is not None, turn_id)
        world.laws.must("4: a connection is left open", generation.over or not generation.connected, turn_id)
    for record in world.laws.records.values():
        if record.durable is not None:
            _check_turn(world, record, record.durable)
    _check_asks(world)


def _check_turn(world: World, record: Record, turn: Turn) -> None:
    world.laws.must(f"2: {turn.state} for ever", turn.state in SETTLED, turn.id)
    match turn.state:
        case State.COMPLETED:
            _check_completed(world, record, turn)
        case State.CANCELLED:
            _check_cancelled(world, record, turn)
        case State.UNRESOLVED:
            _check_unresolved(world, turn)
        case _:
            pass


def _check_completed(world: World, record: Record, turn: Turn) -> None:
    visit, laws = record.visit, world.laws
    put_up_with = visit.left in world.site.puts_up_with
    entitled = visit.complete or record.recovered or put_up_with
    laws.must("5: completed, and the client had not all of it", entitled, turn.id)
    laws.must("3: completed, and it is not in its conversation", world.upstream.remembers(turn.id), turn.id)
    if visit.begins:
        confirms = StepKind.CONFIRM in world.site.kinds and turn.conversation_id is not None
        told = Verdict.DONE in record.acted[StepKind.CONFIRM] or turn.steps.get(StepKind.CONFIRM) is StepState.DROPPED
        laws.must("2: never confirmed", not confirms or told, turn.id)


def _check_cancelled(world: World, record: Record, turn: Turn) -> None:
    """Nothing of the turn is left, unless another turn that was confirmed keeps the conversation (law 3)."""
    undoing = wanted(replace(turn, state=State.CANCELLING))
    given_up = [kind for kind in undoing if turn.steps.get(kind) is StepState.DROPPED]
    world.laws.must("2: cancelled, and a step of it was dropped", not given_up, turn.id)
    generation = world.upstream.generations.get(turn.id)
    if generation is None or not generation.taken_up:
        return
    if StepKind.CANCEL in world.site.kinds and turn.answered_at is None:
        world.laws.must("2: the upstream was never told to stop", record.acted[StepKind.CANCEL], turn.id)
    if turn.cause in world.site.plan.keeps:
        return
    kind = StepKind.ROLLBACK if record.visit.begins else StepKind.ROLLBACK_TURN
    told = kind in world.site.kinds and world.site.gone_is_checked
    kept = record.visit.begins and not turn.begins and world.laws.confirmed_neighbour(turn)
    left = world.upstream.remembers(turn.id)
    world.laws.must("2, 7: cancelled, and its conversation is still there", not (told and left) or kept, turn.id)


def _check_unresolved(world: World, turn: Turn) -> None:
    """An operator tried every dead step again: only an id that was never told excuses it, or a step they dropped."""
    needs = [needed for kind, needed in world.site.plan.needs.items() if kind is not StepKind.CONFIRM]
    untold = any(not needed <= turn.captured.keys() for needed in needs)
    dropped = StepState.DROPPED in turn.steps.values()
    world.laws.must("2: unresolved without a reason", untold or dropped, turn.id)


def _check_asks(world: World) -> None:
    """What a client was told of its request is so."""
    for ask in world.laws.asks:
        turns = [record.durable for record in world.laws.records.values() if record.visit.request_id == ask.request_id]
        states = {turn.state for turn in turns if turn is not None}
        if ask.principal == STRANGER or not states or world.forgets_soon:
            continue
        if ask.outcome in {CancelOutcome.CANCELLED, CancelOutcome.REMEMBERED}:
            world.laws.must("6: told that it is cancelled, and it is not", states & UNDONE, str(ask.request_id))
