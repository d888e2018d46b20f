"""An answer's head: strictly parsed, its fields kept in the order, case and number in which they came."""

from __future__ import annotations

import re
from functools import partial
from typing import Final, NamedTuple

from sidecar.errors import MalformedError
from sidecar.wire.fields import Fields, parse_fields, persists
from sidecar.wire.head_reader import END, HeadReader

HEAD_BYTES_MAX: Final = 65_536
FIELDS_MAX: Final = 1000
LENGTH_DIGITS_MAX: Final = 18

_STATUS_LINE: Final = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?")
_LENGTH: Final = re.compile(rb"[0-9]{1,%d}" % LENGTH_DIGITS_MAX)

answer_reader = partial(HeadReader, bytes_max=HEAD_BYTES_MAX, opening=b"HTTP/1.")
"""Makes the reader of one answer's heads."""


class Head(NamedTuple):
    """A status line and its fields; names and values are bytes as they came, without the space around values."""

    version: str
    """`1.0` or `1.1`."""
    status: int
    reason: bytes
    fields: Fields
    keeps_alive: bool
    """The upstream means to take another request on this connection."""

    def get(self, name: bytes) -> bytes | None:
        """Give the first value of a field, whatever the case of its name."""
        return self.fields.get(name)

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """Give all values of a field, in their order."""
        return self.fields.values(name)


def parse_head(data: bytes) -> Head:
    """Read a whole head, ending in CRLF CRLF. Raises MalformedError for anything malformed or ambiguous."""
    if data.find(END) != len(data) - len(END):
        raise MalformedError("the head does not end where it should")
    line, _, section = data[:-2].partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise MalformedError("the status line is ill-formed")
    version = "1.1" if match[1] == b"1.1" else "1.0"
    fields = parse_fields(section, line_bytes_max=HEAD_BYTES_MAX, fields_max=FIELDS_MAX)
    head = Head(version, int(match[2]), match[3] or b"", fields, persists(fields, version))
    _judge_framing(head)
    return head


def _judge_framing(head: Head) -> None:
    """Refuse a head that leaves two opinions of where its body ends (RFC 9112, 6.3)."""
    lengths = head.fields.by_name.get(b"content-length")
    codings = head.fields.by_name.get(b"transfer-encoding")
    if lengths is not None and (len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0])):
        raise MalformedError("Content-Length is not one number")
    if codings is None:
        return
    if lengths is not None:
        raise MalformedError("both Content-Length and Transfer-Encoding")
    if head.version == "1.0":
        raise MalformedError("Transfer-Encoding on HTTP/1.0")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        raise MalformedError("a Transfer-Encoding other than chunked")
