"""What a client holds: its connection, with aiohttp's parser in front and the raw transport behind.

Adds to aiohttp's handler what a relay of streams needs: the client's leaving is told to the exchange at once, back-
pressure reaches the upstream, a head has to be in by its time, and a client that takes no byte for long is gone.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from sidecar.downstream.answers import Answer, answer_bytes
from sidecar.downstream.sockets import cause_of, reset_on_close, time_out_cause, tune, unacknowledged
from sidecar.downstream.stall import StallWatch
from sidecar.turn.state import Cause

if TYPE_CHECKING:
    import asyncio
    import socket

    from aiohttp import StreamReader

    from sidecar.config import Listen
    from sidecar.downstream.delivery import DeliveryWatch, Handover
    from sidecar.downstream.watch import DisconnectWatch

log = structlog.get_logger()

HEAD_TIMEOUT = Answer(HTTPStatus.REQUEST_TIMEOUT, "head_timeout", "The request's head did not come in time.")


class Occupant(Protocol):
    """The exchange that a connection is busy with."""

    def left(self, cause: Cause) -> None:
        """Take note: downstream is gone."""

    def downstream_full(self) -> None:
        """Send no more for now."""

    def downstream_drained(self) -> None:
        """Send on."""


class Connection(RequestHandler):
    """One downstream connection; busy with at most one exchange at a time, pipelined requests wait their turn."""

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        listen: Listen,
        watch: DisconnectWatch,
        delivery: DeliveryWatch,
        **aiohttp_settings: Any,  # noqa: ANN401  (handed through)
    ) -> None:
        super().__init__(manager, loop=loop, **aiohttp_settings)
        self.departed: Cause | None = None
        self.retiring = False
        self.handovers: set[Handover] = set()
        self._listen = listen
        self._watch = watch
        self._delivery = delivery
        self._occupant: Occupant | None = None
        self._number = -1
        self._wire: asyncio.WriteTransport | None = None
        self._newest_body: StreamReader | None = None
        self._head_begun = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall = StallWatch(loop, listen.write_timeout_s, self.unacknowledged, self._stuck)

    # -- for the exchange ------------------------------------------------------------------------------------------

    def occupy(self, occupant: Occupant) -> None:
        """Make an exchange the one to be told; its request also proves that earlier answers arrived."""
        self._occupant = occupant
        self._cancel_head_timer()
        for handover in tuple(self.handovers):
            self._delivery.confirm(handover)

    def vacate(self, occupant: Occupant) -> None:
        """Let the exchange go."""
        if self._occupant is occupant:
            self._occupant = None
            self._head_begun = False

    def write(self, data: bytes) -> None:
        """Write bytes, unless downstream is gone."""
        if self.transport is not None and self.departed is None and data:
            self.transport.write(data)
            self._stall.wrote(len(data))

    def end_writing(self) -> None:
        """Say that nothing more will come, so that a body without framing ends; the connection stays to be asked."""
        if self.transport is not None and self.departed is None and self.transport.can_write_eof():
            self.transport.write_eof()

    def abort(self, *, framed: bool = True) -> None:
        """End the connection at once, what is unsent being dropped; visibly so where no framing tells."""
        if self.transport is not None:
            if not framed:
                reset_on_close(self.transport)
            self.transport.abort()
            self._let_go()

    def break_off(self, *, framed: bool) -> None:
        """End the connection so that downstream sees its answer cut short: by missing framing, else by a reset."""
        if self.transport is not None:
            if not framed:
                reset_on_close(self.transport)
            self._let_go()

    def retire(self) -> None:
        """Serve no further request: close when idle, else after the exchange under way."""
        self.retiring = True
        if self._occupant is None:
            self.force_close()

    def unacknowledged(self) -> int:
        """Give the bytes that the client has not acknowledged."""
        return unacknowledged(self._wire) if self._wire is not None else 0

    # -- from the watch and the loop -------------------------------------------------------------------------------

    def left(self, cause: Cause) -> None:
        """Take note, once, that downstream is gone."""
        if self.departed is not None:
            return
        self.departed = cause
        for handover in tuple(self.handovers):
            self._delivery.left(handover, cause)
        if self._occupant is not None:
            self._occupant.left(cause)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the socket is set up and watched."""
        super().connection_made(transport)
        assert self.transport is not None
        self._wire = self.transport
        tune(self.transport, write_timeout_s=self._listen.write_timeout_s)
        sock = self.transport.get_extra_info("socket")
        self._number = sock.fileno()
        self._watch.watch(sock, self.left)
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        """Take in request bytes."""
        if data and self._awaits_head:
            self._head_begun = True
            if self._head_timer is None:
                self._start_head_timer()
        super().data_received(data)
        if self._messages:
            self._cancel_head_timer()
            self._look_at_newest()

    def eof_received(self) -> None:
        """Take note: the client has finished sending. That is a departure (docs: half-close)."""
        self.left(Cause.CLOSED)
        super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End: the descriptor is still valid, and still ours, until here."""
        self._watch.forget(self._number)
        self._cancel_head_timer()
        self._stall.end()
        self.left(Cause.CLOSED if exc is None else self._cause_of(exc))
        super().connection_lost(exc)
        self._end_body()

    def pause_writing(self) -> None:
        """Take note: the client takes less than it is sent."""
        super().pause_writing()
        if self._occupant is not None:
            self._occupant.downstream_full()

    def resume_writing(self) -> None:
        """Take note: the client has caught up."""
        super().resume_writing()
        if self._occupant is not None:
            self._occupant.downstream_drained()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  (it may quote the client's bytes)
    ) -> web.StreamResponse:
        """Answer what aiohttp could not parse, without a traceback in the log or a word of the parser's.

        What a handler raises comes here, too: that is a bug of ours, and must show.
        """
        text = '{"error": "bad_request", "message": "The request could not be read."}\n'
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request_failed", method=request.method, exc_info=exc)
            text = '{"error": "internal_error", "message": "The sidecar failed."}\n'
        response = web.Response(status=status, text=text, content_type="application/json")
        response.force_close()
        return response

    def _let_go(self) -> None:
        self.force_close()
        self._end_body()

    def _end_body(self) -> None:
        """Tell whoever still reads a body: an exchange, or aiohttp, which reads the rest away."""
        if self._newest_body is not None and not self._newest_body.is_eof():
            self._newest_body.set_exception(ConnectionResetError("the connection has ended"))

    def _look_at_newest(self) -> None:
        """Tell whoever reads a body that it is malformed: aiohttp's parser forgets the body and would let them wait."""
        message, body = self._messages[-1]
        if not isinstance(message, _ErrInfo):
            self._newest_body = body
        elif self._newest_body is not None and not self._newest_body.is_eof():
            self._messages.pop()
            self.close()
            self._newest_body.set_exception(web.RequestPayloadError("malformed"))

    @property
    def _awaits_head(self) -> bool:
        """Whether what comes next begins a head, and is not the rest of a body."""
        busy = self._occupant is not None or self._request_in_progress or self._messages
        return not busy and (self._newest_body is None or self._newest_body.is_eof())

    def log_exception(self, *args: Any, **kw: Any) -> None:  # noqa: ANN401  (aiohttp's signature)
        """Log what goes wrong in aiohttp, but not that the connection ended while the rest of a body was being read."""
        if self.transport is not None:
            super().log_exception(*args, **kw)

    @property
    def _socket(self) -> socket.socket:
        assert self._wire is not None
        sock: socket.socket = self._wire.get_extra_info("socket")
        return sock

    def _stuck(self) -> None:
        self.left(time_out_cause(self._socket))
        if self._wire is not None:
            self._wire.abort()  # it may be closing already, with bytes that nobody takes

    def _cause_of(self, error: BaseException) -> Cause:
        return cause_of(error.errno if isinstance(error, OSError) else None, self._socket)

    # -- timers ----------------------------------------------------------------------------------------------------

    def _start_head_timer(self) -> None:
        self._head_timer = self._loop.call_later(self._listen.head_timeout_s, self._head_late)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if self._occupant is None and self.transport is not None:
            if self._head_begun:
                self.write(answer_bytes(HEAD_TIMEOUT, added=[], close=True, head_only=False))
            self.force_close()


def end_broken_body(content: StreamReader) -> None:
    """Keep aiohttp from reading on in a body that is malformed or cut short, and from logging what it then finds."""
    if content.exception() is not None:
        content.feed_eof()
