"""The requests on one connection, read strictly one after the other; what is pipelined behind waits its turn.

bytes --HeadReader--> head --RequestBody--> body --> ahead: what is behind
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.downstream.request import Request, RequestBody
from sidecar.errors import MalformedError
from sidecar.wire.head_reader import HeadReader
from sidecar.wire.request_head import parse_request_head, request_framing

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.errors import PeerError
    from sidecar.wire.request_head import HeadLimits


class Intake:
    """What came in. `room` is called when more may be read than was allowed so far.

    `buffer_bytes_max` bounds what is held of pipelined requests while an earlier one is answered, and of a body that
    nobody takes; then downstream has to wait.
    """

    __slots__ = ("_ahead", "_body", "_buffer_bytes_max", "_limits", "_reader", "_room")

    def __init__(self, limits: HeadLimits, room: Callable[[], None], *, buffer_bytes_max: int) -> None:
        self._buffer_bytes_max = buffer_bytes_max
        self._limits = limits
        self._room = room
        self._reader = HeadReader(bytes_max=limits.head_bytes_max, line_bytes_max=limits.line_bytes_max)
        self._body: RequestBody | None = None
        self._ahead = b""

    @property
    def head_begun(self) -> bool:
        """Whether part of a head came."""
        return self._reader.begun

    @property
    def busy(self) -> bool:
        """Whether a request is not let go of: what comes is its body, or has to wait behind it."""
        return self._body is not None

    @property
    def awaits_body(self) -> bool:
        """Whether more of a body is to come."""
        return self._body is not None and not self._body.complete

    @property
    def uploading(self) -> bool:
        """Whether downstream is amid a body, of which nothing was wrong so far."""
        body = self._body
        return body is not None and not body.complete and body.error is None and body.size > 0

    @property
    def full(self) -> bool:
        """Whether downstream has to wait with more."""
        return len(self._ahead) > self._buffer_bytes_max or (self._body is not None and self._body.full)

    def read_head(self, data: bytes) -> Request | None:
        """Read on in a head; give the request with its end. Raises MalformedError."""
        found = self._reader.feed(data)
        if found is None:
            return None
        raw, behind = found
        head = parse_request_head(raw, self._limits)
        body = RequestBody(request_framing(head), self._room, held_max=self._buffer_bytes_max)
        if behind and not body.complete:
            behind = body.feed(behind)
        self._body, self._ahead = body, behind
        return Request(head, body)

    def read_behind(self, data: bytes) -> None:
        """Read on in a body, and keep what is behind it. Raises MalformedError."""
        body = self._body
        if body is not None and not body.complete:
            data = body.feed(data)
        self._ahead += data

    def skip(self, data: bytes) -> bool:
        """Drop what came for nobody; say whether a body ended with that, well or badly."""
        body = self._body
        if body is None or not self.uploading:
            return False
        try:
            body.skip(data)
        except MalformedError:
            return True
        return body.complete

    def end_request(self) -> bytes:
        """Let go of the request; give what came behind it."""
        self._body = None
        ahead, self._ahead = self._ahead, b""
        return ahead

    def end(self) -> None:
        """Tell nobody of room any more: the connection is closed."""
        self._room = _nobody

    def fail_body(self, error: PeerError) -> None:
        """Take note that the rest of a body will not come; harmless when it came."""
        if self._body is not None:
            self._body.fail(error)


def _nobody() -> None:
    """Nobody is told."""
