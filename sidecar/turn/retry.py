"""When a step is tried again: exponential backoff, jittered, never sooner than the upstream asked for.

And when "there is no such thing" is not believed yet: a request that is cancelled right after it was sent may reach
the upstream after its own cancel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.turn.state import Turn

RETRY_AFTER_MAX_S: Final = 3600.0
ARRIVAL_MAX_S: Final = 3.0
"""How long a forwarded request may stay unheard in the upstream's queue before its absence counts."""
_DOUBLINGS_MAX: Final = 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The pace of retries: a first wait, a longest wait (both seconds), and the number of attempts in all."""

    first_s: float
    max_s: float
    attempts_max: int


def retry_delay_s(backoff: Backoff, *, attempts: int, jitter: float, retry_after_s: float | None) -> float | None:
    """Give the seconds to wait after the given number of attempts (1 or more), or None when no attempt is left.

    `jitter` is in [0, 1) and spreads the wait over the upper half of its range. `retry_after_s` (RFC 9110, 10.2.3) is
    honoured up to an hour.
    """
    if attempts >= backoff.attempts_max:
        return None
    wait_s = min(backoff.max_s, backoff.first_s * 2.0 ** min(attempts - 1, _DOUBLINGS_MAX))
    jittered_s = wait_s * (0.5 + 0.5 * jitter)
    return max(jittered_s, min(retry_after_s or 0.0, RETRY_AFTER_MAX_S))


def gone_counts(turn: Turn, *, unknown_for_s: float) -> bool:
    """Say whether the upstream's "already gone" can be believed: it must have heard of the turn before.

    `unknown_for_s` counts from the first time that it said so, in seconds. The turn's age would not do: connecting to
    a busy upstream may have taken longer than that.
    """
    return turn.answer_began_at is not None or unknown_for_s >= ARRIVAL_MAX_S
