"""The front: aiohttp's low-level server with connections of ours, and the choice of what a request is.

No application, router or middleware stands on the proxied path. Each request ends in one canonical log line.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from aiohttp import web

from sidecar.downstream.cancel_endpoint import answer_cancel
from sidecar.downstream.chat import ChatExchange
from sidecar.downstream.connection import Connection
from sidecar.downstream.exchange import Exchange
from sidecar.downstream.guard import GuardedExchange
from sidecar.downstream.headers import Peer
from sidecar.downstream.routes import CancelMatch, ChatMatch, GuardMatch, Routes, path_of
from sidecar.downstream.tally import DOWNSTREAM_LEFT
from sidecar.errors import DownstreamGoneError
from sidecar.turn.state import Cause

if TYPE_CHECKING:
    from sidecar.downstream.edge import Edge

ABORTED_BY: Final = MappingProxyType(
    {
        Cause.OPERATOR: "operator",
        Cause.SHUTDOWN: "sidecar",
        Cause.EXPIRED: "sidecar",
        Cause.STALLED: "sidecar",
        Cause.UPSTREAM_FAILED: "upstream",
    }
)
"""Who ended an exchange before its end, where it was not the client."""

log = structlog.get_logger()


class Relayed:
    """What aiohttp is given for a response that was written already."""

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Do nothing: the head is out."""

    async def write_eof(self) -> None:
        """Do nothing: the body is out."""


class Front(web.Server):
    """Makes connections of ours, and answers their requests."""

    def __init__(self, edge: Edge) -> None:
        listen = edge.settings.listen
        super().__init__(
            self._handle,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=listen.keepalive_timeout_s,
        )
        self._edge = edge
        self._routes = Routes(edge.settings.chat, edge.settings.guard)
        self._exchanges: set[Exchange] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def use(self, edge: Edge) -> None:
        """Let new connections and exchanges take place in other surroundings; those under way keep theirs."""
        self._edge = edge
        self._routes = Routes(edge.settings.chat, edge.settings.guard)
        self._kwargs["keepalive_timeout"] = edge.settings.listen.keepalive_timeout_s

    def __call__(self) -> Connection:
        """Make a connection."""
        edge = self._edge
        loop = asyncio.get_running_loop()
        return Connection(
            self,
            loop=loop,
            listen=edge.settings.listen,
            watch=edge.watch,
            delivery=edge.delivery,
            **self._kwargs,
        )

    @property
    def under_way(self) -> int:
        """How many exchanges are under way."""
        return len(self._exchanges)

    async def drain(self, timeout_s: float) -> None:
        """Let exchanges under way finish for a while; then downstream is left to see its stream broken off."""
        for connection in self.connections:
            cast("Connection", connection).retire()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            log.warning("shutdown_cancels", exchanges=len(self._exchanges))
        for exchange in tuple(self._exchanges):
            exchange.left(Cause.SHUTDOWN)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        match = self._routes.find(request.method, request.raw_path)
        if isinstance(match, CancelMatch):
            return await self._cancel(request, match)
        exchange = self._exchange(request, match)
        self._exchanges.add(exchange)
        self._idle.clear()
        try:
            keep_alive = await exchange.run()
        finally:
            self._exchanges.discard(exchange)
            if not self._exchanges:
                self._idle.set()
            _log_exchange(request, exchange)
            self._edge.observer.exchange_ended(exchange.tally.status, exchange.tally.failure)
        retiring = cast("Connection", request.protocol).retiring
        return cast("web.StreamResponse", Relayed(keep_alive=keep_alive and not retiring))

    def _exchange(self, request: web.BaseRequest, match: ChatMatch | GuardMatch | None) -> Exchange:
        connection = cast("Connection", request.protocol)
        peer = self._peer(request)
        if match is None:
            return Exchange(self._edge, connection, request, peer)
        if isinstance(match, GuardMatch):
            return GuardedExchange(self._edge, connection, request, peer, match)
        return ChatExchange(self._edge, connection, request, peer, match)

    async def _cancel(self, request: web.BaseRequest, match: CancelMatch) -> web.StreamResponse:
        try:
            response = await answer_cancel(self._edge, request, match.chat)
        except DownstreamGoneError:
            return cast("web.StreamResponse", Relayed(keep_alive=False))
        log.info("cancel", route=match.chat.cancel_path, status=response.status)
        return response

    def _peer(self, request: web.BaseRequest) -> Peer:
        address = request.remote or "unix:"
        trusted = any(_within(address, network) for network in self._edge.settings.listen.trusted_proxies)
        return Peer(address=address, scheme=request.scheme, trusted=trusted)


def _within(address: str, network: Any) -> bool:  # noqa: ANN401  (IPv4Network or IPv6Network)
    try:
        return ip_address(address) in network
    except ValueError:
        return False


def _log_exchange(request: web.BaseRequest, exchange: Exchange) -> None:
    """Write the canonical line: durations in milliseconds; no query, no body, no identity."""
    tally = exchange.tally
    turn = exchange.turn
    now = asyncio.get_running_loop().time()
    cause = turn.cause if turn is not None and turn.cause is not None else tally.cause
    log.info(
        "exchange",
        request_id=tally.request_id,
        turn=turn.id if turn else None,
        route=turn.route if turn else None,
        method=request.method,
        path=path_of(request.raw_path),
        status=tally.status,
        aborted_by=_aborted_by(cause) if tally.status == DOWNSTREAM_LEFT else None,
        cause=cause.value if cause else None,
        state=turn.state.value if turn else None,
        bytes_up=tally.bytes_up,
        bytes_down=tally.bytes_down,
        head_ms=round((tally.head_at - tally.began_at) * 1000, 1) if tally.head_at else None,
        duration_ms=round((now - tally.began_at) * 1000, 1),
        error=tally.error,
    )


def _aborted_by(cause: Cause | None) -> str:
    return ABORTED_BY.get(cause, "downstream") if cause is not None else "downstream"
