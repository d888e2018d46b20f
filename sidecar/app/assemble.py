"""The composition root: the only place that joins the rooms; start and stop order stand here and nowhere else.

start: journal -> recovery -> admin client, dispatcher, sweeper, pruner -> tombstones -> listening
stop:  listening -> exchanges under way -> owed steps that are due -> services -> journal
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import structlog

from sidecar.app.console import console_of, watch_sizes
from sidecar.app.edge import cancel_desk, downstream_edge
from sidecar.app.place import Place
from sidecar.app.tracing import traced
from sidecar.config import InForce
from sidecar.downstream.server import Front
from sidecar.engine.dispatcher import Dispatcher, Pace
from sidecar.engine.driver import Driver
from sidecar.engine.orders import Orders
from sidecar.engine.peer_desk import PeerDesk
from sidecar.engine.pruner import Pruner
from sidecar.engine.recovery import recover
from sidecar.engine.standing import Standing
from sidecar.engine.sweeper import Sweeper
from sidecar.engine.wakeup import Wakeup
from sidecar.host import Host, Reload
from sidecar.host.doors import Doors
from sidecar.host.watchdog import Watchdog
from sidecar.journal.store import SqliteJournal
from sidecar.telemetry.metrics import Metrics
from sidecar.upstream.admin import AdminClient
from sidecar.upstream.admin_now import AdminNow
from sidecar.upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from sidecar.config import Admin, ClientTls, Settings
    from sidecar.downstream.edge import Edge
    from sidecar.engine.ports import AdminApi, TurnObserver

LEASE_MARGIN_S: Final = 30.0
LAST_TURNS_S: Final = 2.0
LAST_STEPS_S: Final = 5.0
LAST_CONNECTIONS_S: Final = 1.0
LAST_S: Final = 2 * LAST_TURNS_S + LAST_STEPS_S + LAST_CONNECTIONS_S + 5.0
"""How long a stop may take at most, beyond the time of grace."""

log = structlog.get_logger()


@dataclass(slots=True)
class Sidecar:
    """A running sidecar: a process by itself, or one of several workers."""

    in_force: InForce
    host: Host
    place: Place
    journal: SqliteJournal
    admin: AdminNow
    driver: Driver
    dispatcher: Dispatcher
    sweeper: Sweeper
    orders: Orders
    pruner: Pruner
    edge: Edge
    front: Front
    doors: Doors
    pools: WeakSet[UpstreamPool]
    """The upstream's pools: the one in use, and earlier ones that exchanges under way still hold."""
    metrics: Metrics
    console_url: str = ""
    """Where the console listens; empty where there is none."""
    stopping: bool = False

    @staticmethod
    @asynccontextmanager
    async def start(settings: Settings, host: Host | None = None, place: Place | None = None) -> AsyncIterator[Sidecar]:
        """Run a sidecar from entry to exit; `place` says among whom. Raises OperatorError where it cannot start."""
        async with AsyncExitStack() as stack:
            sidecar = await _assemble(settings, host or Host(), place or Place(), stack)
            if sidecar.place.whole:
                log.info("listening", address=" ".join(sidecar.doors.urls), upstream=settings.upstream.url)
            sidecar.host.supervisor.ready(sidecar.status)
            try:
                yield sidecar
            finally:
                await sidecar.stop()

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return self.doors.urls[0]

    @property
    def status(self) -> str:
        """How it is doing, in a line."""
        return f"listening on {' '.join(self.doors.urls)}"

    @property
    def reloader(self) -> Reload:
        """What reads the configuration again."""
        return Reload(self.in_force, self.host, self.use, ready=lambda: self.host.supervisor.ready(self.status))

    async def use(self, settings: Settings) -> None:
        """Put other settings in force for whatever begins from now on; what is under way goes on under its own.

        Raises OperatorError where they cannot be used; nothing has changed then.
        """
        before, pool = self.in_force.settings, self.edge.pool
        certificate = self.doors.read_certificate(settings.listen)
        if settings.upstream != before.upstream or settings.upstream.tls.reads_files:
            pool = UpstreamPool(settings.upstream)
            self.pools.add(pool)
        if _admin_of(settings) != _admin_of(before) or settings.admin_tls.reads_files:
            await self.admin.use(await _admin_client(settings, self.in_force))
        self.in_force.use(settings)
        self.doors.show(certificate)
        if self.edge.tracer is not None:
            self.edge.tracer.sample(settings.tracing.sample_ratio)
        self.dispatcher.use(**_pace(settings))
        self.sweeper.use(temp_ttl_s=settings.journal.temp_ttl_s)
        self.pruner.use(retention_s=settings.journal.retention_s)
        desk = cancel_desk(settings, self.journal, self.driver, self.edge.tombstones)
        old_pool = self.edge.pool
        self.edge = replace(self.edge, settings=settings, pool=pool, desk=desk)
        self.front.use(self.edge)
        if pool is not old_pool:
            old_pool.retire()

    async def stop(self) -> None:
        """Stop in order: let streams finish within their grace time, then cancel them, and make the last calls.

        Told to hurry, it does not wait for anybody but the journal.
        """
        grace_s = self.in_force.settings.listen.shutdown_grace_s
        log.info("stopping", grace_s=grace_s)
        self.stopping = True
        self.host.supervisor.stopping("letting answers under way end", within_s=grace_s + LAST_S)
        self.doors.close()
        await self._unless_hurried(self.front.drain(grace_s))
        if self.host.hurry.is_set():
            log.warning("stopping_at_once")
            await self.front.drain(0)
        await self._wait_for_turns()
        await self._unless_hurried(self.dispatcher.drain(LAST_STEPS_S))

    async def _unless_hurried(self, waiting: Coroutine[None, None, object]) -> None:
        """Wait for something, at most until told to hurry."""
        task, hurry = asyncio.create_task(waiting), asyncio.create_task(self.host.hurry.wait())
        await asyncio.wait((task, hurry), return_when=asyncio.FIRST_COMPLETED)
        for one in (task, hurry):
            one.cancel()
        await asyncio.gather(task, hurry, return_exceptions=True)

    async def _wait_for_turns(self) -> None:
        """Wait a little for what may still be learned of turns, such as an id; then cancel them, durably.

        In a hurry, nothing is waited for: what is submitted to the journal by now is durable when that is closed.
        """
        if self.host.hurry.is_set() or not await self._no_turn_is_live():
            log.warning("shutdown_cancels_turns", turns=len(tuple(self.driver.live)))
            self.driver.give_up()
            if not self.host.hurry.is_set():
                await self._no_turn_is_live()

    async def _no_turn_is_live(self) -> bool:
        """Wait a little until no turn is live; say whether that came about."""
        try:
            async with asyncio.timeout(LAST_TURNS_S):
                await self.driver.wait_until_empty()
        except TimeoutError:
            return False
        return True


