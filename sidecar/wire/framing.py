"""Where a message's body ends (RFC 9112, 6.3). Framing observes: the bytes themselves pass as they came.

Each piece that arrives is fed once. Framing tells how many of its bytes belong to the message, which of them are the
body proper (`spans`, without the framing of chunks). Pure, and fast: no loop over bytes.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from sidecar.errors import MalformedError
from sidecar.wire.fields import TOKEN, VALUE

if TYPE_CHECKING:
    from sidecar.wire.answer_head import Head

CHUNK_EXTENSION_BYTES_MAX: Final = 4096
TRAILER_BYTES_MAX: Final = 65_536
CHUNK_SIZE_MAX: Final = 2**63 - 1
"""A greater number is another one to whoever counts in 64 bits."""

_LINE_BYTES_MAX: Final = CHUNK_EXTENSION_BYTES_MAX + 64
_EXTENSION: Final = rb"[ \t]{0,16};[\t\x20-\x7e\x80-\xff]{0,%d}" % CHUNK_EXTENSION_BYTES_MAX
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:%b)?\r\n" % _EXTENSION)
_PADDED_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:%b|[ \t]{0,16})\r\n" % _EXTENSION)
_SIZE_LINE_BEGUN: Final = re.compile(rb"[0-9A-Fa-f]{1,16}(?:%b|[ \t]{0,16})\r?" % _EXTENSION)
_TRAILER_LINE: Final = re.compile(rb"(?:(%b++):%b*+)?\r\n" % (TOKEN, VALUE))
_CRLF: Final = b"\r\n"
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class Framing(ABC):
    """What says where a body ends."""

    __slots__ = ("complete", "spans")

    def __init__(self) -> None:
        self.complete = False
        """All of the message has been fed."""
        self.spans: list[tuple[int, int]] = []
        """The body proper within the last fed data: (start, stop) offsets."""

    @abstractmethod
    def feed(self, data: bytes) -> int:
        """Take in what came, and say how many of its bytes belong to this message.

        Raises MalformedError where the body is ill-formed.
        """

    def ended_by_close(self) -> bool:
        """Say whether a close of the connection, now, is a proper end."""
        return self.complete


class NoBody(Framing):
    """The message is its head."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.complete = True

    def feed(self, data: bytes) -> int:  # noqa: ARG002  (the base's signature)
        """Claim nothing."""
        return 0


class LengthBody(Framing):
    """A body of a known length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self._left = length
        self.complete = length == 0

    def feed(self, data: bytes) -> int:
        """Claim what the length still covers."""
        taken = min(self._left, len(data))
        self._left -= taken
        self.complete = self._left == 0
        self.spans = [(0, taken)] if taken else []
        return taken


class UntilCloseBody(Framing):
    """A body that only the connection's end ends; it never completes by its bytes."""

    __slots__ = ()

    def feed(self, data: bytes) -> int:
        """Claim everything."""
        self.spans = [(0, len(data))] if data else []
        return len(data)

    def ended_by_close(self) -> bool:
        """Say yes."""
        return True


