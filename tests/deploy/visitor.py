"""A client of a front, over TLS, in HTTP/1.1 or HTTP/2: it asks, reads when told to, and leaves in its own way."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from abc import ABC, abstractmethod
from asyncio import IncompleteReadError, open_connection, timeout
from collections import deque
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset

from tests.fakes.downstream import ALICE, request_bytes
from tests.fakes.http import ByteSource

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

CERTIFICATE: Final = Path(__file__).parents[1] / "integration" / "upstream" / "localhost.pem"
WAIT_S: Final = 30.0
READ_BYTES: Final = 65_536


class Way(StrEnum):
    """How a client leaves."""

    CLOSES = "closes"
    """The connection, as TLS and TCP want it: close_notify, FIN."""
    RESETS = "resets"
    """The connection: RST."""
    RESETS_STREAM = "resets its stream"
    """HTTP/2's RST_STREAM, the connection stays: what a browser does when an answer is aborted."""


class Visitor(ABC):
    """A connection to a front, for one request. Every wait ends within WAIT_S."""

    protocol: ClassVar[str]
    ways: ClassVar[tuple[Way, ...]]

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Connect to localhost, and agree on the protocol."""
        tls = ssl.create_default_context(cafile=str(CERTIFICATE))
        tls.set_alpn_protocols([cls.protocol])
        async with timeout(WAIT_S):
            reader, writer = await open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost")
        return cls(reader, writer)

    @abstractmethod
    async def post(self, target: str, request_id: str, body: object) -> None:
        """Send a request with a JSON body."""

    @abstractmethod
    async def status(self) -> int:
        """Read the answer's head; give its status."""

    @abstractmethod
    async def piece(self) -> bytes:
        """Read the next piece of the answer's body; empty at its end. Raises ConnectionError where it breaks off."""

    async def rest(self) -> bytes:
        """Read the answer's body to its end. Raises ConnectionError where it breaks off."""
        body = b""
        while piece := await self.piece():
            body += piece
        return body

    def leave(self, way: Way) -> None:
        """Leave."""
        if way is Way.RESETS:
            sock: socket.socket = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        else:
            self.close()

    def close(self) -> None:
        """Close, as apps do: FIN follows close_notify at once, and does not wait for the other side's."""
        self._writer.close()
        self._writer.transport.abort()


class Visits:
    """The connections of a test: they stay open until they are left, or the test ends."""

    def __init__(self) -> None:
        self._visitors: list[Visitor] = []

    async def begin(self, protocol: type[Visitor], port: int) -> Visitor:
        """Connect to a front at that port of localhost."""
        visitor = await protocol.connect(port)
        self._visitors.append(visitor)
        return visitor

    def end(self) -> None:
        """Close all."""
        for visitor in self._visitors:
            visitor.close()


class Http1(Visitor):
    """HTTP/1.1; the answers come in chunks."""

    protocol = "http/1.1"
    ways = (Way.CLOSES, Way.RESETS)

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        super().__init__(reader, writer)
        self._source = _Source(reader)

    async def post(self, target: str, request_id: str, body: object) -> None:
        lines = (f"X-Request-Id: {request_id}", f"Authorization: {ALICE}", "Content-Type: application/json")
        request = request_bytes("POST", target, *lines, body=json.dumps(body).encode())
        self._writer.write(request.replace(b"Host: app.example", b"Host: localhost"))

    async def status(self) -> int:
        return (await self._source.head()).status

    async def piece(self) -> bytes:
        return (await self._source.chunk())[1]


class _Source(ByteSource):
    """A stream reader, read as the raw sockets are."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader

    async def exactly(self, count: int) -> bytes:
        try:
            async with timeout(WAIT_S):
                return await self._reader.readexactly(count)
        except IncompleteReadError as error:
            raise ConnectionError(f"closed after {error.partial!r}") from error

    async def until(self, separator: bytes) -> bytes:
        try:
            async with timeout(WAIT_S):
                return await self._reader.readuntil(separator)
        except IncompleteReadError as error:
            raise ConnectionError(f"closed after {error.partial!r}") from error

    async def rest(self) -> bytes:
        async with timeout(WAIT_S):
            return await self._reader.read()


class Http2(Visitor):
    """HTTP/2; one stream."""

    protocol = "h2"
    ways = (Way.RESETS_STREAM, Way.CLOSES, Way.RESETS)

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        super().__init__(reader, writer)
        self._http = H2Connection(H2Configuration(header_encoding=False))
        self._events: deque[Event] = deque()
        self._stream = 1

    async def post(self, target: str, request_id: str, body: object) -> None:
        self._http.initiate_connection()
        fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", target),
            ("x-request-id", request_id),
            ("authorization", ALICE),
            ("content-type", "application/json"),
        ]
        self._http.send_headers(self._stream, fields)
        self._http.send_data(self._stream, json.dumps(body).encode(), end_stream=True)
        self._flush()

    async def status(self) -> int:
        while not isinstance(event := await self._next(), ResponseReceived):
            pass
        return int(dict(event.headers)[b":status"])

    async def piece(self) -> bytes:
        while True:
            event = await self._next()
            if isinstance(event, DataReceived) and event.data:
                self._http.acknowledge_received_data(event.flow_controlled_length, self._stream)
                return event.data
            if isinstance(event, StreamEnded):
                return b""

    def leave(self, way: Way) -> None:
        if way is Way.RESETS_STREAM:
            self._http.reset_stream(self._stream, ErrorCodes.CANCEL)
            self._flush()
        else:
            super().leave(way)

    async def _next(self) -> Event:
        while not self._events:
            async with timeout(WAIT_S):
                data = await self._reader.read(READ_BYTES)
            if not data:
                raise ConnectionError("closed")
            self._events.extend(self._http.receive_data(data))
            self._flush()
        event = self._events.popleft()
        if isinstance(event, StreamReset | ConnectionTerminated):
            raise ConnectionError(f"broken off: {event}")
        return event

    def _flush(self) -> None:
        self._writer.write(self._http.data_to_send())
