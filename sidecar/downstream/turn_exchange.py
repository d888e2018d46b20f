"""An exchange that is a turn: let in before anyone else hears of it, and undone when downstream left before its end.

        request --read--> admit (journal) --> forward --> (chat: the answer) --acknowledged--> delivered
                                              left ------------------------------------------> undone, or put up with

What a leaving means, the turn and its route's policies decide; here it is only carried out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.downstream.exchange import Exchange
from sidecar.downstream.newcomer import look_again, read_newcomer
from sidecar.downstream.unseen import Unseen
from sidecar.errors import DownstreamGoneError, ForestalledError, InProgressError, JournalUnavailableError
from sidecar.turn.events import Delivered, DownstreamGone, EndedUnseen, Event, Forwarded, UpstreamLost
from sidecar.turn.state import Cause, Policy, State
from sidecar.wire.fields import with_fields, without

if TYPE_CHECKING:
    import asyncio

    from sidecar.downstream.connection import Connection
    from sidecar.downstream.edge import Edge
    from sidecar.downstream.handover import EndHandover
    from sidecar.downstream.request import Request
    from sidecar.downstream.routes import ChatMatch
    from sidecar.downstream.server import Front
    from sidecar.engine.live import LiveTurn
    from sidecar.errors import SidecarError
    from sidecar.turn.state import Turn
    from sidecar.wire.fields import Field

LEAVINGS: Final = frozenset({Cause.CLOSED, Cause.RESET, Cause.VANISHED})
"""The client's own doing; before its request is whole, they mean that the upload was cut."""


