"""A client of the examined chat: it asks, and does its deed. Whatever happens to it is in its Visit, never raised.

Like a browser's, its connections are its own, and it leaves as browsers do: by a FIN, or by an RST.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import aiohttp
from yarl import URL

from sidecar.doctor.target import new_request_id
from sidecar.doctor.visit import Deed, Visit
from sidecar.upstream.unreachable import why_unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from types import SimpleNamespace

    from sidecar.doctor.target import Target

    Meanwhile: TypeAlias = Callable[[Visit], Awaitable[object]]

READ_S: Final = 120.0
"""An answer is read for so long at most. A front that holds answers back sends nothing until they are whole."""
AFTERWARDS_S: Final = 5.0
"""An answer that goes on for so long, after what was done meanwhile, is read no further."""
_RESET: Final = struct.pack("ii", 1, 0)


class Client:
    """Chats with a target, one chat after the other."""

    def __init__(self, target: Target, session: aiohttp.ClientSession, sockets: list[socket.socket]) -> None:
        self._target = target
        self._session = session
        self._sockets = sockets

    @classmethod
    @asynccontextmanager
    async def of(cls, target: Target, *, verified: bool) -> AsyncIterator[Client]:
        """Be a client until the end of the block; without `verified`, of a server with whatever certificate."""
        trust = ssl.create_default_context()
        if not verified:
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        sockets: list[socket.socket] = []

        def make_socket(address: aiohttp.AddrInfoType) -> socket.socket:
            sockets.append(socket.socket(*address[:3]))
            return sockets[-1]

        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trust, socket_factory=make_socket),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=target.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_tracing_connections()],
            auto_decompress=False,
            trust_env=False,
        ) as session:
            yield cls(target, session, sockets)

    async def read(self, deed: Deed, meanwhile: Meanwhile | None = None) -> Visit:
        """Read the answer to its end; for a while only, once what is done meanwhile is done."""
        visit = self._begin(deed)
        reading = asyncio.create_task(self._read_all(visit))
        try:
            if meanwhile is not None:
                await meanwhile(visit)
            await asyncio.wait({reading}, timeout=READ_S if meanwhile is None else AFTERWARDS_S)
        finally:
            reading.cancel()
        await asyncio.wait({reading})
        visit.left_at = time.time()
        with _noting_failures(visit):
            if not reading.cancelled():
                reading.result()
            elif visit.status is None:
                raise TimeoutError
        return visit

    async def leave(self, deed: Deed, *, patience_s: float, sooner: Meanwhile | None = None) -> Visit:
        """Leave with the answer's first piece; after `patience_s` without one, or when `sooner` is done, without it."""
        visit = self._begin(deed)
        asking = asyncio.create_task(self._first_piece(visit))
        waiting: set[asyncio.Future[Any]] = {asking}
        if sooner is not None:
            waiting.add(asyncio.ensure_future(sooner(visit)))
        try:
            await asyncio.wait(waiting, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            visit.left_at = time.time()
            if deed is not Deed.RESET or not asking.done():
                self._hang_up(reset=deed is Deed.RESET)
        finally:
            for task in waiting:
                task.cancel()
        await asyncio.wait(waiting)
        with _noting_failures(visit):
            if not asking.cancelled():
                _close(asking.result(), reset=deed is Deed.RESET)
        return visit

    async def cancel(self, visit: Visit) -> None:
        """Say cancel for a chat, at the cancel endpoint."""
        target = self._target
        with _noting_failures(visit):
            async with (
                asyncio.timeout(target.timeout_s),
                self._session.post(
                    URL(target.cancel_url, encoded=True),
                    data=json.dumps({"requestId": visit.request_id}),
                    headers={**target.headers, "Content-Type": "application/json"},
                    allow_redirects=False,
                    trace_request_ctx=visit,
                ) as response,
            ):
                visit.cancel_status = response.status
                visit.cancel_said = _status_said(await response.content.read(1024))

    def _hang_up(self, *, reset: bool) -> None:
        """Send a FIN on the connections there are, and with `reset` an RST after it.

        TLS would wait for its peer before that, as no browser does.
        """
        for sock in self._sockets:
            with suppress(OSError):  # it was closed, or never connected
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def _begin(self, deed: Deed) -> Visit:
        return Visit(deed=deed, request_id=new_request_id(), sent_at=time.time())

    async def _first_piece(self, visit: Visit) -> aiohttp.ClientResponse:
        """Ask, and wait for the first piece of the answer, or its end. Who is cancelled meanwhile has left."""
        target = self._target
        response = await self._session.request(
            target.method,
            URL(target.url, encoded=True),
            data=target.body,
            headers={**target.headers, target.id_header: visit.request_id},
            allow_redirects=False,
            trace_request_ctx=visit,
        )
        try:
            visit.head_at, visit.status, visit.headers = time.time(), response.status, response.headers
            piece = await response.content.readany()
        except BaseException:
            response.close()
            raise
        if piece:
            visit.take(piece, time.time())
        else:
            visit.ended_at = time.time()
        return response

    async def _read_all(self, visit: Visit) -> None:
        response = await self._first_piece(visit)
        try:
            if visit.answered and visit.ended_at is None:
                async for piece in response.content.iter_any():
                    visit.take(piece, time.time())
                visit.ended_at = time.time()
        finally:
            response.close()


def _tracing_connections() -> aiohttp.TraceConfig:
    """Have each visit note whether its connection was one that had been left open."""

    async def note(_: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
        visit: Visit = context.trace_request_ctx
        visit.reused = isinstance(params, aiohttp.TraceConnectionReuseconnParams)

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(note)
    tracing.on_connection_create_start.append(note)
    return tracing


@contextmanager
def _noting_failures(visit: Visit) -> Iterator[None]:
    """Write what a peer did to a connection into the visit."""
    try:
        yield
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        visit.error = _why(error)


def _why(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return why_unreachable(error.certificate_error)
        case aiohttp.ClientConnectorError():
            return f"cannot connect: {why_unreachable(error.os_error)}"
        case TimeoutError():
            return "no answer within the time given"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without an answer"
        case aiohttp.ClientResponseError():
            return "the answer is no proper HTTP"
        case _:
            return "the connection broke off"


def _close(response: aiohttp.ClientResponse, *, reset: bool) -> None:
    """End the connection at once: by a FIN, or by an RST."""
    transport = response.connection.transport if response.connection is not None else None
    if reset and transport is not None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
    response.close()


def _status_said(body: bytes) -> str | None:
    try:
        said = json.loads(body)
    except ValueError:
        return None
    return str(said["status"]) if isinstance(said, dict) and "status" in said else None
