"""A request's head: its line, its fields, and what of it says where it goes and where it ends (RFC 9112, 3 and 6).

Stricter than the RFC asks of a recipient wherever leniency has been used to smuggle: exactly one Host, one Content-
Length or one `Transfer-Encoding: chunked`, no coding on HTTP/1.0, no target with a fragment, no CONNECT.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from sidecar.errors import MalformedError, UnsupportedError
from sidecar.wire.fields import TOKEN, Fields, parse_fields, persists
from sidecar.wire.framing import ChunkedBody, Framing, LengthBody, NoBody

LENGTH_DIGITS_MAX: Final = 18

NO_TRAILERS: Final = frozenset(
    {
        *(b"content-length", b"transfer-encoding", b"trailer", b"host", b"connection", b"te", b"upgrade", b"expect"),
        *(b"authorization", b"cookie", b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"),
        *(b"x-request-id", b"x-conversation-id"),
    }
)
"""What a request says of its framing, its way and its sender is said in its head (RFC 9110, 6.5.1): whoever stands
behind us may take a trailer for a part of it."""

_LINE: Final = re.compile(rb"(%b{1,64}) ([\x21\x22\x24-\x7e\x80-\xff]++) HTTP/(1\.[01])" % TOKEN)
_NAME: Final = rb"[A-Za-z0-9\-._~!$&'()*+,;=%\x80-\xff]++"
_ADDRESS: Final = rb"\[[0-9A-Fa-f:.]++(?:%25[\w.~-]++)?\]"
_HOST: Final = re.compile(rb"(?:" + _NAME + rb"|" + _ADDRESS + rb")(?::[0-9]{0,5})?")
_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*+)://([^/?]*+)")
_LENGTH: Final = re.compile(rb"[0-9]{1,%d}" % LENGTH_DIGITS_MAX)
_PORTS: Final = {b"http": b":80", b"https": b":443"}


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """In bytes, but `fields_max`, which is a number: of the request line, of a field line, of the whole head."""

    line_bytes_max: int = 8190
    field_bytes_max: int = 8190
    fields_max: int = 128
    head_bytes_max: int = 65_536


class RequestHead(NamedTuple):
    """A request line and its fields; the target is as it came."""

    method: str
    target: bytes
    version: str
    """`1.0` or `1.1`."""
    fields: Fields
    keeps_alive: bool
    """Downstream means to send another request on this connection."""
    expects_continue: bool
    """Downstream waits to be asked for the body (RFC 9110, 10.1.1)."""
    upgrade: bytes | None
    """The protocols that downstream offers to switch to (RFC 9110, 7.8), as they came."""


def parse_request_head(data: bytes, limits: HeadLimits) -> RequestHead:
    """Read a whole head, which ends in CRLF CRLF. Raises MalformedError, HeadTooLargeError, UnsupportedError."""
    line, _, section = data[:-2].partition(b"\r\n")
    match = _LINE.fullmatch(line)
    if match is None:
        raise MalformedError("the request line is ill-formed")
    method, target, version = str(match[1], "ascii"), match[2], "1.1" if match[3] == b"1.1" else "1.0"
    fields = parse_fields(section, line_bytes_max=limits.field_bytes_max, fields_max=limits.fields_max)
    keeps, expects, upgrade = persists(fields, version), _expects_continue(fields, version), _upgrade(fields, version)
    head = RequestHead(method, target, version, fields, keeps, expects, upgrade)
    _judge_target(head)
    return head


def authority_of(target: bytes) -> bytes | None:
    """Give the authority in an absolute target."""
    match = _ABSOLUTE.match(target)
    return None if match is None else match[2]


def request_framing(head: RequestHead) -> Framing:
    """Say what ends the request's body. Raises MalformedError, UnsupportedError for a coding other than chunked."""
    codings = head.fields.by_name.get(b"transfer-encoding")
    lengths = head.fields.by_name.get(b"content-length")
    if codings is not None:
        return _chunked(head, codings, lengths)
    if lengths is None:
        return NoBody()
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise MalformedError("Content-Length is not one number")
    return LengthBody(int(lengths[0]))


def _chunked(head: RequestHead, codings: list[bytes], lengths: list[bytes] | None) -> Framing:
    if lengths is not None:
        raise MalformedError("both Content-Length and Transfer-Encoding")
    if head.version == "1.0":
        raise MalformedError("Transfer-Encoding on HTTP/1.0")
    if len(codings) > 1:
        raise MalformedError("Transfer-Encoding comes twice")
    if codings[0].lower() != b"chunked":
        raise UnsupportedError("a Transfer-Encoding other than chunked")
    return ChunkedBody(barred=NO_TRAILERS)


def _expects_continue(fields: Fields, version: str) -> bool:
    return b"expect" in fields.by_name and version == "1.1" and fields.by_name[b"expect"][0].lower() == b"100-continue"


def _upgrade(fields: Fields, version: str) -> bytes | None:
    """Give what is offered, but never h2c: a tunnel of HTTP/2 would carry requests past all that looks at requests."""
    if b"upgrade" not in fields.by_name or version == "1.0" or b"upgrade" not in fields.options(b"connection"):
        return None
    offered = b", ".join(fields.values(b"upgrade"))
    return None if b"h2c" in offered.lower() or b"http/2" in offered.lower() else offered


def _judge_target(head: RequestHead) -> None:
    hosts = head.fields.by_name.get(b"host", [])
    if len(hosts) > 1 or (not hosts and head.version == "1.1"):
        raise MalformedError("not exactly one Host")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise MalformedError("Host is empty or ill-formed")
    if head.method == "CONNECT":
        raise UnsupportedError("CONNECT")
    target = head.target
    if target.startswith(b"/") or (target == b"*" and head.method == "OPTIONS"):
        return
    _judge_absolute(target, hosts)


def _judge_absolute(target: bytes, hosts: list[bytes]) -> None:
    """Let an absolute target pass only where its authority is Host's: else two readers would route it differently."""
    match = _ABSOLUTE.match(target)
    if match is None:
        raise MalformedError("the target has none of the forms of RFC 9112, 3.2")
    scheme, authority = match[1].lower(), match[2].lower()
    port = _PORTS.get(scheme)
    if port is None or not _HOST.fullmatch(authority):
        raise MalformedError("the absolute target is none of http or https, or names no host")
    if hosts and authority.removesuffix(port) != hosts[0].lower().removesuffix(port):
        raise MalformedError("Host is another than the target's")
