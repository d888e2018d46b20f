"""Relays a read that must not show what was cancelled (M11).

        path names a conversation --gone--> 404, the upstream is not asked
        answer has a list --whole--> read --ids--> journal --> shown without the entries that are gone

A list is held until it is whole. What cannot be looked into (too large, encoded, another status than 200, no JSON) is
passed on as it comes, and said so once. Where the journal cannot be asked, nothing is shown.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.capture.pointer import parse_pointer
from sidecar.capture.sources import usable
from sidecar.downstream.body import Piece
from sidecar.downstream.exchange import Exchange
from sidecar.downstream.json_list import JsonList
from sidecar.errors import ConversationGoneError
from sidecar.wire.fields import Fields, with_fields, without
from sidecar.wire.framing import LengthBody

if TYPE_CHECKING:
    from sidecar.config import Guard
    from sidecar.downstream.connection import Connection
    from sidecar.downstream.edge import Edge
    from sidecar.downstream.request import Request
    from sidecar.downstream.routes import GuardMatch
    from sidecar.downstream.server import Front
    from sidecar.wire.answer_head import Head
    from sidecar.wire.fields import Field
    from sidecar.wire.framing import Framing

CONVERSATION_ID: Final = "conversation_id"
PLAIN_STATUS: Final = 200
INLINE_BYTES_MAX: Final = 65_536
"""A longer list is read on another thread, so that no stream waits for it (law 8)."""

_CONDITIONS: Final = (b"if-none-match", b"if-modified-since", b"range", b"if-range")
"""They speak of what the upstream has, which may be more than was ever shown."""
_VALIDATORS: Final = (b"etag", b"content-md5", b"digest", b"content-digest", b"repr-digest")
_FRAMING: Final = (b"content-length", b"transfer-encoding", b"trailer")
_JSON_TYPES: Final = frozenset({b"", b"application/json", b"text/json", b"text/plain"})

log = structlog.get_logger()


class GuardedExchange(Exchange):
    """An exchange on a guarded route."""

    def __init__(self, edge: Edge, front: Front, connection: Connection, request: Request, match: GuardMatch) -> None:
        super().__init__(edge, front, connection, request)
        self._guard = match.guard
        self._route = match.guard.path
        named = match.path_values.get(CONVERSATION_ID, "")
        self._named = {named} if usable(named) else frozenset()
        self._lists = match.guard.list_ is not None and request.method != "HEAD"
        self._held: tuple[Head, Framing] | None = None
        self._pieces: list[Piece] = []
        self._bytes = 0

    def _start(self) -> None:
        self._run(self._forward())

    async def _forward(self) -> None:
        if await self._edge.late.tombstoned(self._named):
            raise ConversationGoneError("the conversation was cancelled")
        if not self._over.done():
            await super()._forward()

    def _request_fields(self) -> list[Field]:
        fields = super()._request_fields()
        if not self._lists:
            return fields
        return with_fields(without(fields, *_CONDITIONS), [(b"Accept-Encoding", b"identity")])

    # -- from the upstream (AnswerReceiver) ------------------------------------------------------------------------

    def head_received(self, head: Head, framing: Framing, *, alone: bool) -> None:
        """Hold the head of a list; write any other."""
        if not self._lists:
            super().head_received(head, framing, alone=alone)
            return
        self._held = head, framing
        why_not = _why_illegible(head, self._guard)
        if why_not is not None:
            self._pass_on(why_not)

    def body_received(self, data: bytes, framing: Framing, *, last: bool) -> None:
        """Hold bytes of a list until it is whole; write any other as they come."""
        if self._held is None:
            super().body_received(data, framing, last=last)
            return
        if last:
            self._upstream = None  # the pool has it back
        self._pieces.append(Piece(data, framing.spans))
        self._bytes += len(data)
        if last:
            self._run(self._show_list())
        elif self._bytes > self._guard.bytes_max:
            self._pass_on(_too_long(self._guard))

    # -- the list --------------------------------------------------------------------------------------------------

    async def _show_list(self) -> None:
        body = b"".join(piece.body for piece in self._pieces)
        try:
            found = await self._read(body)
        except ValueError as error:
            self._show_as_it_came(str(error))
            return
        gone = await self._edge.late.tombstoned(found.ids)
        if gone:
            self._show(found.without(gone))
            log.info("guard_cut", route=self._guard.path, entries=len(gone))
        else:
            self._show_as_it_came()

    async def _read(self, body: bytes) -> JsonList:
        """Read the list. Raises ValueError where there is none to be read."""
        if len(body) > self._guard.bytes_max:
            raise ValueError(_too_long(self._guard))
        pointers = parse_pointer(self._guard.list_ or ""), parse_pointer(self._guard.id)
        if len(body) <= INLINE_BYTES_MAX:
            return JsonList.read(body, *pointers)
        return await asyncio.to_thread(JsonList.read, body, *pointers)

    def _show_as_it_came(self, why: str | None = None) -> None:
        if self._over.done():
            return
        if why is None:
            self._release()
        else:
            self._pass_on(why)
        self._end_answer()

    def _show(self, body: bytes) -> None:
        """Write the list as it now is: as an answer of a known length, of which the upstream's marks are not true."""
        if self._over.done():
            return
        assert self._held is not None
        head, _ = self._held
        self._held = None
        fields = [*without(head.fields, *_FRAMING, *_VALIDATORS), (b"Content-Length", b"%d" % len(body))]
        framing = LengthBody(len(body))
        framing.feed(body)
        super().head_received(head._replace(fields=Fields(fields)), framing, alone=False)
        super().body_received(body, framing, last=True)

    def _pass_on(self, why: str) -> None:
        log.warning("guard_passed", route=self._guard.path, why=why)
        self._release()

    def _release(self) -> None:
        """Write what was held as it came; what else comes is written at once."""
        assert self._held is not None
        head, framing = self._held
        self._held = None
        super().head_received(head, framing, alone=not self._pieces)
        for piece in self._pieces:
            self._write_piece(piece)
        self._pieces.clear()


def _why_illegible(head: Head, guard: Guard) -> str | None:
    """Say why an answer with such a head is not looked into, if so."""
    if head.status != PLAIN_STATUS:
        return f"status {head.status}"
    if any(value.lower() != b"identity" for value in head.values(b"content-encoding")):
        return "encoded"
    media_type = (head.get(b"content-type") or b"").partition(b";")[0].strip().lower()
    if media_type not in _JSON_TYPES and not media_type.endswith(b"+json"):
        return "no JSON by its media type"
    length = head.get(b"content-length") or b"0"
    return _too_long(guard) if int(length) > guard.bytes_max else None


def _too_long(guard: Guard) -> str:
    return f"longer than {guard.bytes_max} bytes"
