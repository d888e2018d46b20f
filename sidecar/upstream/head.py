"""An answer's head: strictly parsed, its fields kept in the order, case and number in which they came.

llhttp judges, with the rules added that it lacks; the fields are then cut out of the very bytes that it accepted.
A head that two readers could understand differently is refused (RFC 9112, 6.3 and 11).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import httptools

from sidecar.errors import UpstreamProtocolError

HEAD_BYTES_MAX: Final = 65_536

_END: Final = b"\r\n\r\n"
_OPENING: Final = b"HTTP/1."
_STATUS_LINE: Final = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_DEAF: Final = object()  # httptools calls back only what its protocol object has


@dataclass(frozen=True, slots=True)
class Head:
    """A status line and its fields; names and values are bytes as they came, without the space around values."""

    version: str
    """`1.0` or `1.1`."""
    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]

    def get(self, name: bytes) -> bytes | None:
        """Give the first value of a field, whatever the case of its name."""
        wanted = name.lower()
        return next((value for field, value in self.fields if field.lower() == wanted), None)

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """Give all values of a field, in their order."""
        wanted = name.lower()
        return tuple(value for field, value in self.fields if field.lower() == wanted)

    @property
    def keeps_alive(self) -> bool:
        """Whether the upstream means to take another request on this connection (RFC 9112, 9.3)."""
        options = {option.strip().lower() for value in self.values(b"connection") for option in value.split(b",")}
        return b"close" not in options and (self.version == "1.1" or b"keep-alive" in options)


class HeadReader:
    """Gathers the bytes of a head until its end is there."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Give the whole head and the bytes behind it, or None while its end is still to come.

        Raises UpstreamProtocolError as soon as the bytes cannot become a head any more, or are too many.
        """
        before = len(self._held)
        self._held += data
        end = self._held.find(_END, max(0, before - len(_END) + 1))
        size = end + len(_END) if end >= 0 else len(self._held)
        if size > HEAD_BYTES_MAX:
            raise UpstreamProtocolError(f"the head is longer than {HEAD_BYTES_MAX} bytes")
        if end < 0:
            _refuse_hopeless(self._held, before)
            return None
        whole, rest = bytes(self._held[:size]), bytes(self._held[size:])
        self._held = bytearray()
        return whole, rest


def parse_head(data: bytes) -> Head:
    """Read a whole head, ending in CRLF CRLF. Raises UpstreamProtocolError for anything malformed or ambiguous."""
    if data.find(_END) != len(data) - len(_END):
        raise UpstreamProtocolError("malformed head: it does not end where it should")
    _judge(data)
    status_line, *lines = data[: -len(_END)].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(status_line)
    if match is None:
        raise UpstreamProtocolError("malformed head: odd version, status or reason")
    version, status, reason = match.groups()
    head = Head(version.decode(), int(status), reason or b"", tuple(map(_cut, lines)))
    _refuse_odd_coding(head)
    return head


def _refuse_hopeless(held: bytearray, checked: int) -> None:
    """Refuse what llhttp would refuse too, but only once its end is there, which may never come."""
    if held[: len(_OPENING)] != _OPENING[: len(held)]:
        raise UpstreamProtocolError("malformed head: this is not HTTP/1")
    if held.count(b"\n", checked) != held.count(b"\r\n", max(0, checked - 1)):
        raise UpstreamProtocolError("malformed head: a line ends without CR")


def _judge(data: bytes) -> None:
    try:
        httptools.HttpResponseParser(_DEAF).feed_data(data)
    except httptools.HttpParserUpgrade:
        return  # a 101 is well-formed; whoever gets it decides
    except httptools.HttpParserError as error:
        raise UpstreamProtocolError(f"malformed head: {error}") from None


def _cut(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def _refuse_odd_coding(head: Head) -> None:
    """Refuse what llhttp lets pass: codings before `chunked`, and any coding on HTTP/1.0 (RFC 9112, 6.1)."""
    codings = head.values(b"transfer-encoding")
    if not codings:
        return
    if head.version == "1.0":
        raise UpstreamProtocolError("malformed head: Transfer-Encoding on HTTP/1.0")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        raise UpstreamProtocolError("malformed head: a Transfer-Encoding other than chunked")
