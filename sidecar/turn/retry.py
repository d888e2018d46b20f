"""When a failed step is tried again: exponential backoff, jittered, never sooner than the upstream asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RETRY_AFTER_MAX_S: Final = 3600.0
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
