"""An answer as its bytes come in: interim heads, the head, the body, its end. Knows no socket.

bytes -> HeadReader   -> informational_received / head_received / switched
      -> framing.feed -> body_received, in the same call

A receiver hears one of `body_received(..., last=True)`, `switched` and `answer_failed`, once, and then nothing.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, Protocol

from sidecar.errors import MalformedError, PeerError, UpstreamProtocolError
from sidecar.wire.answer_head import Head, answer_reader, parse_head
from sidecar.wire.framing import Framing, UntilCloseBody, framing_for

INFORMATIONAL_MAX: Final = 256


class AnswerReceiver(Protocol):
    """Whoever sent a request and takes its answer. Called synchronously; raises nothing."""

    def informational_received(self, head: Head, raw: bytes) -> None:
        """Take an interim answer (1xx, but never 101); `raw` is its bytes as they came."""

    def switched(self, head: Head, raw: bytes, behind: bytes) -> None:
        """Take the connection: the upstream has switched protocols (101), as offered; `behind` came after its head."""

    def head_received(self, head: Head, framing: Framing, *, alone: bool) -> None:
        """Take the final head. Not `alone`: bytes of the body, or its end, follow within the same call."""

    def body_received(self, data: bytes, framing: Framing, *, last: bool) -> None:
        """Take bytes as they came; `framing` tells about exactly these. They may be empty only when `last`."""

    def answer_failed(self, error: PeerError) -> None:
        """Take note that nothing more will come: UpstreamTimeoutError or UpstreamProtocolError."""


class Answer:
    """The answer to one request of the given method. `offers_upgrade`: it may switch protocols."""

    __slots__ = (
        "_method",
        "_offers_upgrade",
        "_reader",
        "_receiver",
        "framing",
        "informational",
        "keeps_alive",
        "over",
        "surplus",
    )

    def __init__(self, receiver: AnswerReceiver, method: str, *, offers_upgrade: bool = False) -> None:
        self._receiver: AnswerReceiver | None = receiver
        self._method = method
        self._offers_upgrade = offers_upgrade
        self._reader = answer_reader()
        self.framing: Framing | None = None
        """Where the body ends, once the final head is in."""
        self.informational = 0
        """How many interim answers came."""
        self.keeps_alive = False
        """By its head and framing, the connection outlives this answer."""
        self.surplus = False
        """Bytes came behind its end."""
        self.over = False
        """The receiver has heard the end, or wants to hear nothing more."""

    def feed(self, data: bytes) -> None:
        """Take in what came, and hand it on."""
        try:
            framing = self.framing
            if framing is None:
                data = self._feed_heads(data)
                framing = self.framing
                if framing is None or not (data or framing.complete):
                    return
            belonging = framing.feed(data)
            if belonging < len(data):
                self.surplus = True
                data = data[:belonging]
            receiver = self._take_receiver() if framing.complete else self._receiver
            if receiver is not None:
                receiver.body_received(data, framing, last=framing.complete)
        except MalformedError as error:
            self.fail(UpstreamProtocolError(f"malformed answer: {error}"))
        except UpstreamProtocolError as error:
            self.fail(error)

    def end(self, *, broken: bool) -> None:
        """Take note that nothing more will come; `broken` where the connection failed rather than closed."""
        framing = self.framing
        if framing is None:
            self.fail(UpstreamProtocolError("closed before answering"))
        elif broken or not framing.ended_by_close():
            self.fail(UpstreamProtocolError("broke off mid-answer"))
        elif (receiver := self._take_receiver()) is not None:
            framing.feed(b"")
            receiver.body_received(b"", framing, last=True)

    def fail(self, error: PeerError) -> None:
        """Tell the receiver, unless it has heard the end before; the connection is of no more use."""
        self.keeps_alive = False
        receiver = self._take_receiver()
        if receiver is not None:
            receiver.answer_failed(error)

    def forget(self) -> None:
        """Let the receiver hear nothing more."""
        self._take_receiver()

    def _feed_heads(self, data: bytes) -> bytes:
        """Take interim heads and the final one; give what follows that, which is body."""
        while self._receiver is not None:
            found = self._reader.feed(data)
            if found is None:
                break
            raw, data = found
            head = parse_head(raw)
            if head.status >= HTTPStatus.OK:
                self._take_final(head, alone=not data)
                return data
            if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
                self._switch(head, raw, data)
                break
            self._count_informational()
            self._receiver.informational_received(head, raw)
        return b""

    def _switch(self, head: Head, raw: bytes, behind: bytes) -> None:
        if not self._offers_upgrade:
            raise UpstreamProtocolError("switched protocols, which nobody offered")
        receiver = self._take_receiver()
        if receiver is not None:
            receiver.switched(head, raw, behind)

    def _take_final(self, head: Head, *, alone: bool) -> None:
        framing = self.framing = framing_for(head, self._method)
        self.keeps_alive = head.keeps_alive and not isinstance(framing, UntilCloseBody)
        if self._receiver is not None:
            self._receiver.head_received(head, framing, alone=alone and not framing.complete)

    def _count_informational(self) -> None:
        self.informational += 1
        if self.informational > INFORMATIONAL_MAX:
            raise UpstreamProtocolError(f"more than {INFORMATIONAL_MAX} interim answers")

    def _take_receiver(self) -> AnswerReceiver | None:
        receiver, self._receiver, self.over = self._receiver, None, True
        return receiver
