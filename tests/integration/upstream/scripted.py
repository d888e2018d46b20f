"""A scripted upstream: a raw server whose every connection plays a script; and a receiver that writes things down.

What goes wrong in a script fails the test. Nothing here sleeps: waiting is for a condition, within DEADLINE_S.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from sidecar.config import Upstream
from sidecar.upstream.pool import UpstreamPool

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sidecar.errors import PeerError
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.dial import LookUp
    from sidecar.wire.answer_head import Head
    from sidecar.wire.framing import Framing

    Script = Callable[["Peer"], Awaitable[None]]

DEADLINE_S: Final = 5.0
REQUEST: Final = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Peer:
    """The upstream's end of a connection. `number` counts the connections from 0."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """Read a request's head."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def read(self, count: int) -> bytes:
        """Read just so many bytes."""
        return await self._reader.readexactly(count)

    async def send(self, *pieces: bytes) -> None:
        """Send bytes, each piece in a write of its own."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    def send_now(self, data: bytes) -> int:
        """Send what the kernel takes at once; give the number of bytes, 0 where it takes none."""
        try:
            return os.write(self._writer.get_extra_info("socket").fileno(), data)
        except BlockingIOError:
            return 0

    async def closed(self) -> None:
        """Wait until the other end has gone."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass

    def close(self) -> None:
        """Send FIN."""
        self._writer.close()

    def close_below(self) -> None:
        """Send FIN past TLS, which says nothing."""
        with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as sock:
            sock.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Send RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


@asynccontextmanager
async def scripted(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Serve the script on a port of a loopback address, which is given; afterwards raise what went wrong in it."""
    stage = _Stage(script)
    server = await asyncio.start_server(stage.connected, host, port, ssl=tls)
    async with stage.playing(server):
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def scripted_at(script: Script, path: Path) -> AsyncIterator[str]:
    """Serve the script on a Unix socket, whose URL is given; as `scripted` does."""
    stage = _Stage(script)
    async with stage.playing(await asyncio.start_unix_server(stage.connected, path)):
        yield f"unix:{path}"


class _Stage:
    """Plays the script on every connection that comes."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def play() -> None:
            await self._script(Peer(len(self._writers) - 1, reader, writer))

        self._writers.append(writer)
        self._tasks.append(asyncio.get_running_loop().create_task(play()))

    @asynccontextmanager
    async def playing(self, server: asyncio.Server) -> AsyncIterator[None]:
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            results = await asyncio.gather(*self._tasks, return_exceptions=True)
            for writer in self._writers:
                writer.transport.abort()
            await server.wait_closed()
        for result in results:
            if isinstance(result, Exception):
                raise result


@asynccontextmanager
async def pool_for(port: int, *, name: str = "127.0.0.1", **settings: float) -> AsyncIterator[UpstreamPool]:
    """Give a pool that connects to a port of this machine, with such settings of `[upstream]`."""
    async with pool_at(f"http://{name}:{port}", look_up=None, **settings) as pool:
        yield pool


@asynccontextmanager
async def pool_at(url: str, *, look_up: LookUp | None = None, **settings: object) -> AsyncIterator[UpstreamPool]:
    """Give a pool that connects to the URL, with such settings of `[upstream]`."""
    pool = UpstreamPool(Upstream.model_validate({"url": url, **settings}), look_up=look_up)
    try:
        yield pool
    finally:
        await pool.close()


async def echo(peer: Peer) -> None:
    """Answer every request."""
    try:
        while True:
            await peer.request()
            await peer.send(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        return


class Recorder:
    """A Requester that writes down what it hears."""

    def __init__(self) -> None:
        self.interims: list[bytes] = []
        self.head: Head | None = None
        self.raw = bytearray()
        self.body = bytearray()
        self.ends = 0
        self.error: PeerError | None = None
        self.on_head: Callable[[], None] = lambda: None
        self.on_failed: Callable[[], None] = lambda: None
        self.full = False
        self._changed = asyncio.Event()

    def upload_full(self) -> None:
        self.full = True
        self._changed.set()

    def upload_drained(self) -> None:
        self.full = False
        self._changed.set()

    def switched(self, head: Head, raw: bytes, behind: bytes) -> None:
        raise AssertionError(f"nothing offered to switch: {head} {raw!r} {behind!r}")

    def informational_received(self, head: Head, raw: bytes) -> None:
        assert head.status < 200
        self.interims.append(raw)
        self._changed.set()

    def head_received(self, head: Head, framing: Framing, *, alone: bool) -> None:  # noqa: ARG002  (nothing is written)
        assert framing.spans == []
        self.head = head
        self._changed.set()
        self.on_head()

    def body_received(self, data: bytes, framing: Framing, *, last: bool) -> None:
        self.raw += data
        for start, stop in framing.spans:
            self.body += data[start:stop]
        self.ends += last
        self._changed.set()

    def answer_failed(self, error: PeerError) -> None:
        self.error = error
        self.ends += 1
        self._changed.set()
        self.on_failed()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds, after whatever is heard."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def end(self) -> PeerError | None:
        """Wait for the end, and give the error if that is what it was."""
        await self.until(lambda: self.ends)
        assert self.ends == 1
        return self.error


def ask(connection: UpstreamConnection, request: bytes = REQUEST, *, method: str = "GET") -> Recorder:
    """Send a whole request; give what records its answer."""
    recorder = Recorder()
    connection.begin(recorder, method=method)
    connection.send(request)
    connection.request_sent()
    return recorder


async def turns(count: int = 20) -> None:
    """Let the loop go round a few times: long enough for whatever needs no more than the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (turns of the loop, no time; conditions here have no event)
            await asyncio.sleep(0)
