"""What the JSON API takes and gives, typed: its document is made from these. Times are seconds since the epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from sidecar.engine.history import Happening
from sidecar.engine.operator import REASON_CHARS_MAX
from sidecar.engine.orders import CANCELLABLE
from sidecar.turn.state import Cause, State, StepKind, StepState

if TYPE_CHECKING:
    from sidecar.engine.history import HistoryEntry
    from sidecar.engine.ports import Reloaded
    from sidecar.turn.state import Turn

LIMIT_MAX = 500
OutboxState = Literal["pending", "leased", "delivered", "dead", "dropped"]


class Model(BaseModel):
    """What all have in common: nothing besides what is named."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TurnOut(Model):
    """A turn as it is."""

    id: str
    route: str
    state: State
    cause: Cause | None = Field(description="Why it ended early; null where it did not.")
    request_id: str
    conversation_id: str | None
    temp_id: str | None = Field(description="A temporary id of the conversation, where the client knows it by one.")
    principal: str = Field(description="Whose turn it is: a keyed hash.")
    begins: bool = Field(description="Whether it began its conversation.")
    created_at: float
    answer_began_at: float | None
    answered_at: float | None
    confirmed_at: float | None = Field(description="When the client had the whole answer.")
    cancelled_at: float | None = Field(description="When its undoing began.")
    settled_at: float | None
    steps: dict[StepKind, StepState]
    looks: int = Field(description="How often in a row the conversation was seen gone.")
    rollbacks: int = Field(description="How often the conversation came back after its rollback.")
    cancellable: bool

    @classmethod
    def of(cls, turn: Turn) -> TurnOut:
        """Show a turn."""
        return cls(
            id=turn.id,
            route=turn.route,
            state=turn.state,
            cause=turn.cause,
            request_id=turn.request_id,
            conversation_id=turn.conversation_id,
            temp_id=turn.temp_id,
            principal=turn.principal,
            begins=turn.begins,
            created_at=turn.created_at,
            answer_began_at=turn.answer_began_at,
            answered_at=turn.answered_at,
            confirmed_at=turn.confirmed_at,
            cancelled_at=turn.cancelled_at,
            settled_at=turn.settled_at,
            steps=dict(turn.steps),
            looks=turn.looks,
            rollbacks=turn.rollbacks,
            cancellable=turn.state in CANCELLABLE,
        )


class TurnPage(Model):
    """Turns, newest first. `next` is the `before` of the following page; null: there is none."""

    turns: list[TurnOut]
    next: str | None


class StepOut(Model):
    """A call that is owed to the admin API, or was."""

    id: int
    turn_id: str
    kind: StepKind
    state: OutboxState
    attempts: int
    created_at: float = Field(description="Since when it is owed.")
    due_at: float = Field(description="When the next attempt is due, while it is pending.")
    delivered_at: float | None
    error: str | None = Field(description="Why the last attempt failed, or why it was dropped.")
    call: str | None = Field(description="The call as it is configured; null where it is not any more.")
    to: str = Field(description="Who is called.")


class StepPage(Model):
    """Steps, newest first. `next` is the `before` of the following page; null: there is none."""

    steps: list[StepOut]
    next: int | None


class EntryOut(Model):
    """Something that happened to a turn."""

    at: float
    what: Happening
    step: StepKind | None
    attempt: int | None = Field(description="The number of the attempt at the step, from 1.")
    detail: str | None

    @classmethod
    def of(cls, entry: HistoryEntry) -> EntryOut:
        """Show an entry."""
        return cls(at=entry.at, what=entry.what, step=entry.step, attempt=entry.attempt, detail=entry.detail)


class TurnDetail(Model):
    """A turn, its steps in the order of their calls, and all that is known to have happened to it, in order."""

    turn: TurnOut
    steps: list[StepOut]
    history: list[EntryOut]


class LiveOut(Model):
    """Turns under way: how many, and the newest of them."""

    count: int
    turns: list[TurnOut]


class CancelsOut(Model):
    """Cancels of the last hour: for each minute, the oldest first, their number by cause."""

    since: float
    minutes: list[dict[Cause, int]]


class LatencyOut(Model):
    """How long something took, over the latest times that it happened: seconds that so many percent did not exceed."""

    name: str
    count: int
    p50: float
    p95: float
    p99: float


class OutboxOut(Model):
    """What is owed: numbers by state (all but delivered), and the oldest steps that are owed or dead."""

    counts: dict[str, int]
    oldest_owed_at: float | None
    owed: list[StepOut]
    dead: list[StepOut]


class Overview(Model):
    """What the dashboard shows."""

    at: float
    version: str
    ready: dict[str, str | None] = Field(description="Why each part is not ready; null: it is.")
    live: LiveOut
    cancels: CancelsOut
    latencies: list[LatencyOut]
    outbox: OutboxOut


class ConfigOut(Model):
    """The settings in force; what may be a secret is masked."""

    settings: dict[str, JsonValue]


class ReloadOut(Model):
    """What a reload came to: with problems, the old configuration is still in force."""

    changed: list[str]
    waiting: list[str] = Field(description="What only a start can change.")
    problems: list[str]

    @classmethod
    def of(cls, reloaded: Reloaded) -> ReloadOut:
        """Show what a reload came to."""
        return cls(changed=[*reloaded.changed], waiting=[*reloaded.waiting], problems=[*reloaded.problems])


class Accepted(Model):
    """It will be done, at once or within a second."""

    accepted: Literal[True] = True


class Retried(Model):
    """How many dead steps will be tried again."""

    retried: int


class ProblemOut(Model):
    """Why a request was not fulfilled (RFC 9457), and what to do about it."""

    title: str
    status: int
    detail: str
    mend: str


class TurnQuery(Model):
    """Which turns."""

    state: State | None = Field(None, description="Only turns in this state.")
    cause: Cause | None = Field(None, description="Only turns with this cause.")
    route: str | None = Field(None, description="Only turns of this route.")
    limit: int = Field(50, ge=1, le=LIMIT_MAX, description="At most so many.")
    before: str | None = Field(None, description="`next` of the page before.")


class StepQuery(Model):
    """Which steps."""

    state: OutboxState | None = Field(None, description="Only steps in this state.")
    limit: int = Field(50, ge=1, le=LIMIT_MAX, description="At most so many.")
    before: int | None = Field(None, ge=1, description="`next` of the page before.")


class Nothing(Model):
    """An empty object."""


class DropIn(Model):
    """Why a step is dropped; the journal keeps it."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=REASON_CHARS_MAX)]
