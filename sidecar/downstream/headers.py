"""What becomes of header fields on their way through; pure.

Order, case, duplicates and bytes stay as they came. Fields that concern one connection only go (RFC 9110, 7.6.1):
the well-known ones and those that `Connection` names, save the ones that carry the message's framing and routing.
`Transfer-Encoding` stays where the chunks themselves pass on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.wire.fields import without
from sidecar.wire.request_head import authority_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.downstream.request import Request
    from sidecar.wire.fields import Field, Fields

HOP_BY_HOP: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"})
FORWARDED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_SAID_BEFORE: Final = FORWARDED | {b"forwarded"}
_UNSTRIPPABLE: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"x-request-id", b"x-conversation-id", *FORWARDED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is on the other end: its address as text, the scheme it used, and whether its X-Forwarded-* are believed."""

    address: str
    scheme: str
    trusted: bool


def end_to_end(fields: Fields) -> list[Field]:
    """Leave out what concerns one connection only."""
    if HOP_BY_HOP.isdisjoint(fields.by_name):
        return list(fields)
    dropped = fields.options(b"connection") - _UNSTRIPPABLE
    dropped |= HOP_BY_HOP
    return [field for field in fields if field[0].lower() not in dropped]


def onward(request: Request, peer: Peer, *, host: bytes, upgrades: bool) -> list[Field]:
    """Give a request's fields as the upstream is sent them. `host` stands in where none came (HTTP/1.0)."""
    fields = forwarded(request.fields, peer)
    if b"host" not in request.fields.by_name:
        fields.insert(0, (b"Host", authority_of(request.raw_target) or host))
    if upgrades and request.upgrade is not None:
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", request.upgrade)]
    return fields


def forwarded(fields: Fields, peer: Peer) -> list[Field]:
    """Give what goes on, with X-Forwarded-For, -Proto and -Host: extended where the peer is trusted, else replaced.

    A stranger's Forwarded (RFC 7239) goes. So does anybody's `X_Forwarded_For` and the like: to a backend behind CGI or
    WSGI it is the same variable.
    """
    came, rest = fields.by_name, end_to_end(fields)
    if b"te" in came and b"trailers" in fields.options(b"te"):
        rest.append((b"TE", b"trailers"))  # as true of us as of downstream: trailers pass
    if not _SAID_BEFORE.isdisjoint(came) or b"_" in b"".join(came):
        return _said_anew(rest, came, peer)
    rest.append((b"X-Forwarded-For", peer.address.encode()))
    rest.append((b"X-Forwarded-Proto", peer.scheme.encode()))
    if b"host" in came:
        rest.append((b"X-Forwarded-Host", came[b"host"][0]))
    return rest


def _said_anew(rest: list[Field], came: Mapping[bytes, list[bytes]], peer: Peer) -> list[Field]:
    """Say who forwards for whom where somebody has said so before, or something like it."""
    chain, proto, host = [], [peer.scheme.encode()], came.get(b"host", [])
    if peer.trusted:
        chain = came.get(b"x-forwarded-for", [])
        proto = came.get(b"x-forwarded-proto", proto)
        host = came.get(b"x-forwarded-host", host)
    else:
        rest = without(rest, b"forwarded")
    rest = [field for field in rest if field[0].lower().replace(b"_", b"-") not in FORWARDED]
    rest.append((b"X-Forwarded-For", b", ".join([*chain, peer.address.encode()])))
    rest.append((b"X-Forwarded-Proto", proto[0]))
    if host:
        rest.append((b"X-Forwarded-Host", host[0]))
    return rest
