"""What has to be done after a step of the machine. Imperatives, of two kinds.

An `OutboxEffect` is committed in the same transaction as the state that caused it: it is never lost. A `LocalEffect`
acts on a connection of this process; a crash loses it together with the connection, so it need not be durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.turn.state import StepKind


class Effect:
    """Something to be done."""

    __slots__ = ()


class OutboxEffect(Effect):
    """Durable: it changes the outbox."""

    __slots__ = ()


class LocalEffect(Effect):
    """Of this process only: it acts on a connection."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Owe(OutboxEffect):
    """A step is owed, to be made `after_s` seconds from now; or owed again, if it was over."""

    kind: StepKind
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AbortDownstream(LocalEffect):
    """Relay nothing more, and end downstream's connection visibly."""


@dataclass(frozen=True, slots=True)
class CloseUpstream(LocalEffect):
    """The upstream's answer is of no more use: close its connection."""


@dataclass(frozen=True, slots=True)
class DrainUpstream(LocalEffect):
    """Read the upstream's answer on, unseen by anyone, until the missing ids show (law 4)."""
