"""What may stand between clients and the sidecar, how its answers give it away, and which of its settings mends what.

Pure, and the only place that knows these products. A front that was recognised comes first; of the others each is
named, for most of them leave no trace.
"""

from __future__ import annotations

from enum import Enum, auto
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Trouble(Enum):
    """What a front may do to a chat."""

    BUFFERED = auto()
    """Keeps an answer back instead of passing it on as it comes."""
    UNHEARD = auto()
    """Does not pass on that a client has left."""
    REQUEST_ID = auto()
    """Takes X-Request-Id away, or puts its own in its place."""
    ANSWER_HEADER = auto()
    """Takes away a header of the answer."""
    CLOSES = auto()
    """Ends the connection with the answer."""
    COMPRESSED = auto()
    """Compresses the stream, and has to wait for enough of it."""


NGINX: Final = "nginx"
HAPROXY: Final = "HAProxy"
CADDY: Final = "Caddy"
CLOUDFLARE: Final = "Cloudflare"
ALB: Final = "AWS ALB"
ENVOY: Final = "Envoy"
APACHE: Final = "Apache"

_SERVERS: Final = (
    ("nginx", NGINX),
    ("openresty", NGINX),
    ("caddy", CADDY),
    ("cloudflare", CLOUDFLARE),
    ("awselb", ALB),
    ("envoy", ENVOY),
    ("apache", APACHE),
)
_TRACES: Final = (("CF-RAY", CLOUDFLARE), ("X-Envoy-Upstream-Service-Time", ENVOY), ("X-Amzn-Trace-Id", ALB))

_MENDS: Final[Mapping[Trouble, Mapping[str, str]]] = MappingProxyType(
    {
        Trouble.BUFFERED: {
            NGINX: "proxy_buffering off; (or have the backend answer X-Accel-Buffering: no), and gzip off;",
            HAPROXY: "option http-no-delay, and no compression for this route",
            CADDY: "no encode for this route; Caddy passes chunked answers on by itself, flush_interval is not needed",
            CLOUDFLARE: "Response Buffering off; have the backend answer text/event-stream",
            ENVOY: "no buffer or compressor filter on this route",
            APACHE: "ProxyPass ... flushpackets=on, and SetEnv no-gzip 1",
        },
        Trouble.UNHEARD: {
            NGINX: "proxy_ignore_client_abort off; and no proxy_cache or proxy_store for this route",
            HAPROXY: "option abortonclose",
            CADDY: "no flush_interval -1 in reverse_proxy: with it, Caddy lets requests run on whose client is gone",
            CLOUDFLARE: "a tunnel may keep it to itself, and no setting changes that",
            ALB: "no setting passes it on sooner than idle_timeout.timeout_seconds",
            APACHE: "mod_proxy notices only when it next writes: have the backend send heartbeats",
        },
        Trouble.REQUEST_ID: {
            NGINX: "proxy_set_header X-Request-Id $http_x_request_id;",
            HAPROXY: "no unique-id-header X-Request-Id; http-request set-header only if it is not there",
            CADDY: "no header_up X-Request-Id",
            ENVOY: "preserve_external_request_id: true",
        },
        Trouble.ANSWER_HEADER: {
            NGINX: "no proxy_hide_header for it",
            HAPROXY: "no http-response del-header for it",
            CADDY: "no header_down -NAME for it",
            ENVOY: "no response_headers_to_remove for it",
        },
        Trouble.CLOSES: {
            NGINX: 'keepalive_timeout above 0; to the sidecar: proxy_http_version 1.1; proxy_set_header Connection "";',
            HAPROXY: "no option httpclose",
        },
        Trouble.COMPRESSED: {
            NGINX: "gzip off; for this route",
            HAPROXY: "no compression algo for this route",
            CADDY: "no encode for this route",
            CLOUDFLARE: "have the backend answer Cache-Control: no-transform",
            APACHE: "SetEnv no-gzip 1",
        },
    }
)


def recognise(headers: Mapping[str, str]) -> str | None:
    """Name the front by the headers of an answer, in any case; None where nothing gives it away."""
    fields = [(name.lower(), value.lower()) for name, value in headers.items()]
    if any("caddy" in value for name, value in fields if name == "via"):
        return CADDY
    names = {name for name, _ in fields}
    servers = [value for name, value in fields if name == "server"]  # a front may add its own to the backend's
    marked = (front for trace, front in _TRACES if trace.lower() in names)
    named = (front for word, front in _SERVERS for server in servers if server.startswith(word))
    return next(chain(marked, named), None)


def mends_of(trouble: Trouble, front: str | None) -> tuple[str, ...]:
    """Say what to change: of the recognised front alone, or where there is none, of each."""
    known = _MENDS[trouble]
    chosen = {front: known[front]} if front is not None and front in known else known
    return tuple(f"{name}: {mend}" for name, mend in chosen.items())
