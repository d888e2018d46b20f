"""A raw socket in the hands of a test: it reads only when asked to, and leaves in any way that a peer can leave."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

from tests.fakes.http import ByteSource
from tests.fakes.waiting import DEADLINE_S

READ_BYTES: Final = 65_536
SMALL_BUFFER_BYTES: Final = 4096


class RawSocket(ByteSource):
    """One end of a connection. Every wait ends within DEADLINE_S."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._held = bytearray()

    async def send(self, *pieces: bytes) -> None:
        """Send bytes, each piece in a write of its own."""
        async with asyncio.timeout(DEADLINE_S):
            for piece in pieces:
                await asyncio.get_running_loop().sock_sendall(self.sock, piece)

    def send_now(self, data: bytes) -> int:
        """Send what the kernel takes at once; give the number of bytes, 0 where it takes none."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    async def exactly(self, count: int) -> bytes:
        """Read so many bytes. Raises ConnectionError where they do not come."""
        while len(self._held) < count:
            await self._more()
        return self._take(count)

    async def until(self, separator: bytes) -> bytes:
        """Read up to and with the separator. Raises ConnectionError where it does not come."""
        while (at := self._held.find(separator)) < 0:
            await self._more()
        return self._take(at + len(separator))

    async def rest(self) -> bytes:
        """Read up to the peer's FIN. Raises ConnectionResetError for a reset."""
        while piece := await self._receive():
            self._held += piece
        return self._take(len(self._held))

    async def some(self) -> bytes:
        """Read what comes next; empty at the peer's FIN."""
        return self._take(len(self._held)) or await self._receive()

    async def gone(self, timeout_s: float = DEADLINE_S) -> bytes:
        """Wait until the peer has gone, by FIN or reset; give what it had still sent."""
        with suppress(ConnectionError):
            while piece := await self._receive(timeout_s):
                self._held += piece
        return self._take(len(self._held))

    def nothing_came(self) -> bool:
        """Say whether the connection is open and has nothing to read."""
        try:
            return not self._held and self.sock.recv(1, socket.MSG_PEEK) is None
        except BlockingIOError:
            return True
        except ConnectionError:
            return False

    def has_bytes(self) -> bool:
        """Say whether bytes came that were not taken yet."""
        try:
            return bool(self._held or self.sock.recv(1, socket.MSG_PEEK))
        except OSError:  # none, or it is closed
            return False

    def fin(self) -> None:
        """Send FIN, and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close: FIN, or RST where something unread has come. Harmless when done twice."""
        self.sock.close()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    async def _more(self) -> None:
        piece = await self._receive()
        if not piece:
            raise ConnectionError(f"closed after {bytes(self._held[-200:])!r}")
        self._held += piece

    async def _receive(self, timeout_s: float = DEADLINE_S) -> bytes:
        async with asyncio.timeout(timeout_s):
            return await asyncio.get_running_loop().sock_recv(self.sock, READ_BYTES)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken
