"""What a worker is told at its start, and how it stays bound to its parent.

It comes through the link before anything else: settings as the parent has them in force, which need not be what the
file says by now.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    import socket

    from sidecar.config import Settings
    from sidecar.engine.share import Share

_LENGTH: Final = struct.Struct("!Q")
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to be: `listening` are the descriptors of the sockets to accept from, `parent` is the parent's pid."""

    settings: Settings
    share: Share
    listening: tuple[int, ...]
    parent: int


async def give_order(loop: asyncio.AbstractEventLoop, sock: socket.socket, order: Order) -> None:
    """Send the order as the first thing on a link. Raises OSError."""
    text = pickle.dumps(order)
    await loop.sock_sendall(sock, _LENGTH.pack(len(text)) + text)


def take_order(sock: socket.socket) -> Order:
    """Wait for the order. Raises EOFError where the parent is gone."""
    (length,) = _LENGTH.unpack(_read(sock, _LENGTH.size))
    order = pickle.loads(_read(sock, length))  # noqa: S301  (the parent's own words, on a socket pair)
    assert isinstance(order, Order)
    return order


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process as soon as its parent is gone, however that ends.

    Where libc cannot be called, the end of the link still tells, as soon as the loop turns.
    """
    with suppress(OSError, AttributeError, MemoryError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _read(sock: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        piece = sock.recv(size - len(got))
        if not piece:
            raise EOFError("the parent is gone")
        got += piece
    return bytes(got)
