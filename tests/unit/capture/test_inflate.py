"""Decoding in slices: every format and every cut gives the body; a bomb and a broken body give an error."""

from __future__ import annotations

import gzip
import itertools
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.capture.inflate import SLICE_BYTES, InflateError, Inflater

if TYPE_CHECKING:
    from collections.abc import Callable


def _raw(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


CODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "gzip in members": ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(b"") + gzip.compress(data[7:])),
    "deflate": ("deflate", zlib.compress),
    "deflate, raw": ("deflate", _raw),
}


@pytest.mark.parametrize("name", CODERS)
@given(body=st.binary(max_size=200), cuts=st.lists(st.integers(0, 300), max_size=4))
def test_any_cut_gives_the_body(name: str, body: bytes, cuts: list[int]) -> None:
    encoding, encode = CODERS[name]
    coded = encode(body)
    borders = [0, *sorted(min(cut, len(coded)) for cut in cuts), len(coded)]
    inflater = Inflater(encoding)
    pieces = [coded[a:b] for a, b in itertools.pairwise(borders)]
    assert b"".join(slice_ for piece in pieces for slice_ in inflater.inflate(piece)) == body


@pytest.mark.parametrize("size", [SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES + 1, 10 * SLICE_BYTES])
def test_slices_are_small_and_none_is_lost(size: int) -> None:
    body = bytes(size)
    slices = list(Inflater("gzip").inflate(gzip.compress(body)))
    assert max(map(len, slices)) <= SLICE_BYTES
    assert b"".join(slices) == body


def test_what_has_come_of_a_body_is_given_whole() -> None:
    coder = zlib.compressobj(wbits=31)
    coded = coder.compress(bytes(2 * SLICE_BYTES)) + coder.flush(zlib.Z_SYNC_FLUSH)
    for size in range(len(coded)):
        expected = zlib.decompressobj(wbits=31).decompress(coded[:size])
        assert b"".join(Inflater("gzip").inflate(coded[:size])) == expected


def test_what_is_flushed_comes_at_once() -> None:
    coder = zlib.compressobj(wbits=31)
    inflater = Inflater("gzip")
    for line in (b"one\n", b"two\n"):
        piece = coder.compress(line) + coder.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(inflater.inflate(piece)) == line


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", b"plain text"),
        ("gzip", gzip.compress(b"x", mtime=0) + b"rubbish after"),
        ("deflate", b"\x78\x9c\xff\xff\xff"),
        ("deflate", zlib.compress(b"x") + b"y"),
        pytest.param("gzip", gzip.compress(bytes(64 * 1024 * 1024), 1), id="bomb"),
    ],
)
def test_what_cannot_be_decoded(encoding: str, data: bytes) -> None:
    inflater = Inflater(encoding)
    with pytest.raises(InflateError):
        for _ in inflater.inflate(data):
            pass
