"""A turn as data: its state, why it was cancelled, the steps that are owed for it.

Every state says who moves a turn out of it. A `Turn` is immutable; `machine.step` makes the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class State(StrEnum):
    """Where a turn stands."""

    OPEN = "open"
    """Journalled; the upstream may be at work. Moved by: its exchange, a cancel, the sweeper, recovery."""

    ANSWERED = "answered"
    """The upstream's answer is whole and that is durable; whether downstream got it is not yet known.
    Moved by: the delivery watch, a cancel, the sweeper, recovery."""

    CANCELLING = "cancelling"
    """To be undone: steps are owed, or ids are still awaited. Moved by: the dispatcher, the drained upstream."""

    CONFIRMING = "confirming"
    """Delivered; the upstream is still to be told. Moved by: the dispatcher (a dead step: the operator's retry)."""

    COMPLETED = "completed"
    """Delivered and, where configured, confirmed. Settled; moved only by a late cancel within its grace time."""

    CANCELLED = "cancelled"
    """Nothing is owed any more. Settled for good."""

    REFUSED = "refused"
    """The upstream answered with an error status: it took up nothing. Settled for good."""

    UNRESOLVED = "unresolved"
    """Something of it may be left upstream: a step is dead or was dropped, or an id was never told. Moved by: the
    operator's retry."""


SETTLED: Final = frozenset({State.COMPLETED, State.CANCELLED, State.REFUSED, State.UNRESOLVED})
UNSETTLED: Final = frozenset(State) - SETTLED


class Cause(StrEnum):
    """Why a turn was cancelled."""

    RESET = "reset"
    CLOSED = "closed"
    VANISHED = "vanished"
    STALLED = "stalled"
    UPLOAD_CUT = "upload_cut"
    REQUESTED = "requested"
    OPERATOR = "operator"
    UPSTREAM_FAILED = "upstream_failed"
    RESTARTED = "restarted"
    EXPIRED = "expired"
    SHUTDOWN = "shutdown"


class Policy(StrEnum):
    """What a cause means for a turn."""

    CANCEL = "cancel"
    """Stop the generation and roll back what the turn left."""
    COMPLETE = "complete"
    """Let the answer run to its end unseen, and keep it."""
    KEEP = "keep"
    """Stop the generation, keep the conversation as it is."""


class StepKind(StrEnum):
    """A call to the admin API that can be owed. The members' order is the order of the calls within a turn."""

    CONFIRM = "confirm"
    CANCEL = "cancel"
    ROLLBACK = "rollback"
    ROLLBACK_TURN = "rollback_turn"
    VERIFY = "verify"


class StepState(StrEnum):
    """How far an owed step has come, as the core sees it (the outbox also knows `leased`, a kind of pending)."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    DROPPED = "dropped"
    """The operator wants it no more: for good."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the configuration makes possible for a route's turns.

    `needs` has an entry for each admin call that is configured: the names of the captured values without which it
    cannot be made. `keeps` are the causes for which a cancelled turn is not rolled back. `looks_after_s` says how long
    after its rollback a conversation is looked for (law 7), in seconds and ascending; where it comes back, it is rolled
    back again, `rollbacks_max` times at most. `cancel_tells` is true where the cancel call's answer is itself a source
    of the conversation's id.
    """

    needs: Mapping[StepKind, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    cancel_tells: bool = False
    keeps: frozenset[Cause] = frozenset()
    looks_after_s: tuple[float, ...] = (0.0,)
    rollbacks_max: int = 5


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One chat message and its answer.

    Times are seconds since the epoch. `captured` holds what capture found, by name: always `request_id`, and
    `conversation_id` once it is known. `temp_id` is the temporary id under which downstream may know the conversation:
    the one that the sidecar itself announced, or the one that gave way to the real id at the answer's end.
    `answered_at` is when the upstream's answer was whole, whether or not downstream was still there. `cancelled_at` is
    when its undoing began.

    `owner` is the number of the process that steps it; the core never looks at it.

    `looks` counts how often in a row the conversation was seen gone, `rollbacks` how often it came back.

    `heard` and `listening` are about the connection and are not durable: whether the upstream may have taken the turn
    up, and whether its answer may still tell ids. A turn that is loaded from the journal was heard and tells nothing
    more. `answer_began_at` becomes durable with whatever is committed next.
    """

    id: str
    route: str
    principal: str
    begins: bool
    captured: Mapping[str, str]
    created_at: float
    plan: Plan
    temp_id: str | None = None
    traceparent: str | None = None
    owner: int = 0
    state: State = State.OPEN
    cause: Cause | None = None
    answer_began_at: float | None = None
    answered_at: float | None = None
    confirmed_at: float | None = None
    cancelled_at: float | None = None
    settled_at: float | None = None
    steps: Mapping[StepKind, StepState] = field(default_factory=lambda: MappingProxyType({}))
    looks: int = 0
    rollbacks: int = 0
    heard: bool = True
    listening: bool = False

    @property
    def request_id(self) -> str:
        """The id by which downstream and upstream know the request."""
        return self.captured["request_id"]

    @property
    def told(self) -> bool:
        """Whether every id is known that any configured call needs: a cancel then drains nothing (law 4)."""
        return all(needs <= self.captured.keys() for needs in self.plan.needs.values())

    @property
    def conversation_id(self) -> str | None:
        """The conversation's id, where it is known."""
        return self.captured.get("conversation_id")
