"""Makes an exchange a turn: journalled first, watched to its end, and undone when downstream left before that.

        request --read--> admit (journal) --> forward --> head --> pieces --> end held --answered--> shown
                                                                              --acknowledged--> delivered

The end of the answer is not shown before it is durable (law 5): from the terminal frame, or the body's end, on, bytes
wait for the journal's `answered`. Nothing else on the byte path waits for the journal (law 8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.downstream.announce import Announcement, announcement_for
from sidecar.downstream.body import Coding, Held, Piece, encode_frame
from sidecar.downstream.exchange import Exchange
from sidecar.downstream.handover import EndHandover
from sidecar.downstream.headers import Field, with_fields, without
from sidecar.downstream.newcomer import REQUEST_ID, read_newcomer
from sidecar.downstream.scan import AnswerScan
from sidecar.downstream.unseen import Unseen
from sidecar.errors import DownstreamGoneError, ForestalledError, JournalUnavailableError
from sidecar.turn.events import (
    AnswerBegan,
    AnswerEnded,
    Delivered,
    DownstreamGone,
    EndedUnseen,
    Event,
    Forwarded,
    IdsLearned,
    Refused,
    UpstreamLost,
)
from sidecar.turn.state import Cause, Policy, State
from sidecar.upstream.framing import NoBody

if TYPE_CHECKING:
    import asyncio

    from aiohttp import web

    from sidecar.downstream.connection import Connection
    from sidecar.downstream.edge import Edge
    from sidecar.downstream.headers import Peer
    from sidecar.downstream.routes import ChatMatch
    from sidecar.engine.driver import LiveTurn
    from sidecar.errors import SidecarError
    from sidecar.turn.state import Turn
    from sidecar.upstream.framing import Framing
    from sidecar.upstream.head import Head

CONVERSATION_ID: Final = b"X-Conversation-Id"
ERROR_STATUS: Final = 400
LEAVINGS: Final = frozenset({Cause.CLOSED, Cause.RESET, Cause.VANISHED})
"""The client's own doing; before its request is whole, they mean that the upload was cut."""


