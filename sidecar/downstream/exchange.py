"""One request and its response, relayed unchanged: bytes go from socket to socket, and nothing else is waited for.

        downstream --request--> forward --> upstream
        connection <--- body_received, synchronously, from the upstream's data_received

An exchange is over exactly once: when the last byte was handed over, when either side is gone, or when it failed.
Upstream down is a 502, silent past its limit a 504; dying mid-answer breaks downstream's connection off visibly.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.downstream.answers import answer_bytes, answer_for
from sidecar.downstream.body import Coding, Piece, encode, end_of
from sidecar.downstream.connection import end_broken_body
from sidecar.downstream.headers import Field, end_to_end, forwarded, head_bytes, with_fields, without
from sidecar.downstream.tally import DOWNSTREAM_LEFT, Tally
from sidecar.downstream.upload import Upload
from sidecar.errors import DownstreamGoneError, SidecarError
from sidecar.turn.state import Cause
from sidecar.upstream.framing import ChunkedBody, UntilCloseBody

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from sidecar.downstream.connection import Connection
    from sidecar.downstream.edge import Edge
    from sidecar.downstream.headers import Peer
    from sidecar.errors import PeerError
    from sidecar.turn.state import Turn
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.framing import Framing
    from sidecar.upstream.head import Head


class Exchange:
    """Relays one request and its response. It receives the upstream's answer and occupies its connection."""

    def __init__(self, edge: Edge, connection: Connection, request: web.BaseRequest, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        self.tally = Tally(loop.time(), request.headers.get("X-Request-Id"))
        self._edge = edge
        self._connection = connection
        self._request = request
        self._peer = peer
        self._loop = loop
        self._over: asyncio.Future[None] = loop.create_future()
        self._keep = False
        self._head: Head | None = None
        self._framed_answer = True
        self._coding = Coding.AS_CAME
        self._upstream: UpstreamConnection | None = None
        self._upload = Upload(request, self._upload_broke)
        self._sending_again: asyncio.Task[None] | None = None

    @property
    def turn(self) -> Turn | None:
        """The turn that the exchange is about; None where it is only relayed."""
        return None

    async def run(self) -> bool:
        """Relay; give whether downstream's connection may serve another request."""
        self._connection.occupy(self)
        try:
            if self._connection.departed is not None:  # its FIN came before its request was read
                self.left(self._connection.departed)
            else:
                await self._forward()
            await self._over
        except SidecarError as error:
            self._fail(error)
        finally:
            self._connection.vacate(self)
            self._end_upload()
            end_broken_body(self._request.content)
        return self._keep

    # -- towards the upstream --------------------------------------------------------------------------------------

    async def _forward(self) -> None:
        upstream = await self._edge.pool.connect(fresh=False)
        if self._over.done():
            upstream.abort()
            return
        self._send(upstream, self._upload.take_buffered(), self._request_fields())

    def _send(self, upstream: UpstreamConnection, body: bytes, fields: Iterable[Field]) -> None:
        """Send head and the body so far; the rest of the body follows as it comes."""
        self._upstream = upstream
        upstream.begin(self, method=self._request.method)
        self._upload.begin(upstream, head_bytes(self._request_line(), fields), body)

    async def _send_again(self, request: bytes) -> None:
        """Send a request that provably never left on a connection of its own (RFC 9110, 9.2.2: any method may be)."""
        try:
            upstream = await self._edge.pool.connect(fresh=True)
        except SidecarError as error:
            self._fail(error)
            return
        if self._over.done():
            upstream.abort()
            return
        self._upstream = upstream
        upstream.begin(self, method=self._request.method)
        self._upload.send_whole(upstream, request)

    def _upload_broke(self, error: Exception) -> None:
        """End a request whose body is malformed or cut short: the upstream must not take it for whole."""
        if not self._over.done():
            self.tally.cause = Cause.UPLOAD_CUT
            self._fail(DownstreamGoneError(type(error).__name__))

    def _end_upload(self) -> None:
        self._upload.stop()
        self.tally.bytes_up = self._upload.body_bytes
        if self._sending_again is not None:
            self._sending_again.cancel()

    def _request_line(self) -> bytes:
        target = self._request.raw_path.encode("utf-8", "surrogateescape")
        return b"%b %b HTTP/1.1" % (self._request.method.encode(), target)

    def _request_fields(self) -> list[Field]:
        came = self._request.raw_headers
        fields = forwarded(end_to_end(came), self._peer)
        if "Host" not in self._request.headers:
            fields.insert(0, (b"Host", self._edge.pool.host))
        return fields

    # -- from the upstream (AnswerReceiver) ------------------------------------------------------------------------

    def informational_received(self, head: Head, raw: bytes) -> None:
        """Pass a 1xx on as it came; HTTP/1.0 knows none (RFC 9110, 15.2)."""
        del head
        if not self._speaks_1_0:
            self._connection.write(raw)

    def head_received(self, head: Head, framing: Framing) -> None:
        """Write the answer's head."""
        self._take_head(head)
        self._choose_coding(framing)
        self._write_head(added=[])

    def body_received(self, data: bytes, framing: Framing, *, last: bool) -> None:
        """Write bytes of the answer as they came."""
        if last:
            self._upstream = None  # the pool has it back
        self._write_piece(Piece(data, framing.spans))
        if last:
            self._end_answer()

    def answer_failed(self, error: PeerError) -> None:
        """Take note: the upstream broke off or was silent for too long."""
        upstream, self._upstream = self._upstream, None
        request, self._upload.again = self._upload.again, None
        if upstream is not None and request is not None and upstream.unheard:
            self._sending_again = asyncio.create_task(self._send_again(request))
        else:
            self._fail(error)

    def _take_head(self, head: Head) -> None:
        self._head = head
        self._upload.again = None
        self.tally.status = head.status
        self.tally.head_at = self._loop.time()

    @property
    def _speaks_1_0(self) -> bool:
        return self._request.version < (1, 1)

    def _choose_coding(self, framing: Framing) -> None:
        """Decide how the body is written, and whether the connection outlives it."""
        if self._speaks_1_0 and isinstance(framing, ChunkedBody):
            self._coding = Coding.UNTIL_CLOSE
        self._framed_answer = self._coding is Coding.CHUNKED or (
            self._coding is Coding.AS_CAME and not isinstance(framing, UntilCloseBody)
        )
        self._keep = self._request.keep_alive and self._framed_answer

    def _write_head(self, *, added: list[Field]) -> None:
        assert self._head is not None
        fields = with_fields(end_to_end(self._head.fields), added)
        if self._coding is not Coding.AS_CAME:
            fields = without(fields, b"content-length", b"transfer-encoding", b"trailer")
        if self._coding is Coding.CHUNKED:
            fields.append((b"Transfer-Encoding", b"chunked"))
        if not self._keep:
            fields.append((b"Connection", b"close"))
        elif self._speaks_1_0:
            fields.append((b"Connection", b"keep-alive"))
        line = b"HTTP/1.1 %d %b" % (self._head.status, self._head.reason)
        self._connection.write(head_bytes(line, fields))

    def _write_piece(self, piece: Piece) -> None:
        data = encode(piece, self._coding)
        self.tally.bytes_down += len(data)
        self._connection.write(data)
        if self._connection.writing_paused and self._upstream is not None:
            self._upstream.pause_reading()

    def _end_answer(self) -> None:
        self._connection.write(end_of(self._coding))
        self._finish()

    # -- endings ---------------------------------------------------------------------------------------------------

    def left(self, cause: Cause) -> None:
        """Downstream is gone: the upstream is told at once."""
        self._note_departure(cause)
        self.close_upstream()
        self._finish(keep=False)
        self._connection.abort(framed=self._framed_answer)

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
            self._keep = keep
        if not self._over.done():
            self._over.set_result(None)

    def _fail(self, error: SidecarError) -> None:
        """Answer with a proper status while nothing was sent; later, break the connection off."""
        if self._over.done():
            return
        self.tally.error, self.tally.failure = str(error), answer_for(error).error
        self.close_upstream()
        if self._head is None:
            self._answer(error)
        else:
            self._finish(keep=False)  # first: what breaks off with the connection is no failure of its own
            self._connection.break_off(framed=self._framed_answer)

    def _answer(self, error: SidecarError) -> None:
        answer = answer_for(error)
        self.tally.status = answer.status
        keep = self._request.keep_alive and self._request.content.is_eof()
        self._connection.write(
            answer_bytes(answer, added=self._own_fields(), close=not keep, head_only=self._request.method == "HEAD")
        )
        self._finish(keep=keep)

    def _own_fields(self) -> list[Field]:
        return []
