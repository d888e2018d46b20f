"""Relays a turn's answer: learns what it tells, and keeps its end back until that is durable.

        head --> ids learned --> written        pieces --> scanned --> written
        end (terminal frame, or the body's end) --> held --answered is durable--> written --> handed over

The end of the answer is not shown before it is durable (law 5): from the terminal frame, or the body's end, on, bytes
wait for the journal's `answered`. Nothing else on the byte path waits for the journal (law 8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.downstream.announce import Announcement, announcement_for
from sidecar.downstream.body import Held, Piece
from sidecar.downstream.handover import EndHandover
from sidecar.downstream.newcomer import REQUEST_ID
from sidecar.downstream.scan import AnswerScan
from sidecar.downstream.turn_exchange import TurnExchange
from sidecar.turn.events import AnswerBegan, AnswerEnded, EndedUnseen, IdsLearned, Refused
from sidecar.turn.state import State
from sidecar.wire.framing import NoBody

if TYPE_CHECKING:
    import asyncio

    from sidecar.downstream.connection import Connection
    from sidecar.downstream.edge import Edge
    from sidecar.downstream.request import Request
    from sidecar.downstream.routes import ChatMatch
    from sidecar.downstream.server import Front
    from sidecar.errors import PeerError
    from sidecar.wire.answer_head import Head
    from sidecar.wire.fields import Field
    from sidecar.wire.framing import Framing

CONVERSATION_ID: Final = b"X-Conversation-Id"
ERROR_STATUS: Final = 400


class ChatExchange(TurnExchange):
    """A turn whose answer is relayed as it comes."""

    def __init__(self, edge: Edge, front: Front, connection: Connection, request: Request, match: ChatMatch) -> None:
        super().__init__(edge, front, connection, request, match)
        self._scan = AnswerScan(match.route)
        self._announcement: Announcement | None = None
        self._held: Held | None = None
        self._broken: PeerError | None = None

    # -- the answer ------------------------------------------------------------------------------------------------

    def head_received(self, head: Head, framing: Framing, *, alone: bool) -> None:
        """Learn what the head tells; write it, unless nobody is there to read it."""
        self._feed(AnswerBegan(at=self._edge.clock()))
        self._learn(self._scan.head(head, self._turn, terminal=self._is(State.OPEN)))
        if head.status >= ERROR_STATUS:
            self._feed(Refused(at=self._edge.clock()))
        if self._over.done():
            return
        self._take_head(head)
        self._choose_announcement(head, framing)
        self._answer.write_head(
            head,
            framing,
            added=self._own_fields(),
            alone=alone,
            with_frames=self._announcement is not None,
            last=self._front.retiring,
        )
        if self._announcement is not None and self._turn.temp_id is not None:
            self._answer.write_frame(self._announcement.first(self._turn.temp_id))

    def _take_piece(self, piece: Piece, *, last: bool) -> None:
        """Pass bytes on as they come, but hold back the answer's end until it is durable."""
        if self._unseen is not None:
            self._unseen.count(len(piece.data))
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

    def _pass_unseen(self, piece: Piece, *, last: bool, ended: bool) -> None:
        unseen = self._unseen
        if unseen is not None:
            unseen.bound(len(piece.data))
        if unseen is not None and unseen.away and ended:
            self._feed(EndedUnseen(at=self._edge.clock(), captured=self._end_scan()))
            self.close_upstream()
        elif last:
            self._end_turn_answer()
        elif unseen is not None and unseen.drains and not self._may_tell:
            self._drain_over()

    @property
    def _may_tell(self) -> bool:
        """Whether the rest of the answer may tell an id that a call needs: no other is worth reading on for."""
        turn = self._turn
        return self._scan.may_tell(frozenset().union(*turn.plan.needs.values()) - turn.captured.keys())

    def downstream_drained(self) -> None:
        """Let the upstream go on, unless the answer's end is held back: what comes behind it would be, too."""
        if self._held is None or self._over.done():
            super().downstream_drained()

    @property
    def _heedless(self) -> bool:
        return self._scan.over and self._announcement is None

    def answer_failed(self, error: PeerError) -> None:
        """Fail; but where the answer's end is only held back, show that first."""
        if self._held is not None:
            self._broken, self._upstream = error, None
        else:
            super().answer_failed(error)

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
        self._plain = False
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
            self._handover = EndHandover(self._connection, self._edge.delivery, self._decided)
            self._handover.begin(self._loop)
        if self._broken is not None:
            self._fail(self._broken)
        elif held.last:
            self._end_answer()
        elif not self._connection.writing_paused:
            self.downstream_drained()

    # -- announcing ------------------------------------------------------------------------------------------------

    def _choose_announcement(self, head: Head, framing: Framing) -> None:
        if self._turn.temp_id is not None and self._is(State.OPEN) and not isinstance(framing, NoBody):
            self._announcement = announcement_for(head.get(b"content-type"), head.get(b"content-encoding"))

    def _announce_final(self) -> None:
        if self._announcement is not None and self._turn.conversation_id is not None:
            self._answer.write_frame(self._announcement.last(self._turn.conversation_id))

    def _write_piece(self, piece: Piece) -> None:
        if self._announcement is not None:
            self._announcement.note(piece.body)
        super()._write_piece(piece)
