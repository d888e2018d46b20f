"""Who stands behind a connection to the upstream: who sends a request, the end of a tunnel, and who keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sidecar.upstream.answer import AnswerReceiver

if TYPE_CHECKING:
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.silence import Silences


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


class Keeper(Protocol):
    """Whoever made a connection."""

    silences: Silences
    """For how long its connections bear an upstream that says nothing."""

    def keep(self, connection: UpstreamConnection) -> None:
        """Take a connection back that can be used again."""

    def forget(self, connection: UpstreamConnection) -> None:
        """Let a connection go that is closed."""
