"""Who a connection is busy with, and tells of what becomes of downstream. Called synchronously; raises nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sidecar.turn.state import Cause


class Occupant(Protocol):
    """The exchange, or the tunnel, that a connection is busy with."""

    def left(self, cause: Cause) -> None:
        """Take note: downstream is gone."""

    def downstream_full(self) -> None:
        """Send no more for now."""

    def downstream_drained(self) -> None:
        """Send on."""


class TunnelEnd(Occupant, Protocol):
    """A tunnel: what comes belongs to it, as it is."""

    def downstream_received(self, data: bytes) -> None:
        """Take bytes."""

    def downstream_ended(self) -> None:
        """Take note that no more bytes will come; downstream may still read."""
