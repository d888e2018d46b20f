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
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from sidecar.downstream.headers import Peer
from sidecar.turn.state import Cause

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network

NOTSENT_LOWAT_BYTES: Final = 16_384
KEEPALIVE_IDLE_MAX_S: Final = 15
KEEPALIVE_INTERVAL_MAX_S: Final = 5
KEEPALIVE_PROBES: Final = 3
READ_BYTES: Final = 16_384

_UNREACHABLE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH})
_INT: Final = struct.Struct("i")
_TCP_INFO_BYTES: Final = 8
_RETRANSMITS_AT: Final = 2  # tcpi_retransmits in struct tcp_info of linux/tcp.h


def tune(transport: asyncio.Transport, *, write_timeout_s: float, buffer_bytes_max: int) -> None:
    """Set up a fresh downstream transport: buffers, and a keepalive that bears silence no longer than a stall."""
    transport.set_write_buffer_limits(high=buffer_bytes_max, low=buffer_bytes_max // 4)
    if hasattr(transport, "max_size"):
        transport.max_size = READ_BYTES  # cpython#85451: 256 KiB reads cost an mmap each
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    options = {
        socket.TCP_NODELAY: 1,
        getattr(socket, "TCP_NOTSENT_LOWAT", 25): NOTSENT_LOWAT_BYTES,
        socket.TCP_KEEPIDLE: max(1, min(KEEPALIVE_IDLE_MAX_S, int(write_timeout_s / 2))),
        socket.TCP_KEEPINTVL: max(1, min(KEEPALIVE_INTERVAL_MAX_S, int(write_timeout_s / 6))),
        socket.TCP_KEEPCNT: KEEPALIVE_PROBES,
    }
    with suppress(OSError):  # the client may have left already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in options.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def peer_of(transport: asyncio.Transport, trusted: Iterable[IPv4Network | IPv6Network]) -> Peer:
    """Say who is on the other end, and whether what it says of others is believed."""
    name = transport.get_extra_info("peername")
    address = name[0] if isinstance(name, tuple) else "unix:"
    scheme = "http" if transport.get_extra_info("sslcontext") is None else "https"
    return Peer(address=address, scheme=scheme, trusted=any(_within(address, network) for network in trusted))


def unacknowledged(transport: asyncio.WriteTransport) -> int:
    """Give the bytes that were written but that the peer's kernel has not acknowledged (TIOCOUTQ).

    Where the kernel cannot tell, only the bytes that it has not taken yet.
    """
    sock = transport.get_extra_info("socket")
    try:
        queued = _queued(sock)
    except (OSError, ValueError, AttributeError):
        queued = 0
    return queued + transport.get_write_buffer_size()


def unread(transport: asyncio.BaseTransport) -> bool:
    """Say whether bytes have come that nobody has read yet."""
    sock = transport.get_extra_info("socket")
    try:
        waiting: int = _INT.unpack(fcntl.ioctl(sock.fileno(), termios.FIONREAD, _INT.pack(0)))[0]
    except (OSError, ValueError, AttributeError):
        return False
    return waiting > 0


def reset_on_close(transport: asyncio.WriteTransport) -> None:
    """Have the close send an RST after what is still to be written: the only visible end of a body without framing."""
    sock = transport.get_extra_info("socket")
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def error_cause(sock: socket.socket) -> Cause:
    """Tell why a peer is gone by the socket's pending error; this clears the error."""
    try:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError:
        return Cause.RESET
    return cause_of(number, sock)


def cause_of(number: int | None, sock: socket.socket) -> Cause:
    """Tell a reset from a peer that vanished, and from one that is there and takes nothing, by the kernel's error."""
    if number == errno.ETIMEDOUT:
        return time_out_cause(sock)
    return Cause.VANISHED if number in _UNREACHABLE else Cause.RESET


def time_out_cause(sock: socket.socket) -> Cause:
    """Tell a peer whose window is closed from one that is not there; asked when it has taken nothing for too long.

    While a window is closed, nothing is sent that could go unanswered, and bytes wait. Where the kernel cannot tell,
    as for a unix socket, the peer is there.
    """
    try:
        retransmits = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)[_RETRANSMITS_AT]
        there = _queued(sock) > 0 and not retransmits
    except OSError:
        there = True
    return Cause.STALLED if there else Cause.VANISHED


def _within(address: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(address) in network
    except ValueError:  # a unix socket's
        return False


def _queued(sock: socket.socket) -> int:
    """Give the bytes that the kernel took and the peer's has not acknowledged, kept beyond an error (TIOCOUTQ)."""
    return int(_INT.unpack(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, _INT.pack(0)))[0])
