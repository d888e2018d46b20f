"""A connection that has switched protocols (101): bytes pass both ways as they are, until both ways have ended.

        downstream --downstream_received--> upstream
                   <--upstream_received----

Either end may end its sending and still receive (half-close), but over TLS, which knows none: there one end is both.
Back-pressure runs through both ways; a tunnel through which nothing comes for `listen.tunnel_idle_timeout_s` is ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sidecar.downstream.connection import Connection
    from sidecar.downstream.tally import Tally
    from sidecar.turn.state import Cause
    from sidecar.upstream.connection import UpstreamConnection


class Over(Protocol):
    """Called once, when the tunnel is over."""

    def __call__(self, *, keep: bool) -> None:
        """Take note; the connection never serves another request."""


class Tunnel:
    """Joins the two connections for as long as either end uses them."""

    __slots__ = ("_connection", "_downstream_ended", "_ended", "_over", "_tally", "_upstream", "_upstream_ended")

    def __init__(self, connection: Connection, upstream: UpstreamConnection, tally: Tally, *, over: Over) -> None:
        self._connection = connection
        self._upstream = upstream
        self._tally = tally
        self._over = over
        self._downstream_ended = False
        self._upstream_ended = False
        self._ended = False

    def begin(self, behind: bytes) -> None:
        """Begin: `behind` came from the upstream behind its 101."""
        self._upstream.become_tunnel(self)
        self._connection.become_tunnel(self)
        if behind:
            self.upstream_received(behind)

    # -- from downstream (TunnelEnd) -----------------------------------------------------------------------------------

    def downstream_received(self, data: bytes) -> None:
        """Pass bytes up."""
        self._tally.bytes_up += len(data)
        self._upstream.send(data)
        self._connection.note_life()

    def downstream_ended(self) -> None:
        """Pass the end of the bytes on."""
        self._downstream_ended = True
        self._upstream.end_sending()
        self._end_when_both_have()

    def left(self, cause: Cause) -> None:
        """End it: downstream is gone, or nothing came for too long."""
        if self._ended:
            return
        self._tally.cause = cause
        self._end()
        self._upstream.abort()
        self._connection.abort()

    def downstream_full(self) -> None:
        """Hold the upstream back."""
        self._upstream.pause_reading()

    def downstream_drained(self) -> None:
        """Let the upstream go on."""
        self._upstream.resume_reading()

    # -- from the upstream (TunnelEnd) ---------------------------------------------------------------------------------

    def upstream_received(self, data: bytes) -> None:
        """Pass bytes down."""
        self._tally.bytes_down += len(data)
        self._connection.write(data)
        self._connection.note_life()
        if self._connection.writing_paused:
            self._upstream.pause_reading()

    def upstream_ended(self) -> None:
        """Pass the end of the bytes on."""
        self._upstream_ended = True
        self._connection.end_writing()
        self._end_when_both_have()

    def upstream_lost(self) -> None:
        """End it: what the upstream sent is still written; a way that had not ended is cut visibly."""
        self._end()
        self._connection.break_off(framed=self._upstream_ended)

    def upload_full(self) -> None:
        """Hold downstream back."""
        self._connection.hold_back()

    def upload_drained(self) -> None:
        """Let downstream go on."""
        self._connection.let_on()

    def _end_when_both_have(self) -> None:
        """End it, too, where TLS could not tell downstream that only the upstream's way has ended."""
        if not self._ended and self._upstream_ended and (self._downstream_ended or self._connection.encrypted):
            self._end()
            self._connection.close()
            self._upstream.close()

    def _end(self) -> None:
        self._ended = True
        self._over(keep=False)
