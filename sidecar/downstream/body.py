"""How an answer's body is written downstream; pure.

Usually the bytes pass as they came, framing and all. They are framed anew where the sidecar adds frames of its own,
and without chunks where downstream speaks HTTP/1.0 and so knows none: there the close ends the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Span: TypeAlias = tuple[int, int]


class Coding(Enum):
    """How the body is written."""

    AS_CAME = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an answer as they came, and where in them the body proper lies (start, stop)."""

    data: bytes
    spans: Sequence[Span]

    @property
    def body(self) -> bytes:
        """The body proper, without framing."""
        return b"".join([self.data[start:stop] for start, stop in self.spans])

    def split(self, offset: int) -> tuple[Piece, Piece]:
        """Cut at an offset into `data`."""
        before = [(start, min(stop, offset)) for start, stop in self.spans if start < offset]
        after = [(max(start, offset) - offset, stop - offset) for start, stop in self.spans if stop > offset]
        return Piece(self.data[:offset], before), Piece(self.data[offset:], after)


@dataclass(slots=True)
class Held:
    """The answer's end, kept back until `answered` is durable. `by_terminal`: it begins with a terminal frame."""

    pieces: list[Piece]
    last: bool
    by_terminal: bool


def chunk(body: bytes) -> bytes:
    """Frame bytes as one chunk (RFC 9112, 7.1); nothing for none, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


def encode(piece: Piece, coding: Coding) -> bytes:
    """Write a piece in the given coding."""
    match coding:
        case Coding.AS_CAME:
            return piece.data
        case Coding.CHUNKED:
            return chunk(piece.body)
        case Coding.UNTIL_CLOSE:
            return piece.body


def encode_frame(body: bytes, coding: Coding) -> bytes:
    """Write bytes of our own in the given coding; AS_CAME cannot carry any."""
    return chunk(body) if coding is Coding.CHUNKED else body


def end_of(coding: Coding) -> bytes:
    """Give what ends the body."""
    return b"0\r\n\r\n" if coding is Coding.CHUNKED else b""
