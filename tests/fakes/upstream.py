"""A backend on raw sockets that does nothing by itself: a test takes its connections and plays the backend's part."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.fakes.sockets import SMALL_BUFFER_BYTES, RawSocket
from tests.fakes.waiting import DEADLINE_S, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.http import Message


class Upstream:
    """A listening backend. Connections wait in the kernel until they are taken."""

    def __init__(self, listener: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.taken: list[RawSocket] = []
        self._listener = listener

    @classmethod
    @asynccontextmanager
    async def listening(cls, *, small_buffer: bool = False) -> AsyncIterator[Upstream]:
        """Listen on loopback; with `small_buffer`, its kernel takes little unread."""
        with socket.socket() as listener:
            if small_buffer:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
            listener.bind(("127.0.0.1", 0))
            listener.listen(512)
            listener.setblocking(False)
            upstream = cls(listener)
            try:
                yield upstream
            finally:
                for connection in upstream.taken:
                    connection.close()

    async def take(self) -> RawSocket:
        """Take the next connection."""
        async with asyncio.timeout(DEADLINE_S):
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        self.taken.append(RawSocket(sock))
        return self.taken[-1]

    async def request(self) -> tuple[RawSocket, Message]:
        """Read the next request whole, on a connection that comes or on one that was kept."""
        connection = await eventually(self._asked)
        return connection, await connection.request()

    def nobody_came(self) -> bool:
        """Say whether no connection waits to be taken."""
        return self._came() is None

    def nobody_asked(self) -> bool:
        """Say whether no connection waits to be taken, and nothing to be read on one that was."""
        return self._asked() is None

    def _asked(self) -> RawSocket | None:
        return self._came() or next((connection for connection in self.taken if connection.has_bytes()), None)

    def _came(self) -> RawSocket | None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return None
        self.taken.append(RawSocket(sock))
        return self.taken[-1]

    def refuse(self) -> None:
        """Stop listening: whoever connects from now on is refused."""
        self._listener.close()
