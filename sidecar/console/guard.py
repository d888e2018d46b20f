"""Who may ask, and from where: the checks before every handler, and the headers behind it.

Host    a name that is not ours is refused, so that no page can reach us under a name of its own (DNS rebinding)
token   compared in constant time; sent as `Authorization: Bearer`, which no browser adds by itself (CSRF)
POST    JSON only, and of our own origin where the browser names one: no other page's form or script can send that
GET     changes nothing
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from sidecar.config import TcpAddress, parse_address
from sidecar.console.problem import Problem
from sidecar.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler

    from sidecar.config import Console

SAFE: Final = frozenset({"GET", "HEAD"})
OPEN_PATHS: Final = ("/", "/healthz", "/readyz")
OPEN_FOLDER: Final = "/static/"
CLIENT_JSON: Final = "application/json"

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log = structlog.get_logger()


class Guard:
    """Knows the token (empty: none is needed) and the names by which the console may be asked for, as now in force."""

    def __init__(self, settings: Callable[[], Console]) -> None:
        self._settings = settings

    def is_known(self, request: web.Request) -> bool:
        """Say whether the request brings the token, or none is needed: without one, the console is for this machine."""
        token = self._settings().token
        if not token:
            return _came_by_loopback(request)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return hmac.compare_digest(_digest(token), _digest(given.strip())) and scheme.lower() == "bearer"

    def check(self, request: web.Request) -> None:
        """Raise Problem where the request may not be answered."""
        self._check_host(request)
        is_open = request.path in OPEN_PATHS or request.path.startswith(OPEN_FOLDER)
        if not is_open and not self.is_known(request):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "The token is missing or wrong.",
                "Send `Authorization: Bearer TOKEN` with the token of console.token.",
                {"WWW-Authenticate": 'Bearer realm="cancel-sidecar console"'},
            )
        if request.method not in SAFE:
            self._check_change(request)

    def _check_host(self, request: web.Request) -> None:
        """Take IP addresses as they are: a page that was rebound to us has a name."""
        name = _host_name(request.headers.get("Host", ""))
        if name not in _names(self._settings()) and not _is_ip(name):
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "The console is not known by this name.",
                "Ask for it by its address, or add the name to console.hosts.",
            )

    def _check_change(self, request: web.Request) -> None:
        if request.content_type != CLIENT_JSON:
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only JSON is taken.", f"Send `Content-Type: {CLIENT_JSON}`."
            )
        origin = request.headers.get("Origin")
        foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("Host")
        if foreign or request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "The request comes from another site's page.",
                "Use the console's own page, or a program that is no browser.",
            )


GUARD: Final = web.AppKey("GUARD", Guard)


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let through what the guard lets through; whatever goes wrong is told as JSON, with its mend."""
    try:
        request.app[GUARD].check(request)
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        return _known(error).response()
    except PeerError as error:
        mend = "Look at /readyz, and try again."
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), mend).response()
    except Exception as error:  # a bug of ours; whoever asked learns no more than that
        log.exception("console_failed", path=request.path, error=repr(error))
        mend = "Look into the log for console_failed, and report it."
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The console failed.", mend).response()


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add what every answer carries; a handler may have said otherwise."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")


def _known(error: web.HTTPException) -> Problem:
    """Put aiohttp's own refusals into our words."""
    match error:
        case web.HTTPNotFound():
            return Problem(HTTPStatus.NOT_FOUND, "There is nothing here.", "See /api/openapi.json for what there is.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem(
                HTTPStatus.METHOD_NOT_ALLOWED, "Not with this method.", f"Use {allowed}.", {"Allow": allowed}
            )
        case web.HTTPRequestEntityTooLarge():
            return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too long.", "Send a shorter one.")
        case _:
            return Problem(HTTPStatus(error.status), error.reason, "See /api/openapi.json for what there is.")


def _names(settings: Console) -> set[str]:
    address = parse_address(settings.address)
    own = (address.host,) if isinstance(address, TcpAddress) else ()
    return {"localhost", *(name.rstrip(".").lower() for name in (*own, *settings.hosts))}


def _came_by_loopback(request: web.Request) -> bool:
    """Say whether the address that was asked can be reached from this machine only; so can a Unix socket."""
    name = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return not isinstance(name, tuple) or ip_address(str(name[0]).partition("%")[0]).is_loopback


def _digest(text: str) -> bytes:
    """Hash, so that a comparison's time tells not even the token's length."""
    return sha256(text.encode("utf-8", "surrogateescape")).digest()


def _host_name(host: str) -> str:
    """Cut the port off a Host field, and the brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