async def _assemble(settings: Settings, host: Host, place: Place, stack: AsyncExitStack) -> Sidecar:
    clock, in_force, metrics = time.time, InForce(settings), Metrics()
    journal = await _journal(in_force, place, metrics, stack)
    await recover(journal, clock, metrics)
    admin = AdminNow(await _admin_client(settings, in_force))
    stack.push_async_callback(admin.close)
    admin_api, tracer = traced(admin, settings.tracing, stack)
    driver, dispatcher = await _engine(settings, journal, admin_api, place, metrics)
    sweeper = Sweeper(journal, driver, clock, temp_ttl_s=settings.journal.temp_ttl_s)
    pruner = Pruner(journal, clock, retention_s=settings.journal.retention_s)
    orders = Orders(journal, driver, clock)
    for service in (dispatcher, sweeper, orders, *((pruner,) if place.whole else ())):
        service.start()
        stack.push_async_callback(service.stop)
    pools: WeakSet[UpstreamPool] = WeakSet()
    stack.push_async_callback(_close_all, pools)
    await place.announce()
    edge = replace(await downstream_edge(settings, journal, admin_api, driver, stack), observer=metrics, tracer=tracer)
    pools.add(edge.pool)
    front = Front(edge)
    stack.push_async_callback(front.shutdown, LAST_CONNECTIONS_S)
    doors = Doors.at(settings.listen, host.inherited)
    stack.callback(doors.close)
    sidecar = Sidecar(
        in_force,
        host,
        place,
        journal,
        admin,
        driver,
        dispatcher,
        sweeper,
        orders,
        pruner,
        edge,
        front,
        doors,
        pools,
        metrics,
    )
    watch_sizes(sidecar)
    place.serve(PeerDesk(journal, driver, lambda: sidecar.edge.desk), sidecar)
    if place.whole:
        sidecar.console_url = await stack.enter_async_context(console_of(sidecar, clock))
    await place.may_listen()
    await doors.open(front, handshake_s=settings.listen.head_timeout_s)
    watch(host, journal, stack)
    return sidecar


def watch(host: Host, journal: SqliteJournal, stack: AsyncExitStack) -> None:
    """Have a supervisor that asks for it shown that the process is alive."""
    if host.supervisor.watchdog_s is not None:
        watchdog = Watchdog(host.supervisor, journal, within_s=host.supervisor.watchdog_s)
        watchdog.start()
        stack.push_async_callback(watchdog.stop)


async def _journal(in_force: InForce, place: Place, metrics: Metrics, stack: AsyncExitStack) -> SqliteJournal:
    """Open the journal: as its owner, or as one of the workers beside it."""
    journal = await SqliteJournal.open(
        in_force.settings.journal.path,
        plan_of=in_force.plan_of,
        clock=time.time,
        own=place.whole,
        observer=metrics,
        share=place.share,
    )
    stack.push_async_callback(journal.close)
    if place.whole:
        await journal.spread()
    return journal


def _admin_of(settings: Settings) -> tuple[Admin, str, ClientTls]:
    return settings.admin, settings.admin_url, settings.admin_tls


async def _admin_client(settings: Settings, in_force: InForce) -> AdminClient:
    """Give the admin API's client, started."""
    client = AdminClient(settings.admin, settings.admin_url, in_force.sources_of, settings.admin_tls)
    await client.start()
    return client


async def _engine(
    settings: Settings, journal: SqliteJournal, admin: AdminApi, place: Place, observer: TurnObserver
) -> tuple[Driver, Dispatcher]:
    """Join the two that need each other: what the driver owes wakes the dispatcher, which feeds the driver."""
    owed, clock = Wakeup(), time.time
    standing = await Standing.left_in(journal) if place.share.of == 1 else None
    driver = Driver(journal, clock, on_owed=owed.set, observer=observer, peers=place.peers, standing=standing)
    jitter, pace = random.random, _pace(settings)
    dispatcher = Dispatcher(journal, admin, driver, clock, owed=owed, jitter=jitter, observer=observer, **pace)
    return driver, dispatcher


def _pace(settings: Settings) -> Pace:
    admin = settings.admin
    return Pace(backoff=admin.backoff, concurrency_max=admin.concurrency_max, lease_s=admin.timeout_s + LEASE_MARGIN_S)


async def _close_all(pools: WeakSet[UpstreamPool]) -> None:
    for pool in tuple(pools):
        await pool.close()
