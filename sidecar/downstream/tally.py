"""What the canonical log line says of an exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from sidecar.turn.state import Cause

DOWNSTREAM_LEFT: Final = 499
"""A status of logs and metrics only, by nginx's convention."""


class ExchangeObserver(Protocol):
    """Is told of exchanges that ended, to count them. Must neither raise nor take long."""

    def exchange_ended(self, status: int, failure: str | None) -> None:
        """Take note: an exchange ended with that status (0: none), and where it failed, with that code."""


class Unobserved:
    """An ExchangeObserver that takes no note."""

    def exchange_ended(self, status: int, failure: str | None) -> None:
        """Do nothing."""


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
    failure: str | None = None
    """The short code of the error that downstream was, or would have been, answered with."""