class ChatExchange(Exchange):
    """An exchange that is a turn: the engine's LiveExchange."""

    def __init__(
        self, edge: Edge, connection: Connection, request: web.BaseRequest, peer: Peer, match: ChatMatch
    ) -> None:
        super().__init__(edge, connection, request, peer)
        self._match = match
        self._live: LiveTurn | None = None
        self._scan = AnswerScan(match.route)
        self._announcement: Announcement | None = None
        self._held: Held | None = None
        self._handover = EndHandover(connection, edge.delivery, self._decided)
        self._unseen = Unseen(edge, self._loop, drained=self._drain_over, impatient=self._grace_over)
        self._running = True

    @property
    def turn(self) -> Turn | None:
        """The turn as it now is; None before it was let in."""
        return self._live.turn if self._live else None

    async def run(self) -> bool:
        """Relay the turn; give whether downstream's connection may serve another request."""
        try:
            keep = await super().run()
            if not keep and self._handover.pending:
                self._connection.end_writing()
                await self._handover.wait()  # a closed connection could no longer be asked what was acknowledged
            return keep
        finally:
            self._running = False
            self._release()

    # -- before the upstream hears of it ---------------------------------------------------------------------------

    async def _forward(self) -> None:
        edge = self._edge
        newcomer = await read_newcomer(self._request, self._match, edge)
        if self._over.done():
            return
        self.tally.request_id = newcomer.turn.request_id
        await self._let_in(newcomer.turn)
        if not self._is(State.OPEN):
            return
        upstream = await edge.pool.connect(fresh=True)
        if not self._is(State.OPEN):
            upstream.abort()
            return
        self._feed(Forwarded(at=edge.clock()))
        self._send(upstream, newcomer.body, with_fields(self._request_fields(), newcomer.added_fields))

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
        except JournalUnavailableError:
            self._live = None
            raise

    # -- the answer ------------------------------------------------------------------------------------------------

    def head_received(self, head: Head, framing: Framing) -> None:
        """Learn what the head tells; write it, unless nobody is there to read it."""
        self._feed(AnswerBegan(at=self._edge.clock()))
        self._learn(self._scan.head(head, self._turn, terminal=self._is(State.OPEN)))
        if head.status >= ERROR_STATUS:
            self._feed(Refused(at=self._edge.clock()))
        if self._over.done():
            return
        self._take_head(head)
        self._choose_announcement(head, framing)
        self._choose_coding(framing)
        self._write_head(added=self._own_fields())
        if self._announcement is not None and self._turn.temp_id is not None:
            self._write_frame(self._announcement.first(self._turn.temp_id))

    def body_received(self, data: bytes, framing: Framing, *, last: bool) -> None:
        """Pass bytes on as they come, but hold back the answer's end until it is durable."""
        if last:
            self._upstream = None  # the pool has it back
        piece = Piece(data, framing.spans)
        terminal_at = self._scan.piece(piece)
        self._learn(self._scan.take())
        if self._over.done():
            self._pass_unseen(piece, last=last, ended=last or terminal_at is not None)
        elif self._held is not None:
            self._held.pieces.append(piece)
            self._held.last |= last
        elif self._is(State.OPEN) and (last or terminal_at is not None):
            self._hold(piece, terminal_at, last=last)
        else:
            self._write_piece(piece)
            if last:
                self._end_answer()

    def _learn(self, captured: dict[str, str]) -> None:
        if captured:
            self._feed(IdsLearned(at=self._edge.clock(), captured=captured))

    def _own_fields(self) -> list[Field]:
        """Give the ids that the tracked answer carries (M5), as far as they are known by now."""
        conversation_id = self._live.turn.conversation_id if self._live else None
        ids = [(REQUEST_ID, self.tally.request_id), (CONVERSATION_ID, conversation_id)]
        return [(name, value.encode()) for name, value in ids if value is not None]

    # -- the end of the answer -------------------------------------------------------------------------------------

    def _hold(self, piece: Piece, terminal_at: int | None, *, last: bool) -> None:
        before, end = piece.split(terminal_at or 0)
        self._write_piece(before)
        self._held = Held([end], last, by_terminal=terminal_at is not None)
        if not last:
            self.downstream_full()
        self._end_turn_answer().add_done_callback(self._show_end)

    def _end_turn_answer(self) -> asyncio.Future[None]:
        return self._feed(AnswerEnded(at=self._edge.clock(), captured=self._end_scan()))

    def _end_scan(self) -> dict[str, str]:
        learned, final = self._scan.end()
        self._learn(learned)
        return final

    def _show_end(self, durable: asyncio.Future[None]) -> None:
        """Write what was held back, now that `answered` is durable; unless the turn was cancelled meanwhile."""
        del durable
        held, self._held = self._held, None
        if held is None or self._turn.answered_at is None or self._over.done():
            return
        if held.by_terminal:
            self._announce_final()
        for piece in held.pieces:
            self._write_piece(piece)
        if not held.by_terminal:
            self._announce_final()
        if self._match.route.chat.confirm_on == "sent":
            self._decided(None)
        else:
            self._handover.begin(self._loop)
        if held.last:
            self._end_answer()
        elif not self._connection.writing_paused:
            self.downstream_drained()

    def _decided(self, cause: Cause | None) -> None:
        """Take note of whether downstream has the whole answer."""
        self._feed(Delivered(at=self._edge.clock()) if cause is None else self._departure(cause))
        self._release()

    # -- announcing ------------------------------------------------------------------------------------------------

    def _choose_announcement(self, head: Head, framing: Framing) -> None:
        if self._turn.temp_id is not None and self._is(State.OPEN) and not isinstance(framing, NoBody):
            self._announcement = announcement_for(head.get(b"content-type"), head.get(b"content-encoding"))
        if self._announcement is not None:
            self._coding = Coding.UNTIL_CLOSE if self._speaks_1_0 else Coding.CHUNKED

    def _announce_final(self) -> None:
        if self._announcement is not None and self._turn.conversation_id is not None:
            self._write_frame(self._announcement.last(self._turn.conversation_id))

    def _write_frame(self, frame: bytes) -> None:
        self._connection.write(encode_frame(frame, self._coding))

    def _write_piece(self, piece: Piece) -> None:
        if self._announcement is not None:
            self._announcement.note(piece.body)
        super()._write_piece(piece)

    # -- leaving (LiveExchange) ------------------------------------------------------------------------------------

    def left(self, cause: Cause) -> None:
        """Take note: downstream is gone. What that means for the upstream, the turn decides."""
        if cause in LEAVINGS and not self._request.content.is_eof():
            cause = Cause.UPLOAD_CUT
        self._note_departure(cause)
        self._finish(keep=False)
        if self._live is not None and not self._goes_on_unseen(cause):
            self._feed(self._departure(cause))
        if not self._unseen.active:
            self.close_upstream()
        self._connection.abort(framed=self._framed_answer)

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
        self._unseen.begin_away(patience_s)
        self.downstream_drained()
        return True

    def _grace_over(self) -> None:
        self._feed(DownstreamGone(at=self._edge.clock(), cause=self.tally.cause or Cause.CLOSED))

    def abort_downstream(self) -> None:
        """Relay nothing more and end the connection, unless the exchange is over and its end was read."""
        if not self._over.done():
            self._note_departure(self._turn.cause)
            self._finish(keep=False)
            self._held = None
        elif not self._handover.pending:
            return
        self._connection.abort(framed=self._framed_answer)

    def drain_upstream(self) -> None:
        """Read on, unseen, until the missing ids show (law 4)."""
        self._unseen.begin_drain(possible=self._upstream is not None)
        self.downstream_drained()

    def close_upstream(self) -> None:
        """Close the upstream's connection; harmless when done twice."""
        cause = self.tally.cause or (self._live.turn.cause if self._live else None)
        self._unseen.end(self.turn, cause)
        super().close_upstream()
        self._release()

    def _pass_unseen(self, piece: Piece, *, last: bool, ended: bool) -> None:
        self._unseen.count(len(piece.data))
        if self._unseen.away and ended:
            self._feed(EndedUnseen(at=self._edge.clock(), captured=self._end_scan()))
            self.close_upstream()
        elif last:
            self._end_turn_answer()

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

    # -- leaves ----------------------------------------------------------------------------------------------------

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
        underway = self._running or self._handover.pending or self._unseen.active
        if self._live is not None and not underway:
            self._edge.driver.release(self._live)
