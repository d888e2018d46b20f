"""Pieces of a body: cut anywhere, they hold the same bytes; written in any coding, they hold the same body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.body import Coding, Piece, Span, chunk, encode, encode_frame, end_of


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Draw bytes with ordered spans that may touch, may be empty, and may leave framing between them."""
    data = draw(st.binary(max_size=40))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return Piece(data, tuple(zip(cuts[::2], cuts[1::2], strict=False)))


def unchunk(data: bytes) -> tuple[bytes, bytes]:
    """Read chunks (RFC 9112, 7.1) as long as there are any; give the body and the rest."""
    body = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        assert size == b"%x" % length
        if length == 0:
            return body, data
        assert rest[length : length + 2] == b"\r\n"
        body, data = body + rest[:length], rest[length + 2 :]
    return body, data


@given(pieces())
def test_a_cut_at_every_offset_keeps_data_and_body(piece: Piece) -> None:
    for offset in range(len(piece.data) + 1):
        before, after = piece.split(offset)
        assert (before.data, after.data) == (piece.data[:offset], piece.data[offset:])
        assert before.body + after.body == piece.body
        for part in (before, after):
            assert all(0 <= start <= stop <= len(part.data) for start, stop in part.spans)


@given(pieces(), st.data())
def test_a_cut_puts_each_byte_of_the_body_on_its_own_side(piece: Piece, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(piece.data)))
    before, _ = piece.split(offset)
    ahead = sum(1 for start, stop in piece.spans for place in range(start, stop) if place < offset)
    assert len(before.body) == ahead


@pytest.mark.parametrize(
    ("spans", "offset", "before", "after"),
    [
        ([(0, 4)], 0, b"", b"abcd"),
        ([(0, 4)], 4, b"abcd", b""),
        ([(0, 4)], 2, b"ab", b"cd"),
        ([(1, 2), (3, 4)], 1, b"", b"bd"),
        ([(1, 2), (3, 4)], 2, b"b", b"d"),
        ([(1, 2), (3, 4)], 3, b"b", b"d"),
        ([], 2, b"", b""),
    ],
)
def test_cuts_at_the_borders(spans: list[Span], offset: int, before: bytes, after: bytes) -> None:
    parts = Piece(b"abcd", spans).split(offset)
    assert tuple(part.body for part in parts) == (before, after)


@given(pieces())
def test_every_coding_holds_the_body(piece: Piece) -> None:
    assert encode(piece, Coding.AS_CAME) == piece.data
    assert encode(piece, Coding.UNTIL_CLOSE) == piece.body
    assert unchunk(encode(piece, Coding.CHUNKED)) == (piece.body, b"")


@given(st.lists(st.one_of(pieces(), st.binary(max_size=8)), max_size=6))
def test_pieces_and_frames_of_our_own_make_one_chunked_body(parts: list[Piece | bytes]) -> None:
    """No part of it, however empty, ends the body too early."""
    written = b"".join(
        encode_frame(part, Coding.CHUNKED) if isinstance(part, bytes) else encode(part, Coding.CHUNKED)
        for part in parts
    )
    body = b"".join(part if isinstance(part, bytes) else part.body for part in parts)
    assert unchunk(written + end_of(Coding.CHUNKED)) == (body, b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("body", "framed"), [(b"", b""), (b"a", b"1\r\na\r\n"), (b"\r\n" * 8, b"10\r\n" + b"\r\n" * 8 + b"\r\n")]
)
def test_a_chunk(body: bytes, framed: bytes) -> None:
    assert chunk(body) == framed


@pytest.mark.parametrize("coding", [Coding.AS_CAME, Coding.UNTIL_CLOSE])
def test_what_is_not_chunked_ends_with_nothing(coding: Coding) -> None:
    assert end_of(coding) == b""
    assert encode_frame(b"frame", coding) == b"frame"
