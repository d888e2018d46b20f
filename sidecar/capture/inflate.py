"""A content-coded body, decoded for looking only: in slices, so that no body fills the memory (RFC 9110, 8.4.1)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

INFLATABLE: Final = frozenset({"gzip", "x-gzip", "deflate"})
SLICE_BYTES: Final = 65_536
PIECE_BYTES_MAX: Final = 16 * 1024 * 1024
"""To what a single piece may inflate."""

_GZIP_WBITS: Final = 31
_ZLIB_WBITS: Final = 15
_RAW_WBITS: Final = -15
_HEAD_BYTES: Final = 2


class InflateError(ValueError):
    """The body is not coded as its head says, or inflates beyond measure."""


class Inflater:
    """Decodes `gzip` (several members too) or `deflate` (in zlib's format or, as some send it, without)."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding != "deflate"
        self._head = b""
        self._decoder = zlib.decompressobj(_GZIP_WBITS) if self._gzip else None

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """Give what the next piece decodes to, in slices. Raises InflateError, after which nothing more is decoded."""
        room = PIECE_BYTES_MAX
        while data and (decoder := self._decoder_for(data)):
            data = self._head + data
            self._head = b""
            while True:
                decoded = _decompress(decoder, data)
                room -= len(decoded)
                if room < 0:
                    raise InflateError("a piece inflates beyond measure")
                yield decoded
                data = decoder.unconsumed_tail
                if decoder.eof or (not data and len(decoded) < SLICE_BYTES):
                    break
            data = decoder.unused_data

    def _decoder_for(self, data: bytes) -> zlib._Decompress | None:
        """Give the decoder that takes the data; None where a `deflate` body has not yet shown its format."""
        if self._decoder is None:
            head = self._head + data
            if len(head) < _HEAD_BYTES:
                self._head = head
                return None
            self._decoder = zlib.decompressobj(_ZLIB_WBITS if _is_zlib_head(head) else _RAW_WBITS)
        elif self._decoder.eof:
            if not self._gzip:
                raise InflateError("bytes after the end")
            self._decoder = zlib.decompressobj(_GZIP_WBITS)
        return self._decoder


def _decompress(decoder: zlib._Decompress, data: bytes) -> bytes:
    try:
        return decoder.decompress(data, SLICE_BYTES)
    except zlib.error as error:
        raise InflateError(str(error)) from None


def _is_zlib_head(head: bytes) -> bool:
    """Tell zlib's format by its first two bytes (RFC 1950, 2.2)."""
    return head[0] & 0x0F == zlib.DEFLATED and int.from_bytes(head[:2], "big") % 31 == 0
