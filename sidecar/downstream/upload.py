"""Sends one request upstream: its head and what is there of its body in one write, the rest at once as it comes.

The bytes pass as they came, framing and all. The upstream's pace is downstream's: while it takes no more, nothing more
is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sidecar.downstream.request import RequestBody
    from sidecar.errors import PeerError
    from sidecar.upstream.connection import UpstreamConnection


class Uploader(Protocol):
    """Whose request it is."""

    def upload_broke(self, error: PeerError) -> None:
        """Take note that the body will not come whole: the upstream must not take the request for that."""


class Upload:
    """The sending of one request: the body's taker."""

    __slots__ = ("_body", "_upstream", "_whose", "again")

    def __init__(self, body: RequestBody, whose: Uploader) -> None:
        self.again: bytes | None = None
        """The whole request, while it may have to be sent again because its connection was a kept one."""
        self._body = body
        self._whose: Uploader | None = whose
        self._upstream: UpstreamConnection | None = None

    def begin(self, upstream: UpstreamConnection, head: bytes) -> None:
        """Send the head and the body so far; the rest follows. Nothing is sent where it is known not to."""
        if self._body.error is not None:
            self.body_broke(self._body.error)
            return
        sent = head + self._body.take()
        upstream.send(sent)
        if self._body.complete:
            self.again = sent if upstream.reused else None
            upstream.request_sent()
        else:
            self._upstream = upstream
            self._body.flow(self)

    def stop(self) -> None:
        """Send nothing more; harmless when done twice."""
        self._upstream = self._whose = None

    def body_received(self, data: bytes) -> None:
        """Send what came."""
        upstream = self._upstream
        if upstream is None:
            return
        upstream.send(data)
        if self._body.complete:
            self._upstream = None
            upstream.request_sent()

    def body_broke(self, error: PeerError) -> None:
        """Take note that the rest will not come."""
        if self._whose is not None:
            self._whose.upload_broke(error)
