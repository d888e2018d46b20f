"""Writes one answer downstream: head, body and end, in the coding that downstream and the answer's framing allow."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from sidecar.downstream.answers import json_answer
from sidecar.downstream.body import Coding, encode, encode_frame, end_of
from sidecar.downstream.headers import end_to_end
from sidecar.wire.fields import head_bytes, with_fields, without
from sidecar.wire.framing import ChunkedBody, UntilCloseBody

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.downstream.body import Piece
    from sidecar.downstream.connection import Connection
    from sidecar.downstream.request import Request
    from sidecar.downstream.tally import Tally
    from sidecar.wire.answer_head import Head
    from sidecar.wire.fields import Field
    from sidecar.wire.framing import Framing


class AnswerWriter:
    """The answer to one request. `keeps`: the connection may serve another request once the answer is out."""

    __slots__ = ("_coding", "_connection", "_held", "_request", "_tally", "begun", "framed", "keeps")

    def __init__(self, connection: Connection, request: Request, tally: Tally) -> None:
        self.begun = False
        """Something of it was written: another answer is out of the question."""
        self.framed = True
        """Downstream can tell its end from its being cut short."""
        self.keeps = False
        self._coding = Coding.AS_CAME
        self._held = b""  # for the next write: one to the kernel instead of two
        self._connection = connection
        self._request = request
        self._tally = tally

    def write_head(
        self,
        head: Head,
        framing: Framing,
        *,
        added: list[Field],
        alone: bool,
        with_frames: bool = False,
        last: bool = False,
    ) -> None:
        """Write the upstream's head; `added` fields are set in it. `with_frames`: frames of our own will join its body.

        Not `alone`: it goes out with what is written next. `last`: no further request is to come on the connection.
        """
        self.begun = True
        self._choose_coding(framing, with_frames=with_frames)
        self.keeps = self._request.keeps_alive and self.framed and not (last or self._request.unasked)
        fields = with_fields(end_to_end(head.fields), added)
        if self._coding is not Coding.AS_CAME:
            fields = without(fields, b"content-length", b"transfer-encoding", b"trailer")
        elif head.status == HTTPStatus.NO_CONTENT:  # there are clients that wait for what these announce
            fields = without(fields, b"content-length", b"transfer-encoding")
        elif self._request.speaks_1_0:  # an answer to HEAD may still name a coding
            fields = without(fields, b"transfer-encoding")
        if self._coding is Coding.CHUNKED:
            fields.append((b"Transfer-Encoding", b"chunked"))
        if not self.keeps:
            fields.append((b"Connection", b"close"))
        elif self._request.speaks_1_0:
            fields.append((b"Connection", b"keep-alive"))
        self._held = head_bytes(b"HTTP/1.1 %d %b" % (head.status, head.reason), fields)
        if alone:
            self.flush()

    def write_piece(self, piece: Piece) -> None:
        """Write bytes of the body."""
        data = piece.data if self._coding is Coding.AS_CAME else encode(piece, self._coding)
        self._tally.bytes_down += len(data)
        self._write(data)

    @property
    def plain(self) -> bool:
        """Whether the rest of the body is written as it came."""
        return self._coding is Coding.AS_CAME and not self._held

    def write_frame(self, frame: bytes) -> None:
        """Write a frame of our own into the body."""
        self._write(encode_frame(frame, self._coding))

    def end(self) -> None:
        """Write what ends the body."""
        self._write(end_of(self._coding))

    def flush(self) -> None:
        """Write what is held. Harmless when done twice."""
        self._write(b"")

    def write_own(self, status: HTTPStatus, body: bytes, added: Iterable[Field] = (), *, last: bool = False) -> None:
        """Write an answer of our own, in JSON. A connection of HTTP/1.0 ends with it."""
        request = self._request
        self.begun = True
        self._tally.status = status
        self.keeps = request.keeps_alive and request.body.complete and not (last or request.speaks_1_0)
        head_only = request.method == "HEAD"
        self._connection.write(json_answer(status, body, added=added, close=not self.keeps, head_only=head_only))

    def _write(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        self._connection.write(data)

    def _choose_coding(self, framing: Framing, *, with_frames: bool) -> None:
        if self._request.speaks_1_0 and (with_frames or isinstance(framing, ChunkedBody)):
            self._coding = Coding.UNTIL_CLOSE
        elif with_frames:
            self._coding = Coding.CHUNKED
        self.framed = self._coding is Coding.CHUNKED or (
            self._coding is Coding.AS_CAME and not isinstance(framing, UntilCloseBody)
        )
