"""What the event loop's transports do not offer: socket options, a look at what waits in the kernel, a last read.

asyncio and uvloop both hide the socket behind an object that only tells its file descriptor.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import asyncio

READ_BYTES_MAX: Final = 16_384
WRITE_HIGH_BYTES: Final = 65_536
WRITE_LOW_BYTES: Final = 16_384
LEFTOVER_BYTES_MAX: Final = 1_048_576

_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)

_PEEK: Final = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)  # an enum's `|` costs as much as the call
_TCP_INFO_BYTES: Final = 208
_BYTES_ACKED: Final = struct.Struct("=120xQ")  # tcpi_bytes_acked in struct tcp_info of linux/tcp.h
_BYTES_SENT: Final = struct.Struct("=200xQ")  # tcpi_bytes_sent


class Progress(NamedTuple):
    """How far a connection's outgoing bytes have come since it began, by our own kernel's account."""

    bytes_sent: int
    """Bytes that left it, those sent again included."""
    bytes_acked: int
    """Bytes that the peer's kernel has acknowledged."""


def tune(transport: asyncio.Transport) -> None:
    """Set a new connection's socket options and buffer limits."""
    transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=WRITE_LOW_BYTES)
    if hasattr(transport, "max_size"):
        transport.max_size = READ_BYTES_MAX  # asyncio's 256 KiB cost an mmap for each read (cpython#85451)
    sock = transport.get_extra_info("socket")
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for level, option, value in _KEEPALIVE:
        sock.setsockopt(level, option, value)


class Probe:
    """A look at a connection's socket beside its transport; made once, because a socket object costs as much as a call.

    It only borrows the descriptor: it has to be closed before the transport lets go of it. Whoever writes to the
    transport says so in `sent`: then how far a request has come is told without asking the kernel before each.
    """

    __slots__ = ("_base", "_begun", "_socket", "sent")

    def __init__(self, transport: asyncio.Transport) -> None:
        hidden = transport.get_extra_info("socket")
        self._socket = socket.socket(hidden.family, hidden.type, hidden.proto, fileno=hidden.fileno())
        self.sent = 0
        """Bytes that were handed to the transport since the probe was made."""
        self._begun = 0
        self._base = self._progress

    def close(self) -> None:
        """Give the descriptor back. Harmless when done twice."""
        self._socket.detach()

    def hang_up(self) -> None:
        """Send the FIN now: what is told to abort, the loop closes only when it comes round."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    @property
    def tells(self) -> bool:
        """Whether the kernel tells how far the outgoing bytes have come."""
        return self._base is not None

    def begin(self, *, encrypted: bool) -> None:
        """Take note that a request begins. Encrypted bytes are others than those that were handed over."""
        if encrypted:
            self._base, self.sent = self._progress, 0
        self._begun = self.sent

    def unheard(self, *, ended_in_order: bool) -> bool:
        """Whether the peer provably heard no byte of the request that was begun last.

        So it is if nothing of it left our kernel; or if the peer ended the connection in order (FIN) without having
        acknowledged a byte. A reset proves nothing: it is sent in place of an acknowledgement by whoever dies reading.
        """
        base, now = self._base, self._progress
        if base is None or now is None:
            return False
        left = now.bytes_sent - base.bytes_sent - self._begun
        acked = now.bytes_acked - base.bytes_acked - self._begun
        return left <= 0 or (ended_in_order and acked <= 0)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits in the connection: neither a FIN, a reset, nor bytes nobody asked for.

        The loop may not have looked yet, so that `is_closing()` alone misses what the kernel already knows.
        """
        try:
            self._socket.recv(1, _PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    @property
    def _progress(self) -> Progress | None:
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            return Progress(_BYTES_SENT.unpack_from(info)[0], _BYTES_ACKED.unpack_from(info)[0])
        except (OSError, struct.error):
            return None  # closed, a Unix socket, or a kernel of before 4.19


def is_tls(transport: asyncio.Transport) -> bool:
    """Say whether TLS lies between."""
    return transport.get_extra_info("ssl_object") is not None


def ended_in_order(transport: asyncio.Transport) -> bool:
    """Say, while `eof_received` is being called, whether it was the peer who ended the connection.

    Anyone on the way can send a FIN; behind TLS only its closure alert counts (RFC 8446, 6.1), after which a read
    finds the end in place of nothing.
    """
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return tls.read(1) == b""
    except ssl.SSLError:
        return False


def read_leftover(transport: asyncio.Transport) -> bytes:
    """Read what the kernel still holds of a broken plain connection, while `connection_lost` is being called.

    A failed write makes the loop drop a connection unread; but an upstream that refuses a long upload often answers,
    closes and resets, and its answer lies there. At most LEFTOVER_BYTES_MAX; empty for TLS, whose keys are gone.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or is_tls(transport):
        return b""
    pieces: list[bytes] = []
    descriptor = sock.fileno()
    try:
        while sum(map(len, pieces)) < LEFTOVER_BYTES_MAX and (piece := os.read(descriptor, READ_BYTES_MAX)):
            pieces.append(piece)
    except OSError:
        pass  # nothing more, or the reset itself
    return b"".join(pieces)
