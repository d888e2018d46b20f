"""What comes over the wire: heads and bodies of both sides. However they are cut, they are read alike."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fuzz.cut import knob, pieces
from sidecar.errors import PeerError
from sidecar.upstream.answer import Answer
from sidecar.wire.fields import head_bytes
from sidecar.wire.framing import ChunkedBody, Framing, LengthBody, NoBody
from sidecar.wire.head_reader import HeadReader
from sidecar.wire.request_head import HeadLimits, RequestHead, parse_request_head, request_framing

if TYPE_CHECKING:
    from sidecar.errors import MalformedError
    from sidecar.wire.answer_head import Head

LIMITS: Final = HeadLimits(line_bytes_max=300, field_bytes_max=300, fields_max=20, head_bytes_max=900)
METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS")
_ODD: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


# -- requests ----------------------------------------------------------------------------------------------------------


@dataclass(eq=True)
class ReadRequest:
    """A request as far as it was read."""

    head: RequestHead | None = None
    body: bytes = b""
    whole: bool = False
    behind: bytes = b""


def request(data: bytes) -> None:
    """Read a request from downstream."""
    how, data = knob(data)
    whole, cut = _read_request([data] if data else []), _read_request(pieces(data, how))
    assert whole == cut, (whole, cut)
    if whole is not None and whole.head is not None:
        _judge_request(whole.head)


def _read_request(came: list[bytes]) -> ReadRequest | None:
    """Read a request; None where it is refused."""
    reader = HeadReader(bytes_max=LIMITS.head_bytes_max, line_bytes_max=LIMITS.line_bytes_max)
    result, framing = ReadRequest(), NoBody()  # type: tuple[ReadRequest, Framing]
    try:
        for piece in came:
            data = piece
            if result.head is None:
                found = reader.feed(data)
                if found is None:
                    continue
                raw, data = found
                result.head = parse_request_head(raw, LIMITS)
                framing = request_framing(result.head)
            _read_body(framing, data, result)
    except PeerError:
        return None
    result.whole = result.head is not None and framing.complete
    return result


def _read_body(framing: Framing, data: bytes, result: ReadRequest) -> None:
    if framing.complete:
        result.behind += data
        return
    taken = framing.feed(data)
    assert 0 <= taken <= len(data)
    result.body += b"".join(data[start:stop] for start, stop in framing.spans)
    result.behind += data[taken:]


def _judge_request(head: RequestHead) -> None:
    """Let what was let in be readable in one way only."""
    fields = head.fields
    again = head_bytes(b"%b %b HTTP/%b" % (head.method.encode(), head.target, head.version.encode()), fields)
    if len(again) <= LIMITS.head_bytes_max and max(map(len, again.split(b"\r\n"))) <= LIMITS.field_bytes_max:
        assert parse_request_head(again, LIMITS) == head
    for name, value in fields:
        assert not _ODD.search(name + value), fields
        assert not name.strip(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"), name
    assert len(fields.values(b"host")) == 1 or (head.version == "1.0" and not fields.values(b"host"))
    lengths, codings = fields.values(b"content-length"), fields.values(b"transfer-encoding")
    assert len(lengths) + len(codings) <= 1
    assert all(length.isdigit() for length in lengths)
    assert all(coding.lower() == b"chunked" for coding in codings)
    assert not _ODD.search(head.target)
    assert b" " not in head.target


# -- answers -----------------------------------------------------------------------------------------------------------


@dataclass
class Listener:
    """What a receiver hears of an answer."""

    heads: list[Head] = field(default_factory=list)
    raw: bytes = b""
    body: bytes = b""
    ends: int = 0
    failed: bool = False

    def informational_received(self, head: Head, raw: bytes) -> None:
        """Note an interim answer."""
        assert raw.endswith(b"\r\n\r\n")
        assert not self.ends
        self.heads.append(head)

    def head_received(self, head: Head, framing: Framing, *, alone: bool) -> None:
        """Note the head."""
        del alone
        assert framing.spans == []
        assert not self.ends
        self.heads.append(head)

    def switched(self, head: Head, raw: bytes, behind: bytes) -> None:
        """Note an end: the connection is a tunnel's."""
        del behind  # the rest comes through the tunnel
        assert raw.endswith(b"\r\n\r\n")
        self.heads.append(head)
        self.ends += 1

    def body_received(self, data: bytes, framing: Framing, *, last: bool) -> None:
        """Note bytes."""
        assert not self.ends
        assert data or last
        self.raw += data
        for start, stop in framing.spans:
            assert 0 <= start < stop <= len(data)
            self.body += data[start:stop]
        self.ends += last

    def answer_failed(self, error: MalformedError | PeerError) -> None:
        """Note the failure."""
        assert str(error)
        assert not self.ends
        self.ends += 1
        self.failed = True


def answer(data: bytes) -> None:
    """Read an answer from upstream."""
    how, data = knob(data)
    which, data = knob(data)
    method, offers = METHODS[which % len(METHODS)], which >= 128  # noqa: PLR2004  (the upper half)
    whole = _hear([data] if data else [], method, offers_upgrade=offers)
    cut = _hear(pieces(data, how), method, offers_upgrade=offers)
    assert whole.failed == cut.failed, (whole, cut)
    if not whole.failed:
        assert whole == cut, (whole, cut)
    for head in whole.heads:
        assert not any(_ODD.search(name + value) for name, value in head.fields), head
        assert not _ODD.search(head.reason), head


def _hear(came: list[bytes], method: str, *, offers_upgrade: bool) -> Listener:
    listener = Listener()
    heard = Answer(listener, method, offers_upgrade=offers_upgrade)
    for piece in came:
        if heard.over:
            break
        heard.feed(piece)
    if not heard.over:
        heard.end(broken=False)
    assert heard.over
    assert listener.ends == 1
    return listener


# -- chunks ------------------------------------------------------------------------------------------------------------


def chunks(data: bytes) -> None:
    """Read a body in chunks, and one of a length."""
    how, data = knob(data)
    whole, cut = _read_chunks([data] if data else []), _read_chunks(pieces(data, how))
    assert whole == cut, (whole, cut)
    length, data = knob(data)
    known = LengthBody(length)
    taken = sum(known.feed(piece) for piece in pieces(data, how))
    assert taken == min(length, len(data))
    assert known.complete == (length <= len(data))


def _read_chunks(came: list[bytes]) -> tuple[bytes, int, bool] | None:
    framing, body, claimed = ChunkedBody(), b"", 0
    try:
        for piece in came:
            taken = framing.feed(piece)
            assert taken == len(piece) or framing.complete
            body += b"".join(piece[start:stop] for start, stop in framing.spans)
            claimed += taken
            if framing.complete:
                break
    except PeerError:
        return None
    return body, claimed, framing.complete
