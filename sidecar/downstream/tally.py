"""What the canonical log line says of an exchange."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sidecar.downstream.routes import path_of
from sidecar.turn.state import Cause

if TYPE_CHECKING:
    from sidecar.downstream.request import Request
    from sidecar.turn.state import Turn

DOWNSTREAM_LEFT: Final = 499
"""A status of logs and metrics only, by nginx's convention."""

ABORTED_BY: Final = MappingProxyType(
    {
        Cause.OPERATOR: "operator",
        Cause.SHUTDOWN: "sidecar",
        Cause.EXPIRED: "sidecar",
        Cause.STALLED: "sidecar",
        Cause.UPSTREAM_FAILED: "upstream",
    }
)
"""Who ended an exchange before its end, where it was not the client."""

log = structlog.get_logger()


class ExchangeObserver(Protocol):
    """Is told of exchanges, to count them. Must neither raise nor take long."""

    def exchange_ended(self, status: int, failure: str | None) -> None:
        """Take note: an exchange ended with that status (0: none), and where it failed, with that code."""

    def body_not_inspected(self, route: str) -> None:
        """Take note: a chat request's body was too long to be looked into for ids."""


class Unobserved:
    """An ExchangeObserver that takes no note."""

    def exchange_ended(self, status: int, failure: str | None) -> None:
        """Do nothing."""

    def body_not_inspected(self, route: str) -> None:
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


def log_exchange(tally: Tally, request: Request, turn: Turn | None, *, now: float) -> None:
    """Write the canonical line: durations in milliseconds; no query, no body, no identity."""
    cause = turn.cause if turn is not None and turn.cause is not None else tally.cause
    log.info(
        "exchange",
        request_id=tally.request_id,
        turn=turn.id if turn else None,
        route=turn.route if turn else None,
        method=request.method,
        path=path_of(request.target),
        status=tally.status,
        aborted_by=_aborted_by(cause) if tally.status == DOWNSTREAM_LEFT else None,
        cause=cause.value if cause else None,
        state=turn.state.value if turn else None,
        bytes_up=tally.bytes_up,
        bytes_down=tally.bytes_down,
        head_ms=round((tally.head_at - tally.began_at) * 1000, 1) if tally.head_at else None,
        duration_ms=round((now - tally.began_at) * 1000, 1),
        error=tally.error,
    )


def _aborted_by(cause: Cause | None) -> str:
    return ABORTED_BY.get(cause, "downstream") if cause is not None else "downstream"
