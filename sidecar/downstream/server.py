"""The front: makes connections, bounds them, and decides what a request is. Each ends in one canonical log line.

Connection --request--> routes --> CancelExchange | ChatExchange | GuardedExchange | Exchange
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import structlog

from sidecar.deadlines import Deadlines
from sidecar.downstream.cancel_endpoint import CancelExchange
from sidecar.downstream.chat import ChatExchange
from sidecar.downstream.connection import Connection
from sidecar.downstream.exchange import Exchange
from sidecar.downstream.guard import GuardedExchange
from sidecar.downstream.line import Line
from sidecar.downstream.routes import CancelMatch, ChatMatch, GuardMatch, Routes
from sidecar.downstream.sockets import peer_of
from sidecar.downstream.stall import LOOKS
from sidecar.errors import BugError, OverloadedError, TooManyError
from sidecar.turn.state import Cause

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.config import Listen
    from sidecar.downstream.delivery import DeliveryWatch
    from sidecar.downstream.edge import Edge
    from sidecar.downstream.headers import Peer
    from sidecar.downstream.request import Request
    from sidecar.downstream.watch import DisconnectWatch
    from sidecar.errors import SidecarError
    from sidecar.wire.request_head import HeadLimits

LINGER_S: Final = 5.0
"""For so long an early end of a connection waits for downstream to read it."""

LATECOMERS_S: Final = 2.0
"""For so long a stop waits for the first request of a connection that was just made."""

log = structlog.get_logger()


class Front:
    """Makes connections of ours, and exchanges of their requests."""

    def __init__(self, edge: Edge) -> None:
        self.loop = loop = asyncio.get_running_loop()
        self.retiring = False
        self.connections: set[Connection] = set()
        self.heads = Deadlines(loop, edge.settings.listen.head_timeout_s, Connection.head_late)
        self.bodies = Deadlines(loop, edge.settings.listen.body_timeout_s, Connection.body_late)
        self.idle: Deadlines[Connection] = Deadlines(loop, edge.settings.listen.keepalive_timeout_s, Connection.close)
        self.tunnels = Deadlines(loop, edge.settings.listen.tunnel_idle_timeout_s, Connection.tunnel_idle)
        self.lingering: Deadlines[Connection] = Deadlines(loop, LINGER_S, Connection.close)
        self.stalls = Deadlines(loop, edge.settings.listen.write_timeout_s / LOOKS, Line.look_for_stall)
        self._exchanges: set[Exchange] = set()
        self._by_address: Counter[str] = Counter()
        self._shaking_hands: WeakSet[Connection] = WeakSet()
        self._no_connection = asyncio.Event()
        self._no_connection.set()
        self._moved = asyncio.Event()
        self._nothing_under_way = asyncio.Event()
        self._nothing_under_way.set()
        self.use(edge)

    def use(self, edge: Edge) -> None:
        """Serve what begins from now on with this edge; exchanges under way keep theirs."""
        self._edge = edge
        self._routes = Routes(edge.settings.chat, edge.settings.guard, edge.settings.plan)
        self.listen: Listen = edge.settings.listen
        self.limits: HeadLimits = self.listen.head_limits
        self.watch: DisconnectWatch = edge.watch
        self.delivery: DeliveryWatch = edge.delivery
        self.heads.change(self.listen.head_timeout_s)
        self.bodies.change(self.listen.body_timeout_s)
        self.stalls.change(self.listen.write_timeout_s / LOOKS)
        self.idle.change(self.listen.keepalive_timeout_s)
        self.tunnels.change(self.listen.tunnel_idle_timeout_s)

    def __call__(self) -> Connection:
        """Make a connection. Over TLS it is heard of again only once hands are shaken, if they ever are."""
        connection = Connection(self)
        if self.listen.tls is not None:
            self._shaking_hands.add(connection)
        return connection

    @property
    def under_way(self) -> int:
        """How many exchanges are under way."""
        return len(self._exchanges)

    async def drain(self, timeout_s: float) -> None:
        """Let exchanges under way finish for a while; then downstream is left to see its stream broken off."""
        self.retiring = True
        for connection in tuple(self.connections):
            connection.retire()
        try:
            async with asyncio.timeout(timeout_s):
                await self._take_latecomers()
                await self._nothing_under_way.wait()
                await self._until_no(lambda connection: bool(connection.handovers))
        except TimeoutError:
            log.warning("shutdown_cancels", exchanges=len(self._exchanges))
        for exchange in tuple(self._exchanges):
            exchange.left(Cause.SHUTDOWN)

    async def shutdown(self, timeout_s: float) -> None:
        """End every connection; those with something still to be written, after a while."""
        self.retiring = True
        self._close_idle()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._no_connection.wait()
        for connection in tuple(self.connections):
            connection.abort()
        for deadlines in (self.heads, self.bodies, self.idle, self.tunnels, self.stalls, self.lingering):
            deadlines.close()

    async def _take_latecomers(self) -> None:
        """Wait a little for requests that are on their way on connections that were let in before the end began."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LATECOMERS_S):
                while self._shaking_hands:
                    self._moved.clear()
                    await self._moved.wait()
                await self._until_no(lambda connection: connection.awaits_request)
        self._close_idle()

    async def _until_no(self, still: Callable[[Connection], bool]) -> None:
        """Wait until that is true of no connection."""
        while any(map(still, self.connections)):
            self._moved.clear()
            await self._moved.wait()

    def _close_idle(self) -> None:
        for connection in tuple(self.connections):
            if connection.awaits_request:
                connection.close()

    # -- for connections -----------------------------------------------------------------------------------------------

    def peer_of(self, transport: asyncio.Transport) -> Peer:
        """Say who is on the other end."""
        return peer_of(transport, self.listen.trusted_proxies)

    def admit(self, connection: Connection) -> SidecarError | None:
        """Take a connection in; say why it is one too many, if it is."""
        self._shaking_hands.discard(connection)
        self._moved.set()
        self.connections.add(connection)
        self._no_connection.clear()
        address = connection.peer.address
        self._by_address[address] += 1
        if len(self.connections) > self.listen.connections_max:
            return OverloadedError("there are too many connections")
        if 0 < self.listen.connections_per_address_max < self._by_address[address]:
            return TooManyError("there are too many connections from this address")
        return None

    def forget(self, connection: Connection) -> None:
        """Let a connection go that is closed."""
        self.connections.discard(connection)
        self._moved.set()
        if not self.connections:
            self._no_connection.set()
        address = connection.peer.address
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def refused(self, error: SidecarError) -> None:
        """Take note of what never became an exchange."""
        log.info("refused", error=type(error).__name__.removesuffix("Error"), reason=str(error))

    def begin(self, connection: Connection, request: Request) -> None:
        """Begin the exchange of a request. A bug of ours is a 500, and shows."""
        try:
            exchange = self._exchange(connection, request)
            exchange.begin()
            self._exchanges.add(exchange)
            self._nothing_under_way.clear()
            self._moved.set()
        except Exception as error:  # whatever it is, downstream is owed an answer
            log.error("request_failed", method=request.method, exc_info=error)  # noqa: TRY400  (with the error itself)
            connection.refuse(BugError(repr(error)))

    def settled(self, connection: Connection) -> None:
        """Take note that it is decided what became of an answer; its connection may now be closed."""
        self._moved.set()
        if self.retiring:
            connection.retire()

    def ended(self, exchange: Exchange) -> None:
        """Write the canonical line of an exchange that is over."""
        self._exchanges.discard(exchange)
        if not self._exchanges:
            self._nothing_under_way.set()
        exchange.report()

    def _exchange(self, connection: Connection, request: Request) -> Exchange:
        match = self._routes.find(request.method, request.target)
        match match:
            case ChatMatch():
                return ChatExchange(self._edge, self, connection, request, match)
            case CancelMatch():
                return CancelExchange(self._edge, self, connection, request, match)
            case GuardMatch():
                return GuardedExchange(self._edge, self, connection, request, match)
            case None:
                return Exchange(self._edge, self, connection, request)
