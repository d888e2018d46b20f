"""What is examined: a chat's address as clients have it, and a request that the backend takes up. Pure."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from multidict import CIMultiDict

from sidecar.capture.route import compile_path
from sidecar.capture.sources import Place
from sidecar.config import TcpAddress, parse_address
from sidecar.doctor.ways import dialled
from sidecar.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.config import Chat, Settings

QUESTION: Final = "Tell a story of about 200 words."
BODY: Final = json.dumps({"messages": [{"role": "user", "content": QUESTION}], "stream": True}).encode()
REQUEST_ID: Final = "X-Request-Id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the operator asked for. `url` is None for the sidecar's own address; `headers` are `Name: value`."""

    url: str | None = None
    route: str | None = None
    headers: tuple[str, ...] = ()
    body: bytes | None = None
    timeout_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A chat endpoint behind a public URL. `host` and `port` are where connections go."""

    chat: Chat
    url: str
    cancel_url: str
    host: str
    port: int
    tls: bool
    method: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    id_header: str
    timeout_s: float


def target_of(settings: Settings, options: Options) -> Target:
    """Find out what to examine. Raises OperatorError where that is not said, or cannot be done."""
    chat, path = _route(settings, options.route)
    base = (options.url or _own_url(settings)).rstrip("/")
    try:
        parts = urlsplit(base)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise OperatorError(f"--url: {base!r} has no valid host or port; write https://HOST[:PORT][/PREFIX]") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise OperatorError(f"--url: {base!r} is no http or https URL; write https://HOST[:PORT][/PREFIX]")
    return Target(
        chat=chat,
        url=base + path,
        cancel_url=base + chat.cancel_path,
        host=parts.hostname,
        port=port,
        tls=parts.scheme == "https",
        method="POST" if "POST" in chat.methods else min(chat.methods),
        headers=_headers(options.headers),
        body=BODY if options.body is None else options.body,
        id_header=_id_header(chat),
        timeout_s=options.timeout_s,
    )


def new_request_id() -> str:
    """Make a request id that tells whose it is, and when."""
    return f"doctor_{time.time() * 1000:.0f}_{secrets.token_hex(4)}"


def _route(settings: Settings, wanted: str | None) -> tuple[Chat, str]:
    """Give the [[chat]] that is meant, and its path as a client writes it."""
    if not settings.chat:
        raise OperatorError("the configuration has no [[chat]], so there is nothing to examine; add one")
    if wanted is None:
        chat = settings.chat[0]
        if names := compile_path(chat.path).names:
            named = ", ".join(f"{{{name}}}" for name in names)
            raise OperatorError(f"{chat.path} has {named}; write --route with the path of a real chat")
        return chat, chat.path
    for chat in settings.chat:
        if compile_path(chat.path).match(wanted.partition("?")[0]) is not None:
            return chat, wanted
    paths = ", ".join(chat.path for chat in settings.chat)
    raise OperatorError(f"--route: {wanted!r} is none of the chats, which are {paths}; write the path of one of them")


def _own_url(settings: Settings) -> str:
    address = parse_address(settings.listen.address)
    if not isinstance(address, TcpAddress) or not address.port:
        raise OperatorError(f"listen.address is {address}; write --url with an address that clients use")
    return f"{'http' if settings.listen.tls is None else 'https'}://{dialled(address)}"


def _headers(lines: Iterable[str]) -> CIMultiDict[str]:
    headers = CIMultiDict({"Content-Type": "application/json", "Accept-Encoding": "identity"})
    given: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not line.isprintable():
            raise OperatorError("--header: is not 'NAME: VALUE'; write for example 'Authorization: Bearer ...'")
        given.add(name.strip(), value.strip())
    headers.update(given)
    return headers


def _id_header(chat: Chat) -> str:
    """Name the header in which the sidecar looks for the request's id, by which it is then found in the journal."""
    sources = chat.capture["request_id"]
    header = next((source.name for source in sources if source.place is Place.REQUEST_HEADER), None)
    if header is None and sources:
        told = ", ".join(map(str, sources))
        raise OperatorError(
            f"chat.capture.request_id is {told}, but a chat can only be followed by an id in a header; "
            f"add request.header:{REQUEST_ID} as a last source"
        )
    return header or REQUEST_ID
