"""Request heads: what one reader accepts, two others understand alike; limits are kept to the byte."""

from __future__ import annotations

import h11
import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import HeadTooLargeError, MalformedError, TargetTooLongError
from sidecar.wire.framing import ChunkedBody, LengthBody, NoBody
from sidecar.wire.head_reader import HeadReader
from sidecar.wire.request_head import HeadLimits, RequestHead, parse_request_head, request_framing

LIMITS = HeadLimits()
TOKEN = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1, max_size=10).map(str.encode)
VALUE = st.binary(max_size=20).map(lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F).strip())
TARGET = st.text("abc/?=&%;.~!$'()*+,:@-_[]{}|^`\"<>\\", max_size=20).map(lambda rest: b"/" + rest.encode())
ODD_LINES = st.sampled_from(
    [
        b"Host: app.example",
        b"Host: b",
        b"Host:",
        b"Content-Length: 3",
        b"Content-Length: 03",
        b"Content-Length: +3",
        b"Content-Length: 3, 3",
        b"content-length : 3",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: Chunked ",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding : chunked",
        b"Connection: close, keep-alive",
        b"Connection: Transfer-Encoding",
        b" folded",
        b"\tfolded",
        b"X: a\rb",
        b"X: a\nTransfer-Encoding: chunked",
        b"X: \x00",
        b"X\x00: a",
        b"X",
        b":",
        b"",
        b"Expect: 100-continue",
        b"Upgrade: h2c",
    ]
)
LINES = st.one_of(ODD_LINES, st.tuples(TOKEN, VALUE).map(b": ".join), st.binary(max_size=12))
START = st.one_of(
    st.tuples(TOKEN, TARGET, st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/1.1 "])).map(
        b" ".join
    ),
    st.sampled_from([b"GET / HTTP/1.1", b"POST http://app.example/x HTTP/1.1", b"OPTIONS * HTTP/1.1"]),
    st.binary(max_size=30),
)
HEADS = st.tuples(START, st.lists(LINES, max_size=6)).map(
    lambda head: b"\r\n".join([head[0], b"Host: app.example", *head[1], b"", b""])
)
KNOWN = b"GET POST PUT DELETE HEAD OPTIONS PATCH".split()


def read(data: bytes) -> RequestHead | None:
    """Read a head and its framing; None where it is refused."""
    try:
        head = parse_request_head(data, LIMITS)
        request_framing(head)
    except MalformedError:
        return None
    return head


def as_h11_has_it(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """h11 writes this one value in lower case."""
    return (name, value.lower() if name.lower() == b"transfer-encoding" else value)


@given(HEADS)
def test_what_is_accepted_h11_understands_alike(data: bytes) -> None:
    head = read(data)
    if head is None or data.find(b"\r\n\r\n") != len(data) - 4:
        return
    other = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
    other.receive_data(data)
    if any(byte >= 0x80 or byte in b'"<>\\^`{|}' for byte in head.target):
        return  # h11 is stricter about targets
    event = other.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target, event.http_version) == (
        head.method.encode(),
        head.target,
        head.version.encode(),
    )
    assert [as_h11_has_it(*field) for field in event.headers.raw_items()] == [
        as_h11_has_it(*field) for field in head.fields
    ]


class Llhttp:
    """Writes down what llhttp reads."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.strip(b" \t")))


@given(HEADS)
def test_what_is_accepted_llhttp_understands_alike(data: bytes) -> None:
    head = read(data)
    if head is None or head.method.encode() not in KNOWN or data.find(b"\r\n\r\n") != len(data) - 4:
        return
    seen = Llhttp()
    parser = httptools.HttpRequestParser(seen)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        pytest.fail(f"{error}: {data!r}")
    assert seen.target == head.target
    assert seen.fields == list(head.fields)
    assert (parser.get_method(), parser.get_http_version()) == (head.method.encode(), head.version)


@given(st.binary(max_size=200), st.integers(1, 20))
def test_no_bytes_surprise_the_reader(data: bytes, step: int) -> None:
    reader = HeadReader(bytes_max=150, line_bytes_max=60)
    try:
        for start in range(0, len(data), step):
            if reader.feed(data[start : start + step]) is not None:
                return
    except MalformedError:
        return


@given(HEADS, st.integers(1, 7))
def test_a_head_is_the_same_however_it_is_split(data: bytes, step: int) -> None:
    def outcome(pieces: list[bytes]) -> object:
        reader = HeadReader(bytes_max=LIMITS.head_bytes_max, line_bytes_max=LIMITS.line_bytes_max)
        for piece in pieces:
            try:
                found = reader.feed(piece)
            except MalformedError:
                return "refused"
            if found is not None:
                return read(found[0]) and found[0]
        return None

    whole = outcome([data])
    assert outcome([data[start : start + step] for start in range(0, len(data), step)]) in {whole, "refused"}
    if whole not in {None, "refused"}:
        assert outcome([data[start : start + 1] for start in range(len(data))]) == whole


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        (b"", NoBody),
        (b"Content-Length: 0\r\n", LengthBody),
        (b"Content-Length: 5\r\n", LengthBody),
        (b"transfer-encoding: CHUNKED\r\n", ChunkedBody),
    ],
)
def test_what_ends_a_request(lines: bytes, framing: type) -> None:
    head = parse_request_head(b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n", LIMITS)
    assert type(request_framing(head)) is framing


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"websocket"),
        (b"connection: keep-alive, upgrade\r\nupgrade: a/1\r\nUpgrade: b\r\n", b"a/1, b"),
        (b"Upgrade: websocket\r\n", None),
        (b"Connection: Upgrade\r\n", None),
        (b"Connection: Upgrade\r\nUpgrade: h2c\r\n", None),
        (b"Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n", None),
        (b"Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n", None),
    ],
)
def test_what_is_an_offer_to_upgrade(lines: bytes, upgrade: bytes | None) -> None:
    assert parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n", LIMITS).upgrade == upgrade
    assert parse_request_head(b"GET / HTTP/1.0\r\nHost: a\r\n" + lines + b"\r\n", LIMITS).upgrade is None


def test_limits_are_kept_to_the_byte() -> None:
    limits = HeadLimits(line_bytes_max=40, field_bytes_max=30, fields_max=3, head_bytes_max=120)
    line = b"GET /" + b"a" * (40 - 14) + b" HTTP/1.1"
    field = b"X: " + b"b" * 27
    head = line + b"\r\nHost: a\r\n" + field + b"\r\n\r\n"
    reader = HeadReader(bytes_max=limits.head_bytes_max, line_bytes_max=limits.line_bytes_max)
    assert reader.feed(head) == (head, b"")
    assert parse_request_head(head, limits).fields[1] == (b"X", b"b" * 27)
    with pytest.raises(TargetTooLongError):
        reader.feed(b"GET /a" + head[5:])
    with pytest.raises(HeadTooLargeError):
        parse_request_head(head.replace(b"X: b", b"X: bb"), limits)
    with pytest.raises(HeadTooLargeError):
        parse_request_head(head[:-2] + b"A: 1\r\nB: 2\r\n\r\n", limits)
    filler = b"Y: " + b"c" * (120 - len(head) - 5) + b"\r\n"
    longest = head[:-2] + filler + b"\r\n"
    assert len(longest) == 120
    fresh = HeadReader(bytes_max=limits.head_bytes_max, line_bytes_max=limits.line_bytes_max)
    assert fresh.feed(longest) == (longest, b"")
    with pytest.raises(HeadTooLargeError):
        fresh.feed(longest.replace(b"Y: c", b"Y: cc"))
