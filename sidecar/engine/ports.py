"""What the engine needs of the edges, named as Protocols. The edges implement them; `app` alone joins them.

exchange ----events----> driver ----Change----> Journal
         <-LiveExchange-         <---committed--
                         dispatcher --call--> AdminApi
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.turn.state import NOTHING, StepKind, StepState, Turn

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from sidecar.engine.history import HistoryEntry
    from sidecar.engine.standing import TurnIds


_RESULTS: Final = frozenset({StepState.DELIVERED, StepState.PENDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUpdate:
    """How an attempt at an owed step went: what the outbox keeps of it; `note` is for the turn's history only."""

    turn_id: str
    kind: StepKind
    state: StepState
    attempts: int
    due_at: float
    error: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A cancel that came before its request. `name` is `request_id` or `conversation_id`; times as in Turn."""

    principal: str
    name: str
    value: str
    expires_at: float


class Haste(Enum):
    """How soon a change has to be committed. It goes along with whatever is committed before that."""

    AT_ONCE = auto()
    """Calls, or an asker, wait for it."""
    SOON = auto()
    """A client waits for it who would not notice some milliseconds, or a crash would take back what the upstream told
    but once: where there are many such, they gather."""
    LATER = auto()
    """Nobody waits for it, and after a crash the same would come of the turn without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A step that is leased in the change that it belongs to, because its call is made at once."""

    kind: StepKind
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is committed together: a turn as it now is, steps newly owed (or owed again), an attempt's result.

    `after_s` says for owed steps how many seconds they have to wait; those that it does not name are due at once.
    `history` is what the turn itself does not remember; an attempt's result is recorded without it. `lease` hands one
    of the turn's pending steps to whoever submits the change.
    """

    turn: Turn | None = None
    owed: tuple[StepKind, ...] = ()
    after_s: Mapping[StepKind, float] = field(default_factory=dict)
    update: StepUpdate | None = None
    tombstone: Tombstone | None = None
    history: tuple[HistoryEntry, ...] = ()
    lease: Lease | None = None
    at: float
    haste: Haste = Haste.AT_ONCE

    @property
    def awaits_disk(self) -> bool:
        """Whether a crash of the machine must not undo it. Of a call that was made, it may: the call is made again.

        But where the call's answer told what is now owed, it would not tell it again.

        Whatever is committed later is on the disk later, so nobody can be let in by what a crash then undoes.
        """
        result = self.update is not None and self.update.state in _RESULTS
        return self.haste is not Haste.LATER and (bool(self.owed) or not result)

    def due_at(self, kind: StepKind) -> float:
        """Say when an owed step is to be made."""
        return self.at + self.after_s.get(kind, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedStep:
    """A step that was leased to the dispatcher. `attempts` counts those already made."""

    turn: Turn
    kind: StepKind
    attempts: int
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A row of the outbox as the operator sees it; `state` is one of pending, leased, delivered, dead, dropped."""

    id: int
    turn_id: str
    kind: StepKind
    state: str
    attempts: int
    due_at: float
    created_at: float
    error: str | None
    delivered_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the operator wants done: a turn cancelled, or (`step`) one of its steps dropped, for that reason.

    `attempts` is how many were made at the step.
    """

    turn_id: str
    step: StepKind | None = None
    reason: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSizes:
    """How full the outbox is: steps by state, but for the delivered ones, and since when the oldest is owed."""

    counts: Mapping[str, int]
    oldest_owed_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """What the other turns of a conversation mean for rolling it back (law 3)."""

    confirmed: bool
    """Another turn in it was delivered: the conversation stays."""
    unsettled: bool
    """Another turn in it is still open or answered: too early to tell."""


class Journal(Protocol):
    """The durable memory of turns, owed steps and tombstones.

    Every coroutine raises JournalUnavailableError where the database cannot be read or written.
    """

    def submit(self, change: Change) -> asyncio.Future[None]:
        """Queue a change; the future is done once it is durable, or fails with JournalUnavailableError.

        It fails with InProgressError where a turn that is under way in another process has a new one's request id.
        Changes become durable in the order in which they are submitted; those that do not await the disk, when
        a crash of the process can no longer undo them.
        """

    async def load(self, turn_id: str) -> Turn | None:
        """Give a turn with its steps."""

    async def find(
        self, principal: str, *, request_id: str | None = None, conversation_id: str | None = None, limit: int = 10
    ) -> Sequence[Turn]:
        """Give a principal's turns with that request id or conversation id (temp ids too), newest first."""

    async def in_conversations(self, ids: Sequence[str]) -> Sequence[Turn]:
        """Give what tells whether conversations, known by these ids (temp ids too), are gone.

        That is, of each that was begun by a turn which was cancelled or is under way: the turns of all principals that
        began it, and those that were delivered in it.
        """

    async def unsettled(self, *, after: str = "", limit: int = 1000) -> Sequence[Turn]:
        """Give turns that are not settled and wait for no call, with ids greater than `after`, in the order of ids."""

    async def standing(self, *, limit: int) -> Sequence[TurnIds]:
        """Give the ids of turns, anyone's, that are not settled for good (unresolved ones are not), at most so many."""

    async def overdue(self, *, created_before: float, limit: int = 1000) -> Sequence[str]:
        """Give the ids of open and answered turns made before the given time."""

    async def neighbours(self, turn: Turn) -> Neighbours:
        """Say what the other turns in the turn's conversation mean for it."""

    async def lease(self, *, now: float, until: float, limit: int) -> Sequence[OwedStep]:
        """Lease due steps whose earlier steps (same turn) are over, oldest due first."""

    async def next_due_at(self) -> float | None:
        """Say when the next pending step falls due."""

    async def release_leases(self) -> int:
        """Make every leased step pending again (nobody else holds the journal); give their number."""

    async def tombstones(self, *, now: float) -> Sequence[Tombstone]:
        """Give the tombstones that have not expired."""

    async def prune(self, *, settled_before: float, now: float, limit: int = 1000) -> int:
        """Forget settled turns of before that time and expired tombstones, at most `limit` of each; give the number."""


class Verdict(StrEnum):
    """What an admin call came to."""

    DONE = "done"
    GONE = "gone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """An admin call's outcome. `error` says in a few words why it failed; `captured` holds what its answer told."""

    verdict: Verdict
    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None
    captured: Mapping[str, str] = field(default_factory=lambda: NOTHING)


class AdminApi(Protocol):
    """The upstream's admin API."""

    async def call(self, kind: StepKind, turn: Turn, *, idempotency_key: str) -> CallOutcome:
        """Make a step's call once. Never raises for what the peer does: a failure is an outcome."""

    async def shows(self, captured: Mapping[str, str], *, traceparent: str | None = None) -> bool | None:
        """Ask (`admin.verify`) whether the upstream shows the conversation; None where it cannot be told."""


class LiveExchange(Protocol):
    """The connections of a turn that is under way in this process."""

    def abort_downstream(self) -> None:
        """Relay nothing more, and end downstream's connection visibly. Harmless when done twice."""

    def close_upstream(self) -> None:
        """Close the upstream's connection. Harmless when done twice."""

    def drain_upstream(self) -> None:
        """Read the upstream's answer on, unseen, within limits; then feed UpstreamLost."""


class TurnObserver(Protocol):
    """Is told what becomes of turns and steps, to count it. Must neither raise nor take long."""

    def turn_opened(self, turn: Turn) -> None:
        """Take note: a turn is durable."""

    def turn_moved(self, before: Turn, after: Turn) -> None:
        """Take note: an event was taken in."""

    def upstream_closed(self, turn: Turn, *, at: float) -> None:
        """Take note: a cancelled turn's upstream connection was just closed."""

    def step_ended(self, turn: Turn, kind: StepKind, state: StepState, *, at: float) -> None:
        """Take note: an attempt at a turn's step is over, and the step now in that state; pending: it failed."""


class Clock(Protocol):
    """Tells the time, in seconds since the epoch."""

    def __call__(self) -> float:
        """Give the time now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What became of reading the configuration again. With problems, the old one stays in force as it was.

    `changed` names the settings that are now others, `waiting` those that will be at the next start.
    """

    problems: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


class Reloader(Protocol):
    """Has the configuration read again."""

    async def reload(self) -> Reloaded:
        """Read the configuration and put it in force without disturbing what is under way, unless it has problems."""