class TurnExchange(Exchange):
    """The life of a turn on its connections: the engine's LiveExchange. How its answer is relayed is its subclass's."""

    def __init__(self, edge: Edge, front: Front, connection: Connection, request: Request, match: ChatMatch) -> None:
        super().__init__(edge, front, connection, request)
        self._match = match
        self._route = match.route.chat.path
        self._live: LiveTurn | None = None
        self._handover: EndHandover | None = None  # once the end was written
        self._unseen: Unseen | None = None  # once downstream is gone, and the answer runs on
        self._running = True
        self._counted: str | None = None  # as one of this principal's

    @property
    def turn(self) -> Turn | None:
        """The turn as it now is; None before it was let in."""
        return self._live.turn if self._live else None

    def _start(self) -> None:
        self._run(self._forward())

    def _end(self, *, keep: bool) -> None:
        """Wait with the close: a closed connection could no longer be asked what was acknowledged."""
        handover = self._handover
        if handover is not None and handover.pending and (self._front.retiring or not keep):
            self._connection.end_writing()
            handover.then(self._end_for_good)
        else:
            self._end_for_good(keep=keep)

    def _end_for_good(self, *, keep: bool = False) -> None:
        self._running = False
        self._release()
        if self._counted is not None:
            self._edge.quota.leave(self._counted)
        super()._end(keep=keep)

    # -- before the upstream hears of it ---------------------------------------------------------------------------

    async def _forward(self) -> None:
        edge = self._edge
        newcomer = await read_newcomer(self._request, self._connection, self._match, edge)
        if self._over.done():
            return
        self.tally.request_id = newcomer.turn.request_id
        self._count(newcomer.turn.principal)
        turn = await self._pass_gate(self._traced(newcomer.turn))
        if self._over.done():
            return
        await self._let_in(turn)
        if not self._is(State.OPEN):
            return
        upstream = edge.pool.check_out_as_new() if self._request.body.complete else None
        if upstream is None:
            upstream = await edge.pool.connect(fresh=True, gone=self._over)
        if not self._is(State.OPEN):
            upstream.abort()
            return
        self._feed(Forwarded(at=edge.clock()))
        self._send(upstream, with_fields(self._request_fields(), newcomer.added_fields))

    def _count(self, principal: str) -> None:
        """Count the turn with its principal's. Raises TooManyError. Nobody in particular is not counted."""
        chat = self._match.route.chat
        if principal != self._edge.principals.nobody:
            self._edge.quota.enter(principal, limit=chat.turns_per_principal_max)
            self._counted = principal

    def _traced(self, turn: Turn) -> Turn:
        """Let what is done for a turn, whenever that is, be a part of its exchange's trace."""
        return turn if self._trace is None else replace(turn, traceparent=self._trace.traceparent)

    async def _pass_gate(self, turn: Turn) -> Turn:
        """Wait for what is in the turn's way; give it as it is by then. Nothing is awaited behind the last look."""
        chat = self._match.route.chat
        while await self._edge.gate.pass_(turn, timeout_s=chat.fence_timeout_s, left=self._over):
            turn = await look_again(turn, chat, self._edge)
        return turn

    @property
    def _offers_upgrade(self) -> bool:
        return False  # a turn is an answer; a tunnel would hide it

    def _request_fields(self) -> list[Field]:
        return without(super()._request_fields(), b"expect")  # which was met here

    async def _let_in(self, turn: Turn) -> None:
        """Journal the turn (law 1), unless its cancel came first (law 6); it can now be found and cancelled."""
        driver = self._edge.driver
        if self._edge.tombstones.forestall(turn):
            await driver.record_cancelled(turn)
            raise ForestalledError(f"turn {turn.id} was cancelled before it came")
        self._live = driver.admit(turn, self)
        try:
            await driver.open(self._live)
        except (InProgressError, JournalUnavailableError):
            self._live = None
            raise

    # -- leaving (LiveExchange) ------------------------------------------------------------------------------------

    def left(self, cause: Cause) -> None:
        """Take note: downstream is gone. What that means for the upstream, the turn decides."""
        if cause in LEAVINGS and not self._request.body.complete:
            cause = Cause.UPLOAD_CUT
        if self._upstream is not None and self._ends_with(cause):
            self._upstream.hang_up()
        self._note_departure(cause)
        self._finish(keep=False)
        if self._live is not None and not self._goes_on_unseen(cause):
            self._feed(self._departure(cause))
        if not self._runs_on:
            self.close_upstream()
        self._connection.abort(framed=self._answer.framed)

    def _ends_with(self, cause: Cause) -> bool:
        """Say whether the upstream's answer is of no more use for sure; the turn decides the same, a moment later."""
        return self._live is not None and self._is(State.OPEN) and self._turn.told and self._patience_s(cause) == 0

    def _departure(self, cause: Cause) -> Event:
        """Say what a leaving is: where it is put up with, an answer that has ended is kept."""
        at = self._edge.clock()
        if self._patience_s(cause) != 0 and self._turn.answered_at is not None:
            return EndedUnseen(at=at)
        return DownstreamGone(at=at, cause=cause)

    def _patience_s(self, cause: Cause) -> float | None:
        """Give the seconds for which a leaving is put up with; None: to the answer's end."""
        reaction = self._match.route.chat.reaction(cause)
        return None if reaction.policy is Policy.COMPLETE else reaction.grace_s

    def _goes_on_unseen(self, cause: Cause) -> bool:
        """Let the answer run on, where the leaving is put up with and the upstream is at work."""
        patience_s = self._patience_s(cause)
        if patience_s == 0 or not self._is(State.OPEN) or not self._turn.heard or self._upstream is None:
            return False
        self._go_on_unseen().begin_away(patience_s)
        self.downstream_drained()
        return True

    def _go_on_unseen(self) -> Unseen:
        if self._unseen is None:
            self._unseen = Unseen(self._edge, self._loop, drained=self._drain_over, impatient=self._grace_over)
        return self._unseen

    def _grace_over(self) -> None:
        self._feed(DownstreamGone(at=self._edge.clock(), cause=self.tally.cause or Cause.CLOSED))

    def abort_downstream(self) -> None:
        """Relay nothing more and end the connection, unless the exchange is over and its end was read."""
        if not self._over.done():
            self._note_departure(self._turn.cause)
            self._finish(keep=False)
        elif not self._undecided:
            return
        self._connection.abort(framed=self._answer.framed)

    def drain_upstream(self) -> None:
        """Read on, unseen, until the missing ids show (law 4)."""
        self._go_on_unseen().begin_drain(possible=self._upstream is not None and self._may_tell)
        self.downstream_drained()

    def close_upstream(self) -> None:
        """Close the upstream's connection; harmless when done twice."""
        if self._unseen is not None:
            self._unseen.end(self.turn, self.tally.cause or (self._live.turn.cause if self._live else None))
        super().close_upstream()
        self._release()

    def _drain_over(self) -> None:
        self._feed(UpstreamLost(at=self._edge.clock()))
        self.close_upstream()

    def _fail(self, error: SidecarError) -> None:
        """Answer downstream first, then undo: the turn's own abort must find the exchange over."""
        super()._fail(error)
        if self._live is None:
            return
        at = self._edge.clock()
        cut = isinstance(error, DownstreamGoneError)
        self._feed(DownstreamGone(at=at, cause=Cause.UPLOAD_CUT) if cut else UpstreamLost(at=at))

    def _decided(self, cause: Cause | None) -> None:
        """Take note of whether downstream has the whole answer."""
        self._handover = None
        self._feed(Delivered(at=self._edge.clock()) if cause is None else self._departure(cause))
        self._release()

    @property
    def _may_tell(self) -> bool:
        """Whether the rest of the answer may still tell an id."""
        return True

    # -- leaves ----------------------------------------------------------------------------------------------------

    @property
    def _undecided(self) -> bool:
        """Whether the end was written, and it is not known whether downstream has it."""
        return self._handover is not None and self._handover.pending

    @property
    def _runs_on(self) -> bool:
        """Whether the answer runs on unseen."""
        return self._unseen is not None and self._unseen.active

    @property
    def _turn(self) -> Turn:
        assert self._live is not None
        return self._live.turn

    def _is(self, state: State) -> bool:
        return self._turn.state is state

    def _feed(self, event: Event) -> asyncio.Future[None]:
        assert self._live is not None
        return self._edge.driver.feed(self._live, event)

    def _release(self) -> None:
        """Let go of the turn once nothing here can tell more about it."""
        underway = self._running or self._undecided or self._runs_on
        if self._live is not None and not underway:
            self._edge.driver.release(self._live)
