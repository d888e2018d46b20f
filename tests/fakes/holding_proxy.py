"""A TCP proxy in the hands of a test: it holds bytes back in either direction, and may swallow a FIN or an RST.

        client --UP--> proxy --UP--> sidecar
               <-DOWN-       <-DOWN-

What is held is not read, so that back-pressure builds up behind it as it does behind a peer that reads nothing, while
its kernel still answers: a stalled client, or a balancer that does not tell who has left.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from tests.fakes.sockets import READ_BYTES, SMALL_BUFFER_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SEGMENT_BYTES: Final = 1400
"""As of a real network: loopback's 64 KiB do not fit into a small window, which then opens only at the next probe."""
_RESET: Final = struct.pack("ii", 1, 0)


class Way(Enum):
    """A direction."""

    UP = auto()
    """From the client to the sidecar."""
    DOWN = auto()
    """From the sidecar to the client."""


class HoldingProxy:
    """A proxy before one address. `passes_ends`: whether a FIN or an RST of either side is passed to the other."""

    def __init__(self, listener: socket.socket, port: int, *, passes_ends: bool) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._listener = listener
        self._port = port
        self._passes_ends = passes_ends
        self._gates = {way: asyncio.Event() for way in Way}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[socket.socket] = []
        self.release(*Way)

    @classmethod
    @asynccontextmanager
    async def before(cls, port: int, *, passes_ends: bool = True) -> AsyncIterator[HoldingProxy]:
        """Stand before a port of loopback. At the end every connection is reset."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.setblocking(False)
            proxy = cls(listener, port, passes_ends=passes_ends)
            proxy._begin(proxy._accept())
            try:
                yield proxy
            finally:
                await proxy._close()

    def hold(self, *ways: Way) -> None:
        """Let nothing more pass."""
        for way in ways:
            self._gates[way].clear()

    def release(self, *ways: Way) -> None:
        """Let bytes pass, those that were held first."""
        for way in ways:
            self._gates[way].set()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            server = socket.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
            server.setblocking(False)
            self._sockets += [client, server]
            await loop.sock_connect(server, ("127.0.0.1", self._port))
            self._begin(self._pump(client, server, self._gates[Way.UP]))
            self._begin(self._pump(server, client, self._gates[Way.DOWN]))

    async def _pump(self, source: socket.socket, target: socket.socket, gate: asyncio.Event) -> None:
        """Pass bytes on until the source ends, then its end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await gate.wait()
                data = await loop.sock_recv(source, READ_BYTES)
                await gate.wait()
                if not data:
                    break
                await loop.sock_sendall(target, data)
        except OSError:
            if self._passes_ends:
                _reset(target)
        else:
            if self._passes_ends and target.fileno() >= 0:
                target.shutdown(socket.SHUT_WR)

    def _begin(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        for sock in self._sockets:
            _reset(sock)
        unexpected = [
            error for error in outcomes if error is not None and not isinstance(error, asyncio.CancelledError)
        ]
        assert not unexpected, unexpected


def _reset(sock: socket.socket) -> None:
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.close()
