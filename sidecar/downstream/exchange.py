"""One request and its response, relayed unchanged: bytes go from socket to socket, and nothing else is waited for.

        downstream --request--> forward --> upstream
        connection <--- body_received, synchronously, from the upstream's data_received

A task runs only until the request is on its way: an exchange that waits holds none. It is over exactly once: when the
last byte was handed over, when either side is gone, or when it failed. Upstream down is a 502, silent past its limit a
504; dying mid-answer breaks downstream's connection off visibly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sidecar.downstream.answer_writer import AnswerWriter
from sidecar.downstream.answers import answer_for
from sidecar.downstream.body import Piece
from sidecar.downstream.headers import onward
from sidecar.downstream.tally import DOWNSTREAM_LEFT, Tally, log_exchange
from sidecar.downstream.trace import trace_of
from sidecar.downstream.tunnel import Tunnel
from sidecar.downstream.upload import Upload
from sidecar.errors import BugError, SidecarError
from sidecar.turn.state import Cause
from sidecar.wire.fields import head_bytes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Iterable
    from http import HTTPStatus

    from sidecar.downstream.connection import Connection
    from sidecar.downstream.edge import Edge
    from sidecar.downstream.request import Request
    from sidecar.downstream.server import Front
    from sidecar.errors import PeerError
    from sidecar.turn.state import Turn
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.wire.answer_head import Head
    from sidecar.wire.fields import Field
    from sidecar.wire.framing import Framing

log = structlog.get_logger()


class Exchange:
    """Relays one request and its response. It receives the upstream's answer and occupies its connection."""

    def __init__(self, edge: Edge, front: Front, connection: Connection, request: Request) -> None:
        loop = front.loop
        request_id = request.fields.get(b"x-request-id")
        self.tally = Tally(loop.time(), request_id.decode("latin-1") if request_id is not None else None)
        self._edge = edge
        self._front = front
        self._connection = connection
        self._request = request
        self._loop = loop
        self._over: asyncio.Future[None] = loop.create_future()
        self._answer = AnswerWriter(connection, request, self.tally)
        self._upstream: UpstreamConnection | None = None
        self._plain = False  # the answer's bytes are only passed on now, as most of a stream's are
        self._upload = Upload(request.body, self)
        self._task: asyncio.Task[None] | None = None
        self._trace = trace_of(edge.tracer, request, scheme=connection.peer.scheme)
        self._route: str | None = None

    @property
    def turn(self) -> Turn | None:
        """The turn that the exchange is about; None where it is only relayed."""
        return None

    def begin(self) -> None:
        """Begin to relay; the connection is told when it is over."""
        self._over.add_done_callback(self._wind_up)
        self._connection.occupy(self)
        if self._connection.departed is not None:  # its FIN came before its request was read
            self.left(self._connection.departed)
        else:
            self._start()

    def report(self) -> None:
        """Say what came of the exchange, which is over, to those who log and count."""
        log_exchange(self.tally, self._request, self.turn, now=self._loop.time())
        self._edge.observer.exchange_ended(self.tally.status, self.tally.failure)

    def _start(self) -> None:
        upstream = self._edge.pool.check_out(repeatable=self._request.body.complete)
        if upstream is None:
            self._run(self._forward())
        else:
            self._send(upstream, self._request_fields())

    def _run(self, work: Coroutine[None, None, None]) -> None:
        """Do what takes a wait, in the background; what it raises is the exchange's failure."""
        context = None if self._trace is None else self._trace.context
        self._task = self._loop.create_task(self._attempt(work), context=context)

    async def _attempt(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except SidecarError as error:
            self._fail(error)
        except Exception as error:  # a bug of ours
            log.exception("request_failed", method=self._request.method)
            self._fail(BugError(repr(error)))
        finally:
            self._task = None

    def _wind_up(self, over: asyncio.Future[None]) -> None:
        """Let go of everything but the connection, which goes on."""
        del over
        self._connection.vacate()
        self._upload.stop()
        self._request.body.abandon()
        self.tally.bytes_up += self._request.body.size
        self._end(keep=self._answer.keeps)

    def _end(self, *, keep: bool) -> None:
        self._front.ended(self)
        if self._trace is not None:
            self._trace.end(self.tally, self._route, self.turn, now=self._loop.time())
        self._connection.proceed(keep=keep)

    # -- towards the upstream ------------------------------------------------------------------------------------------

    async def _forward(self) -> None:
        """Send the request as soon as there is a connection."""
        upstream = await self._edge.pool.connect(fresh=False, gone=self._over)
        if self._over.done():
            upstream.abort()
        else:
            self._send(upstream, self._request_fields())

    def _send(self, upstream: UpstreamConnection, fields: Iterable[Field]) -> None:
        """Send head and the body so far; the rest of the body follows as it comes."""
        self._upstream = upstream
        upstream.begin(self, method=self._request.method, offers_upgrade=self._offers_upgrade)
        self._upload.begin(upstream, head_bytes(self._request.line, fields))
        self._request.let_go()

    async def _send_again(self, request: bytes) -> None:
        """Send a request that provably never left on a connection of its own (RFC 9110, 9.2.2: any method may be)."""
        upstream = await self._edge.pool.connect(fresh=True, gone=self._over)
        if self._over.done():
            upstream.abort()
            return
        self._upstream = upstream
        upstream.begin(self, method=self._request.method, offers_upgrade=self._offers_upgrade)
        upstream.send(request)
        upstream.request_sent()

    def upload_broke(self, error: PeerError) -> None:
        """End a request whose body is malformed, late or cut short: the upstream must not take it for whole."""
        if not self._over.done():
            self.tally.cause = Cause.UPLOAD_CUT
            self._fail(error)

    @property
    def _heedless(self) -> bool:
        """Whether nothing of the rest of the answer but its end matters here."""
        return True

    @property
    def _offers_upgrade(self) -> bool:
        return self._request.upgrade is not None

    def _request_fields(self) -> list[Field]:
        fields = onward(self._request, self._connection.peer, host=self._edge.pool.host, upgrades=self._offers_upgrade)
        return fields if self._trace is None else self._trace.onward(fields)

    # -- from the upstream (Requester) ---------------------------------------------------------------------------------

    def upload_full(self) -> None:
        """Let downstream wait with the rest of its body."""
        self._connection.hold_back()

    def upload_drained(self) -> None:
        """Let downstream go on."""
        self._connection.let_on()

    def informational_received(self, head: Head, raw: bytes) -> None:
        """Pass a 1xx on as it came; HTTP/1.0 knows none (RFC 9110, 15.2)."""
        del head
        if not self._request.speaks_1_0:
            self._connection.write(raw)

    def switched(self, head: Head, raw: bytes, behind: bytes) -> None:
        """Become a tunnel: the 101 passes on as it came."""
        assert self._upstream is not None
        self._take_head(head)
        self._upload.stop()
        self._connection.write(raw)
        tunnel = Tunnel(self._connection, self._upstream, self.tally, over=self._finish)
        tunnel.begin(behind)

    def head_received(self, head: Head, framing: Framing, *, alone: bool) -> None:
        """Write the answer's head."""
        self._take_head(head)
        self._answer.write_head(head, framing, added=[], alone=alone, last=self._front.retiring)

    def body_received(self, data: bytes, framing: Framing, *, last: bool) -> None:
        """Write bytes of the answer as they came."""
        if self._plain and not last:
            self.tally.bytes_down += len(data)
            self._connection.write(data)
            return
        if last:
            self._upstream = None  # the pool has it back
        self._take_piece(Piece(data, framing.spans), last=last)

    def answer_failed(self, error: PeerError) -> None:
        """Take note: the upstream broke off or was silent for too long."""
        upstream, self._upstream = self._upstream, None
        request, self._upload.again = self._upload.again, None
        if upstream is not None and request is not None and not self._over.done() and upstream.unheard:
            self._run(self._send_again(request))
        else:
            self._fail(error)

    def _take_piece(self, piece: Piece, *, last: bool) -> None:
        self._write_piece(piece)
        if last:
            self._end_answer()

    def _take_head(self, head: Head) -> None:
        self._upload.again = None
        self.tally.status = head.status
        self.tally.head_at = self._loop.time()

    def _write_piece(self, piece: Piece) -> None:
        self._answer.write_piece(piece)
        self._plain = self._answer.plain and self._heedless and not self._over.done()
        if self._connection.writing_paused and self._upstream is not None:
            self._upstream.pause_reading()

    def _end_answer(self) -> None:
        self._answer.end()
        self._finish()

    # -- endings -------------------------------------------------------------------------------------------------------

    def left(self, cause: Cause) -> None:
        """Downstream is gone: the upstream is told at once."""
        self._note_departure(cause)
        self.close_upstream()
        self._finish(keep=False)
        self._connection.abort(framed=self._answer.framed)

    def downstream_full(self) -> None:
        """Hold the upstream back."""
        if self._upstream is not None:
            self._upstream.pause_reading()

    def downstream_drained(self) -> None:
        """Let the upstream go on."""
        if self._upstream is not None:
            self._upstream.resume_reading()

    def close_upstream(self) -> None:
        """Close the upstream's connection."""
        if self._upstream is not None:
            self._upstream.abort()

    def _note_departure(self, cause: Cause | None) -> None:
        delivered = self.turn is not None and self.turn.confirmed_at is not None  # law 5: behind a terminal frame
        if not self._over.done() and not delivered:
            self.tally.status = DOWNSTREAM_LEFT
            self.tally.cause = self.tally.cause or cause

    def _finish(self, *, keep: bool | None = None) -> None:
        if keep is not None:
            self._answer.keeps = keep
        self._plain = False
        if not self._over.done():
            self._over.set_result(None)

    def _fail(self, error: SidecarError) -> None:
        """Answer with a proper status while nothing was sent; later, break the connection off."""
        if self._over.done():
            return
        self.tally.error, self.tally.failure = str(error), answer_for(error).error
        self.close_upstream()
        if not self._answer.begun:
            answer = answer_for(error)
            self._reply(answer.status, answer.body, [*answer.fields, *self._own_fields()])
        else:
            self._finish(keep=False)  # first: what breaks off with the connection is no failure of its own
            self._answer.flush()
            self._connection.break_off(framed=self._answer.framed)

    def _reply(self, status: HTTPStatus, body: bytes, added: Iterable[Field] = ()) -> None:
        """Answer here what the upstream does not."""
        self._answer.write_own(status, body, added, last=self._front.retiring)
        self._finish()

    def _own_fields(self) -> list[Field]:
        return []
