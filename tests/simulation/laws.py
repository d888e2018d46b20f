"""The laws of a turn (DESIGN), as what the simulation watches: at every step where possible, else at the end.

It knows the truth that the sidecar cannot know: what each client saw and asked for, what the upstream holds.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar.engine.cancellation import CancelOutcome
from sidecar.engine.ports import CallOutcome, Verdict
from sidecar.turn.state import SETTLED, Cause, State, StepKind, Turn
from tests.simulation.client import STRANGER
from tests.simulation.site import GRACE_S

if TYPE_CHECKING:
    from tests.simulation.client import Ask, Visit
    from tests.simulation.upstream import Generation
    from tests.simulation.world import World

CONFIRMED: Final = frozenset({State.CONFIRMING, State.COMPLETED})
UNDONE: Final = frozenset({State.CANCELLING, State.CANCELLED, State.UNRESOLVED})
SHOWABLE: Final = frozenset(State) - UNDONE
FINAL: Final = frozenset({State.CANCELLED, State.REFUSED})


@dataclass(eq=False, slots=True)
class Record:
    """What is known of a turn. `lives` are the numbers of the processes that knew it."""

    visit: Visit
    born: int
    durable: Turn | None = None
    confirmed_since: float | None = None
    confirmed_at: float | None = None
    forestalled: bool = False
    was_kept: bool = False
    restarted_answered: bool = False
    comebacks: int = 0
    keys: defaultdict[StepKind, set[str]] = field(default_factory=lambda: defaultdict(set))


class Laws:
    """Watches; what breaks a law is in `broken`."""

    def __init__(self, world: World) -> None:
        self.broken: list[str] = []
        self.records: dict[str, Record] = {}
        self._world = world

    def _must(self, law: str, holds: bool, turn_id: str) -> None:
        if not holds:
            self._world.note("LAW BROKEN", law, turn_id)
            self.broken.append(f"{law}: {turn_id}")

    # -- the journal -----------------------------------------------------------------------------------------------

    def committed(self, turn: Turn) -> None:
        """A turn became durable as it now is."""
        record = self.records[turn.id]
        before, record.durable = record.durable, turn
        self._world.note("durable", turn.id, turn.state, dict(turn.steps))
        was = before.state if before else None
        self._must("a turn that is settled for good stays so", was not in FINAL or turn.state is was, turn.id)
        if turn.state in CONFIRMED and was not in CONFIRMED:
            record.confirmed_since, record.confirmed_at = self._world.loop.time(), turn.confirmed_at
        if turn.cause is Cause.REQUESTED:
            asked = any(self._means(ask, turn) for ask in self._own_asks())
            self._must("6: nobody who may do so asked for the cancel", asked, turn.id)
        if turn.state is State.CANCELLED and StepKind.CANCEL in self._world.site.kinds:
            generation = self._world.upstream.generations.get(turn.id)
            stopped = generation is None or not generation.may_still_save
            self._must("2: cancelled, and the upstream goes on", stopped, turn.id)

    # -- the exchange ----------------------------------------------------------------------------------------------

    def sent(self, turn: Turn) -> None:
        """A request goes upstream."""
        record = self.records[turn.id]
        self._world.note("sent upstream", turn.id)
        self._must("1: the upstream hears of a turn that is not durable", self._world.journal.holds(turn.id), turn.id)
        self._must("6: cancelled first, and sent upstream", not record.forestalled, turn.id)
        self._must("6: cancelled, and sent upstream", turn.state is State.OPEN, turn.id)

    def shown(self, turn: Turn, what: str) -> None:
        """Something of the answer goes to the client."""
        record = self.records[turn.id]
        self._world.note("shown", turn.id, what)
        self._must("4: something of a cancelled answer is shown", turn.state in SHOWABLE, turn.id)
        if what == "end" and turn.state is not State.REFUSED:
            answered = record.durable is not None and record.durable.answered_at is not None
            self._must("5: the end is shown before it is durable", answered, turn.id)

    def disconnects(self, turn: Turn, generation: Generation, *, drained_out: bool) -> None:
        """The sidecar closes the upstream's connection."""
        plan = self._world.site.plan
        untold = turn.begins and not plan.needs[StepKind.ROLLBACK] <= turn.captured.keys()
        undone = turn.state in UNDONE and turn.cause not in plan.keeps
        early = untold and undone and turn.listening and not drained_out and generation.over is None
        self._must("4: closed before the id could show", not early, turn.id)

    # -- requests to cancel ----------------------------------------------------------------------------------------

    def asked(self, ask: Ask) -> None:
        """Someone asks for a cancel."""
        self._world.note("cancel asked", ask.principal, ask.request_id, ask.conversation_id)

    def answered(self, ask: Ask) -> None:
        """A request to cancel is answered."""
        visit = ask.visit
        self._world.note("cancel answered", ask.principal, ask.request_id, ask.conversation_id, ask.outcome)
        if ask.outcome is None:
            return
        if ask.principal == STRANGER:
            told = ask.outcome is not CancelOutcome.REMEMBERED
            self._must("6: a stranger gets another answer than for an unknown id", not told, visit.turn_id)
            return
        record = self.records.get(visit.turn_id)
        if record is None:
            return
        by_conversation = visit.begins and ask.conversation_id is not None and ask.conversation_id == visit.names
        if not visit.sent and (ask.request_id is not None or by_conversation):
            record.forestalled = True
        late = record.confirmed_at is not None and min(ask.wall_at, self._world.wall()) > record.confirmed_at + GRACE_S
        if ask.request_id is not None and late and not record.cancelled_before(ask):
            self._must("6: a late cancel ignores the grace time", ask.outcome is CancelOutcome.COMPLETED, visit.turn_id)
