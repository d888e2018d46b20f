"""What can happen to a turn. Past facts, each with the time (`at`, seconds since the epoch) at which it was seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.turn.state import NOTHING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.turn.state import Cause, StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a turn."""

    at: float


class Forwarded(Event):
    """The request is about to reach the upstream: from here on it may have heard of the turn."""

    __slots__ = ()


class AnswerBegan(Event):
    """The upstream's answer has begun: it has surely heard of the turn."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IdsLearned(Event):
    """The upstream told values that were still unknown: in its head, its stream, or its answer to the cancel call."""

    captured: Mapping[str, str]


class Refused(Event):
    """The upstream answered with an error status (400 and above)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEnded(Event):
    """The answer is whole: its terminal frame or its end was read, and downstream was still there.

    `captured` holds what only the end can tell: the real id of a conversation that had a temporary one.
    """

    captured: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedUnseen(Event):
    """The answer is whole, and downstream was away; its leaving is no reason to undo it (policy `complete`, grace).

    `captured` as in AnswerEnded.
    """

    captured: Mapping[str, str] = field(default_factory=dict)


class Delivered(Event):
    """Downstream took the whole answer, as far as can be told."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DownstreamGone(Event):
    """Downstream left before the whole answer was delivered."""

    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested(Event):
    """Someone who may do so asked for the turn to be cancelled."""

    cause: Cause


class UpstreamLost(Event):
    """Nothing more will come from the upstream: it broke off, was silent past its limit, or its drain is over."""

    __slots__ = ()


class Expired(Event):
    """The turn is older than a temporary conversation may become."""

    __slots__ = ()


class Restarted(Event):
    """The sidecar came back and found the turn in its journal, without its connections."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDelivered(Event):
    """The upstream said done, or (`gone`) that there is no such thing. `captured` holds what its answer told.

    `kept`: a rollback that was not made, because another turn in the conversation was delivered (law 3).
    """

    kind: StepKind
    gone: bool = False
    kept: bool = False
    captured: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDied(Event):
    """A step was given up after its last attempt."""

    kind: StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDropped(Event):
    """The operator wants a step no more, whether it is dead or still owed."""

    kind: StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRevived(Event):
    """The operator wants a dead step tried again."""

    kind: StepKind
