"""The laws of a turn (DESIGN.md), watched at every step. It knows what the sidecar cannot: what each client saw.

`ends` looks once more when everything has settled. What breaks a law is written down in `broken`; it ends the schedule.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar.engine.cancellation import CancelOutcome
from sidecar.engine.ports import CallOutcome, Verdict
from sidecar.turn.state import Cause, State, StepKind, StepState, Turn
from tests.simulation.client import STRANGER, Ask, Visit
from tests.simulation.site import GRACE_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.simulation.upstream import Generation
    from tests.simulation.world import World

CONFIRMED: Final = frozenset({State.CONFIRMING, State.COMPLETED})
UNDER_WAY: Final = frozenset({State.OPEN, State.ANSWERED})
UNDONE: Final = frozenset({State.CANCELLING, State.CANCELLED, State.UNRESOLVED})
FOR_GOOD: Final = frozenset({State.CANCELLED, State.REFUSED})


@dataclass(eq=False, slots=True)
class Record:
    """What is known of a turn. `life` is the number of the process to which its request came."""

    visit: Visit
    life: int
    durable: Turn | None = None
    came_at: float = 0.0
    undone_since: float | None = None
    confirmed_since: float | None = None
    confirmed_at: float | None = None
    forestalled: bool = False
    was_confirmed: bool = False
    recovered: bool = False
    comebacks: int = 0
    revivals: int = 0
    keys: defaultdict[StepKind, set[str]] = field(default_factory=lambda: defaultdict(set))
    acted: defaultdict[StepKind, set[Verdict]] = field(default_factory=lambda: defaultdict(set))


class Laws:
    """Watches."""

    def __init__(self, world: World) -> None:
        self.broken: list[str] = []
        self.records: dict[str, Record] = {}
        self.asks: list[Ask] = []
        self.ordered: set[str] = set()
        self.dropped: set[tuple[str, StepKind]] = set()
        self.looked_at: dict[str, float] = {}
        self._world = world
        self._remembered: set[str | None] = set()

    def must(self, law: str, holds: object, about: str) -> None:
        """Write down what does not hold."""
        if not holds:
            self._world.note("LAW BROKEN", law, about)
            self.broken.append(f"law {law}: {about}")

    # -- the journal -----------------------------------------------------------------------------------------------

    def committed(self, turn: Turn) -> None:
        """A turn became durable as it now is."""
        record = self.records[turn.id]
        self._world.note("durable", turn.id, turn.state, turn.cause, dict(turn.steps))
        before, record.durable = record.durable, turn
        if before is not None:
            record.revivals += sum(_is_revived(kind, before, turn) for kind in before.steps)
        was = before.state if before is not None else None
        if was is turn.state:
            return
        self.must("2: what is settled for good is changed", was not in FOR_GOOD, turn.id)
        if turn.state in CONFIRMED and was not in CONFIRMED:
            self._confirmed(record, turn)
        if turn.state in UNDONE and was not in UNDONE:
            self._undone(record, turn, was)
        if turn.state is State.CANCELLED:
            self._cancelled(turn)
        if turn.state is State.REFUSED:
            self.must("2: refused, but the upstream took it up", not self._taken_up(turn.id), turn.id)

    def _confirmed(self, record: Record, turn: Turn) -> None:
        record.confirmed_since, record.confirmed_at = self._world.loop.time(), turn.confirmed_at
        record.was_confirmed = True
        record.recovered = record.life != self._world.life or self._world.is_old(turn)

    def _undone(self, record: Record, turn: Turn, was: State | None) -> None:
        asks = list(self._asks_for(turn))
        if turn.cause is Cause.REQUESTED:
            self.must("6: cancelled, and nobody who may asked for it", asks, turn.id)
        record.confirmed_since = None
        record.undone_since = self._world.loop.time()
        ordered = turn.id in self.ordered
        self.must(
            "6: cancelled by the operator, who ordered no such thing",
            ordered or turn.cause is not Cause.OPERATOR,
            turn.id,
        )
        if record.visit.complete:
            self.must("5: what the client saw complete is undone, and it did not ask for it", asks or ordered, turn.id)
        if was in CONFIRMED and record.confirmed_at is not None and not ordered:
            until = record.confirmed_at + GRACE_S
            in_time = any(min(ask.wall_at, self._world.wall()) <= until for ask in asks)
            self.must("6: a cancel after the grace time undoes the turn", in_time, turn.id)

    def _cancelled(self, turn: Turn) -> None:
        """Check that the upstream was really stopped, where there is a call for that."""
        generation = self._world.upstream.generations.get(turn.id)
        if generation is not None and StepKind.CANCEL in self._world.site.kinds:
            self.must("2: cancelled, but the upstream goes on", generation.over is not None, turn.id)

    # -- the exchange ----------------------------------------------------------------------------------------------

    def sent(self, turn: Turn) -> None:
        """A request goes upstream."""
        self._world.note("sent upstream", turn.id)
        self.must("1: the upstream hears of a turn that is not durable", self._world.journal.holds(turn.id), turn.id)
        self.must("6: cancelled first, and sent upstream", not self.records[turn.id].forestalled, turn.id)
        self.must("6: cancelled before it was sent upstream", turn.state is State.OPEN, turn.id)
        passed_fence = any(
            self._is_being_removed(other, self.records[turn.id].came_at) for other in self._neighbours(turn)
        )
        self.must("3: sent into a conversation that is being removed", not passed_fence or self._is_kept(turn), turn.id)

    def shown(self, turn: Turn, what: str) -> None:
        """Something of the answer goes to the client."""
        self._world.note("shown", turn.id, what)
        self.must("4: something of a cancelled answer is shown", turn.state not in UNDONE, turn.id)
        if what == "end":
            durable = self.records[turn.id].durable
            answered = durable is not None and durable.answered_at is not None
            self.must("5: the end is shown before it is durable", answered, turn.id)

    def disconnects(self, turn: Turn, generation: Generation, *, drained_out: bool) -> None:
        """The sidecar closes the upstream's connection."""
        self._world.note("disconnects", turn.id)
        plan = self._world.site.plan
        undone = turn.state in UNDONE and turn.cause not in plan.keeps and turn.begins
        untold = not plan.needs[StepKind.ROLLBACK] <= turn.captured.keys()
        early = undone and untold and generation.over is None and not drained_out
        self.must("4: closed before the id could show", not early, turn.id)

    # -- requests to cancel ----------------------------------------------------------------------------------------

    def comes(self, visit: Visit) -> None:
        """A client sends its message; what was cancelled first goes nowhere."""
        begins = visit.names if visit.begins else None
        record = self.records[visit.turn_id]
        record.forestalled = bool({visit.request_id, begins} & self._remembered)
        record.came_at = self._world.loop.time()

    def asked(self, ask: Ask) -> None:
        """Someone asks for a cancel."""
        self._world.note("cancel asked", ask.principal, ask.request_id, ask.conversation_id)
        self.asks.append(ask)

    def answered(self, ask: Ask) -> None:
        """A request to cancel is answered."""
        self._world.note("cancel answered", ask.principal, ask.request_id, ask.conversation_id, ask.outcome)
        if ask.outcome is None:
            return
        if ask.principal == STRANGER:
            unknown = ask.outcome is CancelOutcome.REMEMBERED
            self.must("6: a stranger is answered otherwise than for an unknown id", unknown, ask.visit.turn_id)
            return
        if ask.request_id is not None and ask.outcome is not CancelOutcome.COMPLETED:
            self._remembered.add(ask.request_id)
        elif ask.outcome is CancelOutcome.REMEMBERED:
            self._remembered.add(ask.conversation_id)

    # -- the admin API ---------------------------------------------------------------------------------------------

    def called(self, kind: StepKind, turn: Turn, key: str, fate: str) -> None:
        """The dispatcher makes a call."""
        record = self.records[turn.id]
        self._world.note("calls", turn.id, kind, key, fate)
        record.keys[kind].add(key)
        durable = record.durable
        owed = durable is not None and kind in durable.steps
        # The cancel call may be ahead of the journal, where a restart would make it all the same.
        ahead = kind is StepKind.CANCEL and durable is not None and durable.state is State.OPEN
        self.must("2: a call that a restart would not make again", owed or ahead, turn.id)
        if durable is not None and kind in {StepKind.ROLLBACK, StepKind.ROLLBACK_TURN}:
            first = durable.steps.get(StepKind.CANCEL) is not StepState.PENDING or record.acted[StepKind.CANCEL]
            self.must("4: rolled back before it was cancelled", first, turn.id)
        rounds = 1 + record.revivals + (record.comebacks if kind is StepKind.ROLLBACK else 0)
        if kind is not StepKind.VERIFY:
            self.must("2: another idempotency key for the same step", len(record.keys[kind]) <= rounds, turn.id)
        if kind in {StepKind.ROLLBACK, StepKind.CONFIRM}:
            self.must(f"3: {kind} for a turn that did not begin its conversation", record.visit.begins, turn.id)
        if kind is StepKind.ROLLBACK:
            looked_at = self.looked_at.pop(turn.id, self._world.loop.time())
            others = list(self._neighbours(turn))
            kept = any(other.confirmed_since is not None and other.confirmed_since < looked_at for other in others)
            held_up = any(other.durable and other.durable.state in UNDER_WAY for other in others)
            self.must("3: rollback, though another turn in the conversation is under way", not held_up, turn.id)
            self.must("3: rollback, though another turn in the conversation was confirmed", not kept, turn.id)

    def acted(self, kind: StepKind, turn: Turn, outcome: CallOutcome) -> None:
        """A call arrived, and was acted on."""
        record = self.records[turn.id]
        self._world.note("upstream acts", turn.id, kind, outcome.verdict)
        record.acted[kind].add(outcome.verdict)
        if kind is StepKind.VERIFY and outcome.verdict is Verdict.DONE:
            record.comebacks += 1

    # -- leaves ----------------------------------------------------------------------------------------------------

    def confirmed_neighbour(self, turn: Turn) -> bool:
        """Say whether another turn in the conversation was ever confirmed."""
        return any(other.was_confirmed for other in self._neighbours(turn))

    def _is_being_removed(self, record: Record, since: float) -> bool:
        """Say whether a turn's conversation has been owed to be removed since before that time."""
        turn, undone_since = record.durable, record.undone_since
        if turn is None or undone_since is None or undone_since >= since:
            return False
        return turn.state is State.CANCELLING and turn.begins and turn.cause not in turn.plan.keeps

    def _is_kept(self, turn: Turn) -> bool:
        """Say whether another turn keeps the conversation, or is beginning it anew."""
        turns = [other.durable for other in self._neighbours(turn) if other.durable is not None]
        return any(one.state in CONFIRMED or (one.begins and one.state in UNDER_WAY) for one in turns)

    def _neighbours(self, turn: Turn) -> Iterator[Record]:
        resolve = self._world.upstream.resolve
        for record in self.records.values():
            other = record.durable
            if other is not None and other.id != turn.id and resolve(other) == resolve(turn) is not None:
                yield record

    def _asks_for(self, turn: Turn) -> Iterable[Ask]:
        """Give the cancels of those who may that mean the turn, or an earlier one of the same request."""
        same = [record.durable for record in self.records.values() if record.visit.request_id == turn.request_id]
        ids = {one for each in same if each is not None for one in (each.conversation_id, each.temp_id)} - {None}
        for ask in self.asks:
            if ask.principal == turn.principal and (ask.request_id == turn.request_id or ask.conversation_id in ids):
                yield ask

    def _taken_up(self, turn_id: str) -> bool:
        generation = self._world.upstream.generations.get(turn_id)
        return generation is not None and generation.taken_up


def _is_revived(kind: StepKind, before: Turn, after: Turn) -> bool:
    return before.steps[kind] is StepState.DEAD and after.steps.get(kind) is StepState.PENDING
