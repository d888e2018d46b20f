"""What the canonical log line says of an exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.turn.state import Cause

DOWNSTREAM_LEFT: Final = 499
"""A status of logs and metrics only, by nginx's convention."""


@dataclass(slots=True)
class Tally:
    """The figures of one exchange; times are the loop's, in seconds."""

    began_at: float
    request_id: str | None = None
    status: int = 0
    cause: Cause | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    head_at: float | None = None
    error: str | None = None
