"""What the kernel is asked to do for a downstream socket, and what it can tell about it.

Without TCP_NOTSENT_LOWAT the kernel takes megabytes before it pushes back, so that neither back-pressure nor a stalled
reader would be seen on an answer of a chat's size. Unix sockets know none of the TCP options and go without.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sidecar.turn.state import Cause

if TYPE_CHECKING:
    import asyncio

NOTSENT_LOWAT_BYTES: Final = 16_384
WRITE_HIGH_BYTES: Final = 65_536
WRITE_LOW_BYTES: Final = 16_384
KEEPALIVE_IDLE_S: Final = 15
KEEPALIVE_INTERVAL_S: Final = 5
KEEPALIVE_PROBES: Final = 3
READ_BYTES: Final = 16_384

_VANISHED_ERRORS: Final = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH})
_INT: Final = struct.Struct("i")


def tune(transport: asyncio.Transport, *, write_timeout_s: float) -> None:
    """Set up a fresh downstream transport: buffers, keepalive, and how long unacknowledged bytes are waited for."""
    transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=WRITE_LOW_BYTES)
    if hasattr(transport, "max_size"):
        transport.max_size = READ_BYTES  # cpython#85451: 256 KiB reads cost an mmap each
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    options = {
        socket.TCP_NODELAY: 1,
        getattr(socket, "TCP_NOTSENT_LOWAT", 25): NOTSENT_LOWAT_BYTES,
        socket.TCP_USER_TIMEOUT: max(1, int(write_timeout_s * 1000)),
        socket.TCP_KEEPIDLE: KEEPALIVE_IDLE_S,
        socket.TCP_KEEPINTVL: KEEPALIVE_INTERVAL_S,
        socket.TCP_KEEPCNT: KEEPALIVE_PROBES,
    }
    with suppress(OSError):  # the client may have left already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in options.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def unacknowledged(transport: asyncio.WriteTransport) -> int:
    """Give the bytes that were written but that the peer's kernel has not acknowledged (TIOCOUTQ).

    Where the kernel cannot tell, only the bytes that it has not taken yet.
    """
    sock = transport.get_extra_info("socket")
    try:
        queued = _INT.unpack(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, _INT.pack(0)))[0]
    except (OSError, ValueError, AttributeError):
        queued = 0
    return int(queued) + transport.get_write_buffer_size()


def reset_on_close(transport: asyncio.WriteTransport) -> None:
    """Have the close send an RST after what is still to be written: the only visible end of a body without framing."""
    sock = transport.get_extra_info("socket")
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def error_cause(sock: socket.socket) -> Cause:
    """Tell a reset from a peer that vanished, by the socket's pending error; this clears the error."""
    try:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError:
        return Cause.RESET
    return Cause.VANISHED if number in _VANISHED_ERRORS else Cause.RESET
