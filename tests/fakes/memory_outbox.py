"""The outbox of the journal in memory: the steps of each turn, by kind, in the order of their calls."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.engine.ports import StepRow
from sidecar.turn.state import StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.engine.ports import Lease, StepUpdate

RANK: Final = tuple(StepKind)


@dataclass(slots=True)
class MemoryStep:
    """A row of the outbox; `state` is one of pending, leased, delivered, dead, dropped."""

    id: int
    turn_id: str
    kind: StepKind
    created_at: float
    due_at: float
    state: str = "pending"
    attempts: int = 0
    lease_until: float = 0.0
    error: str | None = None
    round: int = 0

    @property
    def key(self) -> str:
        """The idempotency key: the same over all attempts, another for each call that was delivered."""
        return f"{self.turn_id}:{self.kind}" + (f":{self.round}" if self.round else "")

    @property
    def over(self) -> bool:
        """Whether no attempt will be made any more."""
        return self.state in {"delivered", "dead", "dropped"}

    @property
    def next_at(self) -> float:
        """When it can next be leased: its lease may run out."""
        return self.lease_until if self.state == "leased" else self.due_at

    @property
    def row(self) -> StepRow:
        """The step as the operator sees it."""
        return StepRow(
            id=self.id,
            turn_id=self.turn_id,
            kind=self.kind,
            state=self.state,
            attempts=self.attempts,
            due_at=self.due_at,
            created_at=self.created_at,
            error=self.error,
        )


class MemoryOutbox:
    """All steps."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[StepKind, MemoryStep]] = {}
        self._ids = itertools.count(1)

    def __iter__(self) -> Iterator[MemoryStep]:
        return itertools.chain.from_iterable(steps.values() for steps in self._steps.values())

    def owe(self, turn_id: str, kind: StepKind, at: float, due_at: float) -> None:
        """Owe a step; again if it is over: one that was delivered is then another call."""
        steps = self._steps.setdefault(turn_id, {})
        step = steps.get(kind)
        if step is None:
            steps[kind] = MemoryStep(next(self._ids), turn_id, kind, created_at=at, due_at=due_at)
        elif step.state in {"delivered", "dead"}:
            step.round += step.state == "delivered"
            step.state, step.attempts, step.due_at, step.error = "pending", 0, due_at, None

    def lease(self, turn_id: str, lease: Lease) -> None:
        """Lease a step that is pending, along with the change that it belongs to."""
        step = self._steps.get(turn_id, {}).get(lease.kind)
        if step is not None and step.state == "pending":
            step.state, step.lease_until = "leased", lease.until

    def update(self, update: StepUpdate) -> None:
        """Note an attempt's result; one that is to be made again postpones the steps that wait for it."""
        step = self._steps.get(update.turn_id, {}).get(update.kind)
        if step is None or step.state == "dropped" or (step.over and update.state is StepState.PENDING):
            return
        step.state, step.attempts = update.state.value, update.attempts
        step.due_at, step.error = update.due_at, update.error
        if update.state is StepState.PENDING:
            for later in self._steps[update.turn_id].values():
                if RANK.index(later.kind) > RANK.index(update.kind) and later.state == "pending":
                    later.due_at = max(later.due_at, update.due_at)

    def of(self, turn_id: str) -> list[MemoryStep]:
        """Give a turn's steps."""
        return list(self._steps.get(turn_id, {}).values())

    def states(self, turn_id: str) -> Mapping[StepKind, StepState]:
        """Give a turn's steps as the core sees them: a leased one is pending."""
        states = {step.kind: "pending" if step.state == "leased" else step.state for step in self.of(turn_id)}
        return MappingProxyType({kind: StepState(state) for kind, state in states.items()})

    def first(self, step: MemoryStep) -> bool:
        """Say whether the step is not over, and every earlier one of its turn is."""
        earlier = (other for other in self.of(step.turn_id) if RANK.index(other.kind) < RANK.index(step.kind))
        return not step.over and all(other.over for other in earlier)

    def forget(self, turn_id: str) -> None:
        """Forget a turn's steps."""
        self._steps.pop(turn_id, None)
