"""The composition root: the only place that joins the rooms; start and stop order stand here and nowhere else.

start: journal -> recovery -> admin client, dispatcher, sweeper, pruner -> listening
stop:  listening -> exchanges under way -> owed steps that are due -> services -> journal
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.config import TcpAddress, parse_address
from sidecar.downstream.delivery import DeliveryWatch
from sidecar.downstream.edge import Edge
from sidecar.downstream.principal import PrincipalHash
from sidecar.downstream.server import Front
from sidecar.downstream.watch import DisconnectWatch
from sidecar.engine.cancellation import CancelDesk
from sidecar.engine.dispatcher import Dispatcher
from sidecar.engine.driver import Driver
from sidecar.engine.gate import Gate
from sidecar.engine.late_content import LateContent
from sidecar.engine.operator import OperatorDesk
from sidecar.engine.orders import Orders
from sidecar.engine.pruner import Pruner
from sidecar.engine.recovery import recover
from sidecar.engine.sweeper import Sweeper
from sidecar.engine.tombstones import Tombstones
from sidecar.engine.wakeup import Wakeup
from sidecar.errors import OperatorError
from sidecar.journal.store import SqliteJournal
from sidecar.telemetry import set_up_logging
from sidecar.upstream.admin import AdminClient
from sidecar.upstream.pool import UpstreamPool

try:
    from uvloop import new_event_loop
except ImportError:  # it comes with CPython only
    from asyncio import new_event_loop  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from sidecar.capture.sources import Source
    from sidecar.config import Settings
    from sidecar.engine.ports import Clock
    from sidecar.turn.state import Plan

LEASE_MARGIN_S: Final = 30.0
LAST_TURNS_S: Final = 2.0
LAST_STEPS_S: Final = 5.0
LAST_CONNECTIONS_S: Final = 1.0
BACKLOG: Final = 4096

log = structlog.get_logger()


@dataclass(slots=True)
class Sidecar:
    """A running sidecar."""

    settings: Settings
    front: Front
    dispatcher: Dispatcher
    driver: Driver
    server: asyncio.Server
    url: str

    @staticmethod
    @asynccontextmanager
    async def start(settings: Settings) -> AsyncIterator[Sidecar]:
        """Run a sidecar from entry to exit. Raises OperatorError where it cannot start."""
        async with AsyncExitStack() as stack:
            sidecar = await _assemble(settings, stack)
            log.info("listening", address=sidecar.url, upstream=settings.upstream.url)
            try:
                yield sidecar
            finally:
                await sidecar.stop()

    async def stop(self) -> None:
        """Stop in order: let streams finish within their grace time, then cancel them, and make the last calls."""
        log.info("stopping", grace_s=self.settings.listen.shutdown_grace_s)
        self.server.close()
        await self.front.drain(self.settings.listen.shutdown_grace_s)
        await self._wait_for_turns()
        await self.dispatcher.drain(LAST_STEPS_S)

    async def _wait_for_turns(self) -> None:
        """Wait a little for what may still be learned of turns, such as an id; then cancel them, durably."""
        if not await self._no_turn_is_live():
            log.warning("shutdown_cancels_turns", turns=len(tuple(self.driver.live)))
            self.driver.give_up()
            await self._no_turn_is_live()

    async def _no_turn_is_live(self) -> bool:
        """Wait a little until no turn is live; say whether that came about."""
        try:
            async with asyncio.timeout(LAST_TURNS_S):
                await self.driver.wait_until_empty()
        except TimeoutError:
            return False
        return True


async def _assemble(settings: Settings, stack: AsyncExitStack) -> Sidecar:
    clock = time.time
    journal = await SqliteJournal.open(settings.journal.path, plan_of=_plan_of(settings), clock=clock)
    stack.push_async_callback(journal.close)
    await recover(journal, clock)
    admin = AdminClient(settings.admin, settings.admin.url or settings.upstream.url, _sources_of(settings))
    await admin.start()
    stack.push_async_callback(admin.close)
    driver, dispatcher = _engine(settings, journal, admin, clock)
    for service in (
        dispatcher,
        Sweeper(journal, driver, clock, temp_ttl_s=settings.journal.temp_ttl_s),
        Orders(journal, driver, clock),
        Pruner(journal, clock, retention_s=settings.journal.retention_s),
    ):
        service.start()
        stack.push_async_callback(service.stop)
    edge = await _edge(settings, journal, admin, driver, stack)
    front = Front(edge)
    stack.push_async_callback(front.shutdown, LAST_CONNECTIONS_S)
    server, url = await _listen(settings, front)
    stack.callback(server.close)
    return Sidecar(settings, front, dispatcher, driver, server, url)


def _engine(settings: Settings, journal: SqliteJournal, admin: AdminClient, clock: Clock) -> tuple[Driver, Dispatcher]:
    """Join the two that need each other: what the driver owes wakes the dispatcher, which feeds the driver."""
    owed = Wakeup()
    driver = Driver(journal, clock, on_owed=owed.set)
    dispatcher = Dispatcher(
        journal,
        admin,
        driver,
        clock,
        owed=owed,
        backoff=settings.admin.backoff,
        concurrency_max=settings.admin.concurrency_max,
        lease_s=settings.admin.timeout_s + LEASE_MARGIN_S,
        jitter=random.random,
    )
    return driver, dispatcher


async def _edge(
    settings: Settings,
    journal: SqliteJournal,
    admin: AdminClient,
    driver: Driver,
    stack: AsyncExitStack,
) -> Edge:
    loop, clock = asyncio.get_running_loop(), time.time
    tombstones = Tombstones(await journal.tombstones(now=clock()))
    late = LateContent(journal, driver)
    pool = UpstreamPool(settings.upstream)
    stack.push_async_callback(pool.close)
    watch = DisconnectWatch()
    watch.start(loop)
    stack.callback(watch.close)
    delivery = DeliveryWatch(loop)
    stack.callback(delivery.close)
    return Edge(
        settings=settings,
        clock=clock,
        pool=pool,
        admin=admin,
        driver=driver,
        desk=CancelDesk(journal, driver, tombstones, clock, tombstone_ttl_s=settings.journal.tombstone_ttl_s),
        tombstones=tombstones,
        gate=Gate(journal, driver, tombstones, late),
        late=late,
        principals=PrincipalHash(journal.principal_key),
        watch=watch,
        delivery=delivery,
    )


async def _listen(settings: Settings, front: Front) -> tuple[asyncio.Server, str]:
    """Listen; give the server and the URL at which it is reached. Raises OperatorError."""
    loop = asyncio.get_running_loop()
    address = parse_address(settings.listen.address)
    try:
        if isinstance(address, TcpAddress):
            server = await loop.create_server(front, address.host, address.port, backlog=BACKLOG)
            port = server.sockets[0].getsockname()[1]
            return server, f"http://{TcpAddress(address.host, port)}"
        server = await loop.create_unix_server(front, address.path, backlog=BACKLOG)
    except OSError as error:
        raise OperatorError(
            f"listen.address: cannot listen on {address} ({error.strerror or error}); choose another address"
        ) from error
    return server, str(address)


def _plan_of(settings: Settings) -> Callable[[str], Plan]:
    chats = {chat.route: settings.plan(chat) for chat in settings.chat}
    fallback = settings.plan(None)
    return lambda route: chats.get(route, fallback)


def _sources_of(settings: Settings) -> Callable[[str], Mapping[str, tuple[Source, ...]]]:
    chats = {chat.route: chat.capture for chat in settings.chat}
    return lambda route: chats.get(route, {})


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises OperatorError where it cannot start."""
    set_up_logging(settings.log)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_run(settings))


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with Sidecar.start(settings):
        await stopping.wait()


@asynccontextmanager
async def operator_journal(settings: Settings) -> AsyncIterator[OperatorDesk]:
    """Open the journal for the operator, beside a running sidecar or without one. Raises OperatorError."""
    clock = time.time
    journal = await SqliteJournal.open(settings.journal.path, plan_of=_plan_of(settings), clock=clock, own=False)
    try:
        yield OperatorDesk(journal, Driver(journal, clock, on_owed=lambda: None), clock)
    finally:
        await journal.close()
