"""Why turns are cancelled: told once for each, in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from sidecar.turn.state import State

if TYPE_CHECKING:
    from sidecar.turn.state import Turn

_BEFORE: Final = frozenset({State.OPEN, State.ANSWERED, State.CONFIRMING, State.COMPLETED})

log = structlog.get_logger()


def tell(before: Turn, after: Turn) -> None:
    """Tell of a turn that has just been cancelled; of any other, nothing."""
    if before.state in _BEFORE and after.state not in _BEFORE and after.cause is not None:
        log.info(
            "cancelled",
            turn=after.id,
            request_id=after.request_id,
            route=after.route,
            cause=after.cause.value,
            was=before.state.value,
            state=after.state.value,
        )