class ChunkedBody(Framing):
    """The chunked coding (RFC 9112, 7.1), strictly; extensions and trailers pass, but those of the `barred` names.

    `padded`: spaces may follow a size, as old servers send them.
    """

    __slots__ = ("_barred", "_held", "_in_trailer", "_left", "_size_line", "_trailer_bytes")

    def __init__(self, *, barred: frozenset[bytes] = frozenset(), padded: bool = False) -> None:
        super().__init__()
        self._barred = barred
        self._size_line = _PADDED_SIZE_LINE if padded else _SIZE_LINE
        self._held = bytearray()  # the begin of a line that is not yet whole
        self._left = 0  # of the current chunk, its closing CRLF included
        self._in_trailer = False
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> int:
        """Claim all bytes up to the end of the trailer section."""
        if not (self._left or self._in_trailer or self._held):
            match = self._size_line.match(data)
            start, stop = 0 if match is None else match.end(), len(data) - 2
            # One whole chunk, as nearly all of a stream is: there is nothing to remember of it.
            if match is not None and 0 < int(match[1], 16) == stop - start and data.endswith(_CRLF):
                self.spans = [(start, stop)]
                return len(data)
        return self._feed_parts(data)

    def _feed_parts(self, data: bytes) -> int:
        self.spans = []
        position, stop = 0, len(data)
        while position < stop and not self.complete:
            if self._left:
                position = self._pass_chunk(data, position)
            elif self._in_trailer:
                position = self._pass_trailer_line(data, position)
            else:
                position = self._read_size_line(data, position)
        return position

    def _pass_chunk(self, data: bytes, position: int) -> int:
        start, present = position, len(data) - position
        wanted = self._left - len(_CRLF)
        if wanted > 0:
            taken = min(wanted, present)
            position += taken
            self.spans.append((start, position))
            self._left -= taken
            present -= taken
        if present and self._left:
            # only its CRLF is left now, or the second half of it
            ending = data[position : position + self._left]
            if not _CRLF[-self._left :].startswith(ending):
                raise MalformedError("malformed chunk: no CRLF where its size says")
            position += len(ending)
            self._left -= len(ending)
        return position

    def _read_size_line(self, data: bytes, position: int) -> int:
        if self._held:
            return self._read_split_size_line(data, position)
        match = self._size_line.match(data, position)
        if match is None:
            return self._hold(data[position:], len(data))
        self._begin_chunk(int(match[1], 16))
        return match.end()

    def _read_split_size_line(self, data: bytes, position: int) -> int:
        before = len(self._held)
        line = bytes(self._held) + data[position : position + _LINE_BYTES_MAX]
        match = self._size_line.match(line)
        if match is None:
            return self._hold(line, len(data))
        self._held.clear()
        self._begin_chunk(int(match[1], 16))
        return position + match.end() - before

    def _hold(self, line: bytes, stop: int) -> int:
        """Keep the begin of a size line, if it is one."""
        if not _SIZE_LINE_BEGUN.fullmatch(line):
            raise MalformedError("malformed chunk: its size line is ill-formed")
        self._held[:] = line
        return stop

    def _begin_chunk(self, size: int) -> None:
        if size > CHUNK_SIZE_MAX:
            raise MalformedError("malformed chunk: its size is too large")
        if size:
            self._left = size + len(_CRLF)
        else:
            self._in_trailer = True

    def _pass_trailer_line(self, data: bytes, position: int) -> int:
        newline = data.find(b"\n", position)
        stop = newline + 1 if newline >= 0 else len(data)
        self._trailer_bytes += stop - position
        if self._trailer_bytes > TRAILER_BYTES_MAX:
            raise MalformedError(f"the trailer section is longer than {TRAILER_BYTES_MAX} bytes")
        self._held += data[position:stop]
        if newline >= 0:
            self._end_trailer_line()
        return stop

    def _end_trailer_line(self) -> None:
        line = bytes(self._held)
        self._held.clear()
        match = _TRAILER_LINE.fullmatch(line)
        if match is None:
            raise MalformedError("malformed trailer: a line is ill-formed")
        if match[1] is not None and match[1].lower() in self._barred:
            raise MalformedError("a trailer has the name of a field that stands in the head")
        self.complete = line == _CRLF


def framing_for(head: Head, request_method: str) -> Framing:
    """Say what ends the answer that begins with this head. Raises MalformedError for a tunnel (CONNECT)."""
    if request_method == "HEAD" or head.status < HTTPStatus.OK or head.status in _BODILESS:
        return NoBody()
    if request_method == "CONNECT" and head.status < HTTPStatus.MULTIPLE_CHOICES:
        raise MalformedError("opened a tunnel, which nobody offers")
    if head.get(b"transfer-encoding") is not None:
        return ChunkedBody(padded=True)
    length = head.get(b"content-length")
    return UntilCloseBody() if length is None else LengthBody(int(length))
