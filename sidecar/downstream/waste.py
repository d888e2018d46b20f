"""What was generated for nobody: bytes and seconds of answers that ran on after their client had left.

Counted by route and cause; one log line for each such answer.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import structlog

log = structlog.get_logger()


@dataclass(slots=True)
class Wasted:
    """A sum: answers, bytes of their bodies as they came, and seconds from the leaving to the upstream's end."""

    answers: int = 0
    bytes: int = 0
    seconds: float = 0.0


class Waste:
    """The sums so far, by (route, cause)."""

    def __init__(self) -> None:
        self.sums: defaultdict[tuple[str, str], Wasted] = defaultdict(Wasted)

    def add(self, route: str, cause: str, *, count: int, seconds: float, turn: str) -> None:
        """Add an answer's waste."""
        wasted = self.sums[route, cause]
        wasted.answers += 1
        wasted.bytes += count
        wasted.seconds += seconds
        log.info("unseen", turn=turn, route=route, cause=cause, bytes=count, seconds=round(seconds, 3))
