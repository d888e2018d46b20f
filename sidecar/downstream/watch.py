"""Sees a client leave at once, in every phase, on either event loop: one nested epoll for all downstream sockets.

While reading is paused, the event loop sees neither FIN nor RST. This epoll listens for nothing but the peer's leaving,
edge-triggered, and hangs on the loop as one readable descriptor. A socket is forgotten before its transport closes,
because its number will be used again.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.downstream.sockets import error_cause
from sidecar.turn.state import Cause

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

EVENTS_MAX: Final = 512

log = structlog.get_logger()


class DisconnectWatch:
    """Calls back with the cause when a watched socket's peer has left."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[socket.socket, Callable[[Cause], None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hang on the loop."""
        self._loop = loop
        loop.add_reader(self._epoll.fileno(), self._ready)

    def close(self) -> None:
        """Let go of the loop and of every socket; harmless when done twice."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._loop = None
        self._watched.clear()
        self._epoll.close()

    def watch(self, sock: socket.socket, left: Callable[[Cause], None]) -> None:
        """Watch a socket; a peer that has left already is reported too."""
        self._watched[sock.fileno()] = (sock, left)
        self._epoll.register(sock.fileno(), select.EPOLLRDHUP | select.EPOLLET)

    def forget(self, number: int) -> None:
        """Watch a socket, known by its descriptor's number, no more."""
        if self._watched.pop(number, None) is not None:
            with suppress(OSError, ValueError):
                self._epoll.unregister(number)

    def _ready(self) -> None:
        for number, events in self._epoll.poll(0, EVENTS_MAX):
            watched = self._watched.get(number)
            if watched is None:
                continue
            try:
                self._tell(*watched, events)
            except Exception as error:  # a bug in what follows from one departure must not lose the others
                log.exception("departure_failed", error=repr(error))

    def _tell(self, sock: socket.socket, left: Callable[[Cause], None], events: int) -> None:
        if events & select.EPOLLERR:
            left(error_cause(sock))
        elif events & select.EPOLLHUP and self._loop is not None:
            # Either both ends have closed in order, or the transport has read the reset's error away and is about to
            # tell of it: that comes first.
            self._loop.call_soon(left, Cause.CLOSED)
        else:
            left(Cause.CLOSED)
