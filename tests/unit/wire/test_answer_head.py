"""Heads: what is well-formed comes through unchanged; what two readers could understand differently is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import MalformedError
from sidecar.wire.answer_head import HEAD_BYTES_MAX, Head, answer_reader, parse_head
from sidecar.wire.fields import Fields

OK = b"HTTP/1.1 200 OK\r\n"
TYPICAL = OK + b"Content-Type: text/plain; charset=utf-8\r\nX-Conversation-Id: mobile-1\r\n\r\n"

TOKEN = st.text("abcdefgXYZ0123456789-_!#$%&'*+.^`|~", min_size=1, max_size=12).map(str.encode)
TEXT = st.binary(max_size=30).map(lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F).strip(b" "))
FRAMING_NAMES = {b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"proxy-connection"}


def test_fields_keep_order_case_and_duplicates() -> None:
    head = parse_head(OK + b"B: 2\r\nset-cookie: x\r\nSet-Cookie: y\r\nA:1\r\nB:  3 \t\r\nEmpty:\r\n\r\n")
    assert head == Head(
        "1.1",
        200,
        b"OK",
        Fields(
            [(b"B", b"2"), (b"set-cookie", b"x"), (b"Set-Cookie", b"y"), (b"A", b"1"), (b"B", b"3"), (b"Empty", b"")]
        ),
        keeps_alive=True,
    )
    assert head.get(b"SET-COOKIE") == b"x"
    assert head.values(b"Set-cookie") == (b"x", b"y")
    assert head.get(b"Missing") is None


def test_values_are_bytes_as_they_came() -> None:
    assert parse_head(OK + b"X: caf\xe9 \xff\tz\r\n\r\n").get(b"x") == b"caf\xe9 \xff\tz"


@given(st.lists(st.tuples(TOKEN.filter(lambda name: name.lower() not in FRAMING_NAMES), TEXT), max_size=8))
def test_any_well_formed_fields_come_through(fields: list[tuple[bytes, bytes]]) -> None:
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    assert parse_head(OK + lines + b"\r\n").fields == tuple(fields)


@pytest.mark.parametrize(
    ("status_line", "expected"),
    [
        (b"HTTP/1.0 404 Not Found", ("1.0", 404, b"Not Found")),
        (b"HTTP/1.1 200", ("1.1", 200, b"")),
        (b"HTTP/1.1 200 ", ("1.1", 200, b"")),
        (b"HTTP/1.1 599 caf\xe9", ("1.1", 599, b"caf\xe9")),
        (b"HTTP/1.1 100 Continue", ("1.1", 100, b"Continue")),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x",
            ("1.1", 101, b"Switching Protocols"),
        ),
    ],
)
def test_status_lines(status_line: bytes, expected: tuple[str, int, bytes]) -> None:
    head = parse_head(status_line + b"\r\n\r\n")
    assert (head.version, head.status, head.reason) == expected


@pytest.mark.parametrize(
    "malformed",
    [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"HTTP/1 200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"ICE/1.0 200 OK\r\n\r\n",
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 99 x\r\n\r\n",
        b"HTTP/1.1 099 x\r\n\r\n",
        b"HTTP/1.1 000 x\r\n\r\n",
        b"HTTP/1.1 2000 x\r\n\r\n",
        b"HTTP/1.1 abc x\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        OK + b"A: b\n\r\n",
        OK + b"A: b\r\n folded\r\n\r\n",
        OK + b"A: b\0c\r\n\r\n",
        OK + b"A: b\rc\r\n\r\n",
        OK + b"A: \x01\r\n\r\n",
        OK + b"A : b\r\n\r\n",
        OK + b" A: b\r\n\r\n",
        OK + b": b\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"caf\xe9: b\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        OK + b"Content-Length: 5, 6\r\n\r\n",
        OK + b"Content-Length: +5\r\n\r\n",
        OK + b"Content-Length: -5\r\n\r\n",
        OK + b"Content-Length: 5 5\r\n\r\n",
        OK + b"Content-Length: 0x5\r\n\r\n",
        OK + b"Content-Length: \r\n\r\n",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: identity\r\n\r\n",
        OK + b"Transfer-Encoding: xchunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding:\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        TYPICAL + b"x",
        TYPICAL + b"\r\n",
        TYPICAL[:-2],
        b"",
    ],
)
def test_malformed_heads_are_refused(malformed: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_head(malformed)


def test_chunked_is_known_in_any_case() -> None:
    assert parse_head(OK + b"transfer-encoding: Chunked\r\n\r\n").get(b"Transfer-Encoding") == b"Chunked"


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", None, True),
        (b"1.1", b"close", False),
        (b"1.1", b"Keep-Alive, CLOSE", False),
        (b"1.1", b"x, y", True),
        (b"1.0", None, False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_keeps_alive(version: bytes, connection: bytes | None, *, kept: bool) -> None:
    field = b"" if connection is None else b"Connection: " + connection + b"\r\n"
    assert parse_head(b"HTTP/" + version + b" 200 OK\r\n" + field + b"\r\n").keeps_alive is kept


def test_a_head_is_found_wherever_it_is_split() -> None:
    for first in range(len(TYPICAL)):
        for second in range(first, len(TYPICAL)):
            reader = answer_reader()
            assert reader.feed(TYPICAL[:first]) is None
            assert reader.feed(TYPICAL[first:second]) is None
            assert reader.feed(TYPICAL[second:] + b"rest") == (TYPICAL, b"rest")


def test_a_reader_reads_one_head_after_the_other() -> None:
    reader = answer_reader()
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    assert reader.feed(interim + TYPICAL) == (interim, TYPICAL)
    assert reader.feed(TYPICAL) == (TYPICAL, b"")


@pytest.mark.parametrize("hopeless", [b"SSH-2.0-x", b"\r\n", b"HTTP/2", b"HTTP/1.1 200 OK\n", OK + b"A: b\n"])
def test_what_cannot_become_a_head_is_refused_at_once(hopeless: bytes) -> None:
    whole, bytewise = answer_reader(), answer_reader()
    with pytest.raises(MalformedError):
        whole.feed(hopeless)
    for position in range(len(hopeless) - 1):
        try:
            assert bytewise.feed(hopeless[position : position + 1]) is None
        except MalformedError:
            return
    with pytest.raises(MalformedError):
        bytewise.feed(hopeless[-1:])


def test_a_head_has_a_longest_size() -> None:
    filler = OK + b"A: " + b"x" * (HEAD_BYTES_MAX - len(OK) - 7)
    longest = filler + b"\r\n\r\n"
    assert len(longest) == HEAD_BYTES_MAX
    assert answer_reader().feed(longest + b"body") == (longest, b"body")
    with pytest.raises(MalformedError, match="longer than"):
        answer_reader().feed(filler + b"x\r\n\r\n")
    unfinished = answer_reader()
    assert unfinished.feed(filler) is None
    with pytest.raises(MalformedError, match="longer than"):
        unfinished.feed(b"x" * 5)
