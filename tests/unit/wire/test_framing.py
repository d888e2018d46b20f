"""Framing: however a well-formed body is cut into pieces, its end and its body proper are the same."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.errors import MalformedError
from sidecar.wire.answer_head import Head
from sidecar.wire.fields import Fields
from sidecar.wire.framing import (
    CHUNK_EXTENSION_BYTES_MAX,
    TRAILER_BYTES_MAX,
    ChunkedBody,
    Framing,
    LengthBody,
    NoBody,
    UntilCloseBody,
    framing_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

WHOLE = b"5;a=b\r\nhello\r\n0A\r\n, my\r\n wor\r\n1\r\n!\r\n000;x\r\nT: v\r\nU:\r\n\r\n"
WHOLE_BODY = b"hello, my\r\n wor!"


def head(status: int = 200, *fields: tuple[bytes, bytes]) -> Head:
    return Head("1.1", status, b"", Fields(fields), keeps_alive=True)


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def body_of(framing: Framing, pieces: Iterable[bytes]) -> bytes:
    """Feed all pieces, which must all belong to the answer; give the body proper."""
    body = bytearray()
    for piece in pieces:
        assert framing.feed(piece) == len(piece)
        for start, stop in framing.spans:
            assert 0 <= start < stop <= len(piece)
            body += piece[start:stop]
    return bytes(body)


@st.composite
def chunked_bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Give a well-formed chunked body as it is sent, and the body proper."""
    sent, body = bytearray(), bytearray()
    extensions = st.sampled_from([b"", b";x", b' ; name="quoted \xff"', b"\t;a=b;c", b";"])
    for chunk in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6)):
        size = draw(st.sampled_from(["%x", "%X", "0%x", "%016X"])) % len(chunk)
        sent += size.encode() + draw(extensions) + b"\r\n" + chunk + b"\r\n"
        body += chunk
    trailers = draw(st.lists(st.sampled_from([b"T: v\r\n", b"Empty:\r\n", b"X: \xff\r\n"]), max_size=3))
    last = draw(st.sampled_from([b"0", b"000", b"0" * 16]))
    sent += last + draw(extensions) + b"\r\n" + b"".join(trailers) + b"\r\n"
    return bytes(sent), bytes(body)


@given(chunked_bodies(), st.lists(st.integers(min_value=0), max_size=8))
@example((b"1\r\nx\r\n0\r\n\r\n", b"x"), [7])
def test_any_split_of_a_chunked_body_gives_the_same_body(sent: tuple[bytes, bytes], cuts: list[int]) -> None:
    data, body = sent
    framing = ChunkedBody()
    got = bytearray()
    for piece in pieces_of(data, cuts):
        assert not framing.complete or not piece
        assert framing.feed(piece) == len(piece)
        got += b"".join(piece[start:stop] for start, stop in framing.spans)
    assert bytes(got) == body
    assert framing.complete
    assert framing.ended_by_close()


def test_every_split_of_a_chunked_body_in_three() -> None:
    for first in range(len(WHOLE) + 1):
        for second in range(first, len(WHOLE) + 1):
            framing = ChunkedBody()
            assert body_of(framing, pieces_of(WHOLE, [first, second])) == WHOLE_BODY
            assert framing.complete


@given(chunked_bodies(), st.binary(min_size=1, max_size=10), st.integers(min_value=0))
def test_bytes_behind_the_end_are_not_claimed(sent: tuple[bytes, bytes], surplus: bytes, cut: int) -> None:
    data = sent[0]
    first = data[: cut % len(data)]
    framing = ChunkedBody()
    assert framing.feed(first) == len(first)
    assert framing.feed(data[len(first) :] + surplus) == len(data) - len(first)
    assert framing.complete
    assert framing.feed(surplus) == 0
    assert framing.spans == []


@given(chunked_bodies(), st.integers(min_value=0))
def test_a_chunked_body_that_is_cut_short_is_not_complete(sent: tuple[bytes, bytes], cut: int) -> None:
    data = sent[0]
    framing = ChunkedBody()
    framing.feed(data[: cut % len(data)])
    assert not framing.complete
    assert not framing.ended_by_close()


@pytest.mark.parametrize(
    "ill_formed",
    [
        b"\r\n",
        b"x\r\n",
        b"5x\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5_0\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello\r\r",
        b"5\r\nhello!\r\n",
        b"5\r\nhelloX\n",
        b"5\rX",
        b"5;a\nhello\r\n",
        b"5;\0\r\nhello\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5 a\r\nhello\r\n",
        b"11111111111111111\r\n",
        b"00000000000000000\r\n",
        b";a\r\n",
        b"0\n\r\n",
        b"0\r\n\n",
        b"0\r\nT: v\n\r\n",
        b"0\r\nT: v\r\r\n\r\n",
        b"0\r\nT: a\rb\r\n\r\n",
        b"0\r\nT: \0\r\n\r\n",
    ],
)
def test_ill_formed_chunks_are_refused_however_they_are_split(ill_formed: bytes) -> None:
    for cut in range(len(ill_formed)):
        framing = ChunkedBody()
        with pytest.raises(MalformedError):
            body_of(framing, [ill_formed[:cut], ill_formed[cut:]])
    bytewise = ChunkedBody()
    with pytest.raises(MalformedError):
        body_of(bytewise, (ill_formed[position : position + 1] for position in range(len(ill_formed))))


