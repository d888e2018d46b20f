"""What a client holds: its connection. Requests come in here, strictly read, and are answered one after the other.

        bytes --Intake--> request --> Front.begin --> exchange, which occupies the connection until it is over
        in a tunnel, bytes pass as they are

The client's leaving is told to the exchange at once, back-pressure reaches the upstream, and everything that is awaited
has a limit in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.downstream.answers import answer_for, json_answer
from sidecar.downstream.intake import Intake
from sidecar.downstream.line import Line
from sidecar.errors import BodyTimeoutError, DownstreamGoneError, HeadTimeoutError, MalformedError
from sidecar.turn.state import Cause

if TYPE_CHECKING:
    import asyncio

    from sidecar.deadlines import Deadlines
    from sidecar.downstream.delivery import Handover
    from sidecar.downstream.headers import Peer
    from sidecar.downstream.occupant import Occupant, TunnelEnd
    from sidecar.downstream.server import Front
    from sidecar.errors import SidecarError


class Connection(Line):
    """One downstream connection; busy with at most one exchange at a time."""

    __slots__ = (
        "_deadlines",
        "_front",
        "_held_back",
        "_intake",
        "_lingers",
        "_occupant",
        "_sated",
        "_tunnel",
        "handovers",
        "peer",
    )

    def __init__(self, front: Front) -> None:
        listen = front.listen
        super().__init__(
            front.loop,
            front.watch,
            front.stalls,
            write_timeout_s=listen.write_timeout_s,
            buffer_bytes_max=listen.buffer_bytes_max,
        )
        self.handovers: list[Handover] = []
        self._front = front
        self._intake = Intake(front.limits, self._keep_pace, buffer_bytes_max=listen.buffer_bytes_max)
        self._occupant: Occupant | None = None
        self._tunnel: TunnelEnd | None = None
        self._held_back = False
        self._lingers = False
        self._sated = False
        self._deadlines: Deadlines[Connection] | None = None

    # -- for the exchange ----------------------------------------------------------------------------------------------

    def occupy(self, occupant: Occupant) -> None:
        """Make an exchange the one to be told; its request also proves that earlier answers arrived."""
        self._occupant = occupant
        for handover in tuple(self.handovers):
            self._front.delivery.confirm(handover)

    def vacate(self) -> None:
        """Tell the exchange nothing more."""
        self._occupant = None

    def proceed(self, *, keep: bool) -> None:
        """Go on to the next request, or end the connection in order.

        The rest of a body that nobody waited for must never be taken for a request. Nor is one begun for a client that
        has yet to take the answers it has: they would pile up here.
        """
        self._sated = keep and self.writing_paused and not self._closing
        if self._sated:
            return
        if self._intake.uploading and self.encrypted and self.departed is None and not self._closing:
            self._linger()  # a close would meet what is still sent with a reset, which takes the answer away
            return
        unread = self._intake.awaits_body
        ahead = self._intake.end_request()
        if self._closing or self._tunnel is not None:
            return
        if unread or not keep or self._front.retiring:
            self._end(unread=unread or bool(ahead))
            return
        self._held_back = False
        if ahead:
            self._read_head(ahead)
        else:
            self._await(self._front.idle)
        self._keep_pace()

    def become_tunnel(self, end: TunnelEnd) -> None:
        """Pass bytes on as they are from now on, those that came already first."""
        self._occupant = self._tunnel = end
        ahead = self._intake.end_request()
        if ahead:
            end.downstream_received(ahead)
        self._keep_pace()
        self.note_life()

    def note_life(self) -> None:
        """Begin anew to wait for bytes through the tunnel, of either side."""
        if not self._closing:
            self._await(self._front.tunnels)

    def hold_back(self) -> None:
        """Let downstream wait with what it sends. Harmless when done twice."""
        self._held_back = True
        self._keep_pace()

    def let_on(self) -> None:
        """Let downstream go on. Harmless when done twice."""
        self._held_back = False
        self._keep_pace()

    @property
    def awaits_request(self) -> bool:
        """Whether it has none now, nor anything to acknowledge, and may bring one."""
        return self._occupant is None and not (self._closing or self._lingers or self.handovers)

    def retire(self) -> None:
        """Close, if it is idle between requests; one that is on its way, or the first, is still served."""
        if self.awaits_request and self._deadlines is self._front.idle and not self.unread:
            self.close()

    def settle(self, handover: Handover) -> None:
        """Take note: what became of an answer is decided. Until then its connection was not to be closed."""
        self.handovers = [other for other in self.handovers if other is not handover]
        self._front.settled(self)

    def refuse(self, error: SidecarError) -> None:
        """Answer what no exchange will, and end the connection."""
        answer = answer_for(error)
        self.write(json_answer(answer.status, answer.body, added=answer.fields, close=True))
        self._end(unread=True)

    # -- what the watch and the deadlines call -------------------------------------------------------------------------

    def left(self, cause: Cause) -> None:
        """Take note, once, that downstream is gone. In a tunnel, one that only ended its sending is not."""
        if self.departed is not None or (self._tunnel is not None and cause is Cause.CLOSED and not self._closing):
            return
        self.departed = cause
        for handover in tuple(self.handovers):
            self._front.delivery.left(handover, cause)
        if self._occupant is not None:
            self._occupant.left(cause)

    def head_late(self) -> None:
        """End a connection whose head did not come in time; one that said nothing at all, without a word."""
        if self._intake.head_begun:
            self._turn_away(HeadTimeoutError("the head did not come in time"))
        else:
            self.close()

    def body_late(self) -> None:
        """Give up a body of which nothing came for too long."""
        self._intake.fail_body(BodyTimeoutError("the request's body did not come in time"))

    def tunnel_idle(self) -> None:
        """End a tunnel through which nothing came for too long."""
        self.left(Cause.EXPIRED)

    # -- what the transport calls --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; one connection too many is told so."""
        super().connection_made(transport)
        self.peer: Peer = self._front.peer_of(self._transport)
        refusal = self._front.admit(self)
        if refusal is None:
            self._await(self._front.heads)
        else:
            self._turn_away(refusal)

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        if self._tunnel is not None:
            self._tunnel.downstream_received(data)
            return
        if self._lingers or self._closing:
            if self._intake.skip(data):
                self.close()
            return
        if self._intake.busy:
            self._read_behind(data)
        else:
            self._read_head(data)
        self._keep_pace()

    def eof_received(self) -> bool:
        """Take note: the client has finished sending. That is a departure (docs: half-close), but in a tunnel."""
        if self._tunnel is not None:
            self._tunnel.downstream_ended()
            return not self.encrypted
        self.left(Cause.CLOSED)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._await(None)
        super().connection_lost(exc)
        self._intake.fail_body(DownstreamGoneError("the connection has ended"))
        self._intake.end()
        self._front.forget(self)

    def pause_writing(self) -> None:
        """Take note: the client takes less than it is sent."""
        self.writing_paused = True
        if self._occupant is not None:
            self._occupant.downstream_full()

    def resume_writing(self) -> None:
        """Take note: the client has caught up."""
        self.writing_paused = False
        if self._occupant is not None:
            self._occupant.downstream_drained()
        elif self._sated:
            self.proceed(keep=True)

    # -- leaves --------------------------------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        """Read on in a head; with its end, the request begins."""
        front = self._front
        try:
            request = self._intake.read_head(data)
        except MalformedError as error:
            self._turn_away(error)
            return
        if request is not None:
            self._await(None if request.body.complete else front.bodies)
            front.begin(self, request)
        elif self._deadlines is not front.heads:
            self._await(front.heads)

    def _read_behind(self, data: bytes) -> None:
        """Read on in a body, and what is behind it."""
        intake = self._intake
        awaited = intake.awaits_body
        try:
            intake.read_behind(data)
        except MalformedError as error:
            intake.fail_body(error)
            return
        if awaited:
            self._await(self._front.bodies if intake.awaits_body else None)

    def _keep_pace(self) -> None:
        """Read on unless more is held than is good, or the upstream takes no more; only what is read has a limit."""
        on = not (self._held_back or self._intake.full)
        if on is self._paused and not self._closing and self._intake.awaits_body:
            self._await(self._front.bodies if on else None)
        self.read(on=on)

    def _turn_away(self, error: SidecarError) -> None:
        self._front.refused(error)
        self.refuse(error)

    def _end(self, *, unread: bool) -> None:
        """Close; where bytes of downstream are unread, wait for its close: a reset would take the answer away."""
        if not unread or self.departed is not None or not self._transport.can_write_eof():
            self._await(None)
            self.close()
            return
        self.end_writing()
        self._linger()

    def _linger(self) -> None:
        """Wait, not for long, for downstream's close; over TLS, where only a close says enough, for its body's end."""
        self._lingers = True
        self.read(on=True)
        self._await(self._front.lingering)

    def _await(self, deadlines: Deadlines[Connection] | None) -> None:
        """Wait for one thing at a time, or for nothing that has a limit."""
        if self._deadlines is not None and self._deadlines is not deadlines:
            self._deadlines.stop(self)
        self._deadlines = deadlines
        if deadlines is not None:
            deadlines.start(self)
