"""The calls to the upstream's admin API, over aiohttp's client: one call, one outcome, never an exception.

An answer's status decides, by the sets that the configuration names; its body matters only where the cancel call's
answer is a source of captured values. Nothing is followed, remembered or silently repeated: a redirect is a failure,
cookies are dropped, and the outbox alone tries again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from sidecar.capture.response import capture_cancel_answer
from sidecar.capture.sources import Place, Source
from sidecar.capture.template import render_header, render_json, render_path
from sidecar.config import UnixAddress
from sidecar.config.urls import address_of, is_https
from sidecar.engine.ports import CallOutcome, Verdict
from sidecar.errors import BugError
from sidecar.turn.state import NOTHING, StepKind
from sidecar.upstream.retry_after import retry_after_s
from sidecar.upstream.tls import client_tls
from sidecar.upstream.unreachable import why_unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession

    from sidecar.config import Admin, Call, ClientTls
    from sidecar.turn.state import Turn

ANSWER_BYTES_MAX: Final = 65_536
KEEPALIVE_S: Final = 30.0

_HEADERS: Final = {"User-Agent": "cancel-sidecar", "Accept-Encoding": "identity"}


class AdminClient:
    """The admin API at `base_url`. `sources_of` gives a route's capture sources by the route's name."""

    def __init__(
        self, admin: Admin, base_url: str, sources_of: Callable[[str], Mapping[str, tuple[Source, ...]]], tls: ClientTls
    ) -> None:
        self._admin = admin
        self._address = address_of(base_url)
        self._base_url = "http://localhost" if isinstance(self._address, UnixAddress) else base_url.rstrip("/")
        self._tls = client_tls(tls, "admin.tls") if is_https(base_url) else None
        self._server_name = tls.server_name if self._tls else None
        self._sources_of = sources_of
        self._session: ClientSession | None = None

    async def start(self) -> None:
        """Open the session. Harmless when done twice."""
        if self._session is not None:
            return
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._admin.timeout_s),
            headers=_HEADERS,
            auto_decompress=False,
            trust_env=False,
            middlewares=(_never_repeat,),
        )

    def _connector(self) -> aiohttp.BaseConnector:
        limit = self._admin.concurrency_max
        if isinstance(self._address, UnixAddress):
            return aiohttp.UnixConnector(self._address.path, limit=limit, keepalive_timeout=KEEPALIVE_S)
        return aiohttp.TCPConnector(
            ssl=self._tls or True, limit=limit, keepalive_timeout=KEEPALIVE_S, use_dns_cache=False
        )

    async def close(self) -> None:
        """Close the session. Harmless when done twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(self, kind: StepKind, turn: Turn, *, idempotency_key: str) -> CallOutcome:
        """Make a step's call once. Never raises for what the peer does: a failure is an outcome."""
        configured = self._admin.calls.get(kind)
        if configured is None:
            return _failed(f"admin.{kind} is not configured any more")
        values = {**turn.captured, "turn_id": turn.id, "principal": turn.principal}
        extra = {"Idempotency-Key": idempotency_key, "X-Request-Id": turn.request_id}
        if turn.traceparent is not None:
            extra["traceparent"] = turn.traceparent
        sources = _awaited(self._sources_of(turn.route), turn.captured) if kind is StepKind.CANCEL else {}
        return await self._attempt(configured, values, extra, sources)

    async def shows(self, captured: Mapping[str, str], *, traceparent: str | None = None) -> bool | None:
        """Ask (`admin.verify`) whether the upstream shows the conversation; None where it cannot be told."""
        verify = self._admin.verify
        if not verify or not verify.needs <= captured.keys():
            return None
        told = {"X-Request-Id": captured.get("request_id"), "traceparent": traceparent}
        extra = {name: value for name, value in told.items() if value is not None}
        outcome = await self._attempt(verify, captured, extra, {})
        return {Verdict.DONE: True, Verdict.GONE: False}.get(outcome.verdict)

    async def _attempt(
        self,
        call: Call,
        values: Mapping[str, str],
        extra: Mapping[str, str],
        sources: Mapping[str, tuple[Source, ...]],
    ) -> CallOutcome:
        if self._session is None:
            raise BugError("an admin call was made before the client was started")
        missing = call.needs - values.keys()
        if missing:
            return _failed(f"unknown: {', '.join(sorted(missing))}")
        try:
            async with self._session.request(
                call.method,
                URL(self._base_url + render_path(call.path, values), encoded=True),
                headers=self._headers(call, values, extra),
                json=None if call.json_ is None else render_json(call.json_, values),
                allow_redirects=False,
                server_hostname=self._server_name,
            ) as response:
                return await _outcome(call, response, sources, values)
        except TimeoutError:
            return _failed(f"no answer within {self._admin.timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _failed(_reason(error))

    def _headers(self, call: Call, values: Mapping[str, str], extra: Mapping[str, str]) -> CIMultiDict[str]:
        """Lay the call's fields over the API's, and both over our own."""
        headers = CIMultiDict(extra)
        headers.update(self._admin.headers)
        headers.update({name: render_header(value, values) for name, value in call.headers.items()})
        return headers


def _awaited(sources: Mapping[str, tuple[Source, ...]], known: Mapping[str, str]) -> dict[str, tuple[Source, ...]]:
    """Leave the sources of what only the cancel call's answer can still tell."""
    return {
        name: listed
        for name, listed in sources.items()
        if name not in known and any(source.place is Place.CANCEL_JSON for source in listed)
    }


async def _outcome(
    call: Call, response: ClientResponse, sources: Mapping[str, tuple[Source, ...]], known: Mapping[str, str]
) -> CallOutcome:
    """Judge an answer. Where it has to tell ids, it counts only when it is whole."""
    done = response.status in call.done
    try:
        body = await _read(response)
    except (aiohttp.ClientError, OSError):
        if done and sources:
            raise
        body = b""
    if done:
        captured = capture_cancel_answer(sources, body, known) if sources else NOTHING
        return CallOutcome(verdict=Verdict.DONE, status=response.status, captured=captured)
    if response.status in call.gone:
        return CallOutcome(verdict=Verdict.GONE, status=response.status)
    wait_s = retry_after_s(response.headers.get("Retry-After"), date=response.headers.get("Date"), now=time.time())
    return CallOutcome(
        verdict=Verdict.FAILED, status=response.status, error=f"answered {response.status}", retry_after_s=wait_s
    )


async def _read(response: ClientResponse) -> bytes:
    """Give an answer's body, which frees its connection for the next call; a body too long loses the connection."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            response.close()
            break
    return bytes(body[:ANSWER_BYTES_MAX])


async def _never_repeat(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending GET, PUT and DELETE again, unasked, when a kept connection turns out closed.

    It repeats after ServerDisconnectedError and ClientOSError (aiohttp#10790); told otherwise, it lets the failure out.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise aiohttp.ClientConnectionError("closed before answering") from error


def _failed(reason: str) -> CallOutcome:
    return CallOutcome(verdict=Verdict.FAILED, error=reason)


def _reason(error: Exception) -> str:
    """Say in a few words what went wrong; neither URL nor header may be in them."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"cannot connect: {why_unreachable(error.certificate_error)}"
        case aiohttp.ClientConnectorError():
            return f"cannot connect: {why_unreachable(error.os_error)}"
        case aiohttp.ClientResponseError():
            return "answered no proper HTTP"
        case aiohttp.ClientConnectionError():
            return "closed before answering"
        case aiohttp.ClientPayloadError():
            return "broke off mid-answer"
        case _:
            return f"cannot be made: {type(error).__name__}"