@given(st.binary(max_size=60), st.integers(min_value=0))
def test_no_bytes_surprise_the_chunk_parser(data: bytes, cut: int) -> None:
    """Whole or split, arbitrary bytes are either refused or claimed alike."""

    def verdict(pieces: list[bytes]) -> tuple[bytes, bool] | None:
        framing, body = ChunkedBody(), bytearray()
        try:
            for piece in pieces:
                framing.feed(piece)
                body += b"".join(piece[start:stop] for start, stop in framing.spans)
        except MalformedError:
            return None
        return bytes(body), framing.complete

    assert verdict([data]) == verdict(pieces_of(data, [cut]))


def test_an_extension_has_a_longest_size() -> None:
    longest = b"1;" + b"e" * CHUNK_EXTENSION_BYTES_MAX + b"\r\n"
    assert ChunkedBody().feed(longest) == len(longest)
    for position in (1, 100, len(longest)):
        too_long = b"1;" + b"e" * (CHUNK_EXTENSION_BYTES_MAX + 1)
        framing = ChunkedBody()
        with pytest.raises(MalformedError):
            body_of(framing, pieces_of(too_long, [position]))


def test_a_trailer_section_has_a_longest_size() -> None:
    line = b"T: " + b"v" * 1019 + b"\r\n"
    lines = line * (TRAILER_BYTES_MAX // len(line))
    framing = ChunkedBody()
    framing.feed(b"0\r\n" + lines)
    with pytest.raises(MalformedError, match="trailer section is longer"):
        framing.feed(b"\r\n")
    endless = ChunkedBody()
    with pytest.raises(MalformedError, match="trailer section is longer"):
        body_of(endless, [b"0\r\n", *[b"x" * 1000] * (TRAILER_BYTES_MAX // 1000 + 1)])


@given(st.integers(0, 50), st.binary(max_size=60), st.lists(st.integers(min_value=0), max_size=4))
def test_a_length_claims_just_so_many_bytes(length: int, data: bytes, cuts: list[int]) -> None:
    framing, claimed, body = LengthBody(length), 0, bytearray()
    for piece in pieces_of(data, cuts):
        claimed += framing.feed(piece)
        body += b"".join(piece[start:stop] for start, stop in framing.spans)
    assert claimed == min(length, len(data))
    assert body == data[:length]
    assert framing.complete is (len(data) >= length)
    assert framing.ended_by_close() is framing.complete


def test_until_close_claims_everything_and_only_the_close_ends_it() -> None:
    framing = UntilCloseBody()
    assert framing.feed(b"abc") == 3
    assert framing.spans == [(0, 3)]
    assert not framing.complete
    assert framing.ended_by_close()
    assert framing.feed(b"") == 0
    assert framing.spans == []


def test_no_body_claims_nothing() -> None:
    framing = NoBody()
    assert framing.complete
    assert framing.feed(b"abc") == 0
    assert framing.ended_by_close()


LENGTH = (b"content-length", b"5")
CHUNKED = (b"Transfer-Encoding", b"chunked")


@pytest.mark.parametrize(
    ("method", "answer", "kind"),
    [
        ("GET", head(200, LENGTH), LengthBody),
        ("GET", head(200, CHUNKED), ChunkedBody),
        ("GET", head(200), UntilCloseBody),
        ("HEAD", head(200, LENGTH), NoBody),
        ("HEAD", head(200, CHUNKED), NoBody),
        ("GET", head(204), NoBody),
        ("GET", head(304, LENGTH), NoBody),
        ("GET", head(103), NoBody),
        ("GET", head(205), UntilCloseBody),
        ("POST", head(404, LENGTH), LengthBody),
        ("CONNECT", head(405, LENGTH), LengthBody),
    ],
)
def test_what_ends_an_answer(method: str, answer: Head, kind: type[Framing]) -> None:
    assert type(framing_for(answer, method)) is kind


def test_a_tunnel_is_refused() -> None:
    with pytest.raises(MalformedError):
        framing_for(head(200), "CONNECT")


def test_an_empty_length_is_complete_at_once() -> None:
    assert framing_for(head(200, (b"Content-Length", b"0")), "GET").complete
