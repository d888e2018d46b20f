"""The transport beneath a downstream connection: what is written to it, when it is read, how it is ended, who left it.

The client's leaving is seen in every phase (`watch`), and a client that takes no byte for long is gone (`stall`).
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from sidecar.downstream.sockets import cause_of, reset_on_close, time_out_cause, tune, unacknowledged, unread
from sidecar.downstream.stall import Sight, StallWatch
from sidecar.turn.state import Cause

if TYPE_CHECKING:
    import socket

    from sidecar.deadlines import Deadlines
    from sidecar.downstream.watch import DisconnectWatch


class Line(asyncio.Protocol):
    """One downstream transport."""

    __slots__ = (
        "__weakref__",
        "_buffer_bytes_max",
        "_closing",
        "_loop",
        "_number",
        "_paused",
        "_stall",
        "_stalls",
        "_transport",
        "_watch",
        "_write_timeout_s",
        "departed",
        "writing_paused",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        watch: DisconnectWatch,
        stalls: Deadlines[Line],
        *,
        write_timeout_s: float,
        buffer_bytes_max: int,
    ) -> None:
        self.departed: Cause | None = None
        """Why downstream is gone, once it is."""
        self.writing_paused = False
        """Downstream takes less than it is sent."""
        self._loop = loop
        self._watch = watch
        self._stalls = stalls
        self._write_timeout_s = write_timeout_s
        self._buffer_bytes_max = buffer_bytes_max
        self._closing = False
        self._paused = False
        self._stall = StallWatch(write_timeout_s)

    @abstractmethod
    def left(self, cause: Cause) -> None:
        """Take note, once, that downstream is gone."""

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write bytes, unless downstream is gone."""
        if self.departed is None and not self._closing and data:
            stall = self._stall
            if not stall.watched:
                stall.begin(self._loop.time())
                self._stalls.start(self)
            stall.written += len(data)
            self._transport.write(data)

    def end_writing(self) -> None:
        """Say that nothing more will come, so that a body without framing ends; the connection stays to be asked."""
        if self.departed is None and not self._closing and self._transport.can_write_eof():
            with suppress(OSError):  # a peer that reset a moment ago is about to be told of
                self._transport.write_eof()

    def unacknowledged(self) -> int:
        """Give the bytes that the client has not acknowledged."""
        return unacknowledged(self._transport)

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self, *, on: bool) -> None:
        """Read on, or let downstream wait. Harmless when done twice."""
        if on is not self._paused or self._closing:
            return
        self._paused = not on
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # -- endings -------------------------------------------------------------------------------------------------------

    def abort(self, *, framed: bool = True) -> None:
        """End the connection at once, what is unsent being dropped; visibly so where no framing tells."""
        if not framed:
            reset_on_close(self._transport)
        self._closing = True
        self._transport.abort()

    def break_off(self, *, framed: bool) -> None:
        """End the connection so that downstream sees its answer cut short: by missing framing, else by a reset."""
        if framed:
            self.close()
        elif self.encrypted:
            self.abort()  # a close says goodbye first, and so would make what was cut short whole
        else:
            reset_on_close(self._transport)
            self.close()

    def close(self) -> None:
        """End the connection once what was written is out. Harmless when done twice."""
        if not self._closing:  # asyncio's TLS transport falls apart when it is closed again
            self._closing = True
            self._transport.close()

    def look_for_stall(self) -> None:
        """Look whether the client takes what it is sent; give it up if it does not."""
        sight = self._stall.look(self.unacknowledged(), self._loop.time())
        if sight is Sight.UNDER_WAY:
            self._stalls.start(self)
        elif sight is Sight.STUCK:
            self.left(time_out_cause(self._socket))
            self._transport.abort()  # it may be closing already, with bytes that nobody takes

    # -- what the transport calls --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the socket is set up and watched."""
        self._transport = cast("asyncio.Transport", transport)
        tune(self._transport, write_timeout_s=self._write_timeout_s, buffer_bytes_max=self._buffer_bytes_max)
        sock = self._socket
        self._number = sock.fileno()
        self._watch.watch(sock, self.left)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the descriptor is still valid, and still ours, until here."""
        self._watch.forget(self._number)
        self._closing = True
        self._stalls.stop(self)
        self.left(Cause.CLOSED if exc is None else self._cause_of(exc))

    @property
    def encrypted(self) -> bool:
        """Whether it is TLS, which has no half-closed connections."""
        return self._transport.get_extra_info("ssl_object") is not None

    @property
    def unread(self) -> bool:
        """Whether bytes have come that nobody has read yet."""
        return unread(self._transport)

    @property
    def _socket(self) -> socket.socket:
        sock: socket.socket = self._transport.get_extra_info("socket")
        return sock

    def _cause_of(self, error: BaseException) -> Cause:
        return cause_of(error.errno if isinstance(error, OSError) else None, self._socket)
