"""What becomes of header fields on their way through; pure.

Order, case, duplicates and bytes stay as they came. Fields that concern one connection only go (RFC 9110, 7.6.1):
the well-known ones and those that `Connection` names, save the ones that carry the message's framing and routing.
`Transfer-Encoding` stays where the chunks themselves pass on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Field: TypeAlias = tuple[bytes, bytes]

HOP_BY_HOP: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"})
FORWARDED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_UNSTRIPPABLE: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"x-request-id", b"x-conversation-id", *FORWARDED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is on the other end: its address as text, the scheme it used, and whether its X-Forwarded-* are believed."""

    address: str
    scheme: str
    trusted: bool


def field_values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """Give the values of the fields of that name (in lower case)."""
    return [value for field, value in fields if field.lower() == name]


def end_to_end(fields: Iterable[Field]) -> list[Field]:
    """Leave out what concerns one connection only."""
    kept = list(fields)
    named = {
        token.strip().lower() for value in field_values(kept, b"connection") for token in value.split(b",")
    } - _UNSTRIPPABLE
    return [field for field in kept if (name := field[0].lower()) not in HOP_BY_HOP and name not in named]


def forwarded(fields: Sequence[Field], peer: Peer) -> list[Field]:
    """Add X-Forwarded-For, -Proto and -Host: extended where the peer is trusted, else replaced."""
    came = {name: field_values(fields, name) for name in FORWARDED} if peer.trusted else {}
    chain = [*came.get(b"x-forwarded-for", []), peer.address.encode()]
    proto = came.get(b"x-forwarded-proto") or [peer.scheme.encode()]
    host = came.get(b"x-forwarded-host") or field_values(fields, b"host")
    rest = [field for field in fields if field[0].lower() not in FORWARDED]
    rest.append((b"X-Forwarded-For", b", ".join(chain)))
    rest.extend((b"X-Forwarded-Proto", value) for value in proto[:1])
    rest.extend((b"X-Forwarded-Host", value) for value in host[:1])
    return rest


def with_fields(fields: Sequence[Field], added: Iterable[Field]) -> list[Field]:
    """Set fields: each replaces the first of its name in place (others of the name go), or comes last."""
    result = list(fields)
    for name, value in added:
        places = [place for place, field in enumerate(result) if field[0].lower() == name.lower()]
        if places:
            result[places[0]] = (result[places[0]][0], value)
            result = [field for place, field in enumerate(result) if place not in places[1:]]
        else:
            result.append((name, value))
    return result


def without(fields: Iterable[Field], *names: bytes) -> list[Field]:
    """Leave out the fields of those names (in lower case)."""
    return [field for field in fields if field[0].lower() not in names]


def head_bytes(start_line: bytes, fields: Iterable[Field]) -> bytes:
    """Put a head together."""
    return b"".join([start_line, b"\r\n", *(b"%b: %b\r\n" % field for field in fields), b"\r\n"])
