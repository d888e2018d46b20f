"""Where the backend and its admin API are, and what their servers are called: checked, and taken apart; pure.

`http://host:port`, `https://host:port`, or `unix:/path` for plain HTTP over a Unix socket. A check gives the value to
keep, or raises ValueError as those of `values` do; a URL's own text is never repeated in a message.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

from sidecar.config.address import Address, TcpAddress, UnixAddress, parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})
SERVER_NAME_CHARS_MAX: Final = 253

_UNIX: Final = "unix:"
_VISIBLE: Final = re.compile(r"[!-~]+")
_SERVER_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*|[0-9A-Fa-f:.]+")  # an address, too


def address_of(url: str) -> Address:
    """Give where the server of a checked URL listens."""
    if url.startswith(_UNIX):
        return UnixAddress(url.removeprefix(_UNIX))
    parts = urlsplit(url)
    return TcpAddress(parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme])


def is_https(url: str) -> bool:
    """Say whether a checked URL asks for TLS."""
    return urlsplit(url).scheme == "https"


def _upstream_url(text: str) -> str:
    if text.startswith(_UNIX):
        return _socket_url(text)
    parts = _http_url(text)
    if parts.path not in {"", "/"}:
        raise ValueError(
            "has a path, but the request target is relayed as it is; write the URL without it, "
            "and write [[chat]] paths as clients send them"
        )
    return text.rstrip("/")


def _admin_url(text: str) -> str:
    if text.startswith(_UNIX):
        return _socket_url(text)
    _http_url(text)
    return text.rstrip("/")


def _collector_url(text: str) -> str:
    if text and not _http_url(text).path.strip("/"):
        raise ValueError("has no path; write where traces are taken, as http://127.0.0.1:4318/v1/traces")
    return text


def _socket_url(text: str) -> str:
    if not text.removeprefix(_UNIX).startswith("/"):
        raise ValueError("names no absolute path of a Unix socket; write for example unix:/run/backend.sock")
    parse_address(text)
    return text


def _http_url(text: str) -> SplitResult:
    if not _VISIBLE.fullmatch(text):
        raise ValueError("is empty, or has spaces, control or non-ASCII characters; write scheme://host:port alone")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("has no valid host or port; write for example http://127.0.0.1:9000") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(
            "is no http or https URL with a host; write for example http://127.0.0.1:9000, or unix:/path for a socket"
        )
    if port == 0:
        raise ValueError("has port 0, which nobody listens on; write the port of the backend")
    if parts.username is not None or parts.password is not None:
        raise ValueError("carries a user or password; leave them out; the section's headers can have an Authorization")
    if "?" in text or "#" in text:
        raise ValueError("has a query or fragment; leave out what stands from '?' or '#' on")
    return parts


def _server_name(text: str) -> str:
    if not _SERVER_NAME.fullmatch(text) or len(text) > SERVER_NAME_CHARS_MAX:
        raise ValueError(f"{text!r} is no host's name; write the one in the server's certificate, as 'api.internal'")
    return text


UpstreamUrl: TypeAlias = Annotated[str, AfterValidator(_upstream_url)]
AdminUrl: TypeAlias = Annotated[str, AfterValidator(_admin_url)]
ServerName: TypeAlias = Annotated[str, AfterValidator(_server_name)]
CollectorUrl: TypeAlias = Annotated[str, AfterValidator(_collector_url)]
