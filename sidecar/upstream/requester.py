"""Who stands behind a connection to the upstream: the sender of a request, or the end of a tunnel. Never awaited."""

from __future__ import annotations

from typing import Protocol

from sidecar.upstream.answer import AnswerReceiver


class Requester(AnswerReceiver, Protocol):
    """Whoever sends a request, and takes its answer."""

    def upload_full(self) -> None:
        """Send no more for now."""

    def upload_drained(self) -> None:
        """Send on."""


class TunnelEnd(Protocol):
    """Whoever takes what comes through a connection that has switched protocols."""

    def upstream_received(self, data: bytes) -> None:
        """Take bytes."""

    def upstream_ended(self) -> None:
        """Take note that no more bytes will come; the upstream may still read."""

    def upstream_lost(self) -> None:
        """Take note that the connection is gone."""

    def upload_full(self) -> None:
        """Send no more for now."""

    def upload_drained(self) -> None:
        """Send on."""
