"""Joins the console to those who run turns: to one process here, to several in `crew_console`."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from heapq import nlargest
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.config import OFF, TcpAddress, parse_address
from sidecar.console.server import Backstage, serving
from sidecar.engine.driver import Driver
from sidecar.engine.operator import OperatorDesk
from sidecar.errors import OperatorError
from sidecar.host.listeners import inherited, listen
from sidecar.journal.store import SqliteJournal
from sidecar.telemetry.outbox import outbox_families

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from prometheus_client import Metric

    from sidecar.app.assemble import Sidecar
    from sidecar.config import Console, InForce
    from sidecar.console.ports import LiveTurns, MetricsSource, Probe
    from sidecar.engine.ports import Clock, Reloader
    from sidecar.host import Host
    from sidecar.host.listeners import Listener
    from sidecar.turn.state import Turn

NOWHERE: Final = ""
UNIX_MODE: Final = 0o600
"""A console on a Unix socket is for the user that runs it."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Figures:
    """The console's MetricsSource: the processes' own figures, and the outbox's."""

    metrics: MetricsSource
    journal: SqliteJournal
    clock: Clock

    async def families(self) -> Iterable[Metric]:
        """Give them as they are now."""
        sizes = await self.journal.outbox_sizes()
        age_s = 0.0 if sizes.oldest_owed_at is None else max(0.0, self.clock() - sizes.oldest_owed_at)
        return (*await self.metrics.families(), *outbox_families(sizes.counts, oldest_age_s=age_s))


@dataclass(frozen=True, slots=True)
class Live:
    """The console's LiveTurns: those of one process."""

    driver: Driver

    async def newest(self, limit: int) -> tuple[int, Sequence[Turn]]:
        """Give how many there are, and the newest, newest first."""
        turns = (live.turn for live in self.driver.live)
        return self.driver.live_count, nlargest(limit, turns, key=lambda turn: turn.created_at)


@dataclass(frozen=True, slots=True)
class JournalledLive:
    """The console's LiveTurns: those of all processes, as the journal knows them."""

    journal: SqliteJournal

    async def newest(self, limit: int) -> tuple[int, Sequence[Turn]]:
        """Give how many there are, and the newest, newest first."""
        return await self.journal.under_way(limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    """What the operator operates: one process, or the parent of several.

    `on_order` has an order carried out at once; `driver` steps turns that are not live.
    """

    in_force: InForce
    host: Host
    metrics: MetricsSource
    probes: Mapping[str, Probe]
    reloader: Reloader
    on_order: Callable[[], None]
    live: LiveTurns | None = None
    driver: Driver | None = None


def console_of(sidecar: Sidecar, clock: Clock) -> AbstractAsyncContextManager[str]:
    """Serve a sidecar's console within the context; give its URL, or nothing where there is none."""
    operated = Operated(
        in_force=sidecar.in_force,
        host=sidecar.host,
        metrics=sidecar.metrics,
        probes=_probes(sidecar, clock),
        reloader=sidecar.reloader,
        on_order=sidecar.orders.hurry,
        live=Live(sidecar.driver),
        driver=sidecar.driver,
    )
    return console(operated, clock)


@asynccontextmanager
async def console(operated: Operated, clock: Clock) -> AsyncIterator[str]:
    """Serve a console within the context; give its URL, or nothing where there is none. Raises OperatorError."""
    in_force = operated.in_force
    settings = in_force.settings
    if settings.console.address == OFF:
        yield NOWHERE
        return
    async with AsyncExitStack() as stack:
        listeners = _listeners(settings.console, operated.host)
        for listener in listeners:
            stack.callback(listener.close)
        # Its own connection, so that no turn waits for what an operator asks.
        journal = await SqliteJournal.open(settings.journal.path, plan_of=in_force.plan_of, clock=clock, own=False)
        stack.push_async_callback(journal.close)
        driver = operated.driver or Driver(journal, clock, on_owed=lambda: None)
        backstage = Backstage(
            settings=lambda: in_force.settings,
            clock=clock,
            metrics=Figures(operated.metrics, journal, clock),
            probes=operated.probes,
            live=operated.live or JournalledLive(journal),
            board=journal,
            desk=OperatorDesk(journal, driver, clock, operated.on_order),
            reloader=operated.reloader,
        )
        await stack.enter_async_context(serving(backstage, [listener.sock for listener in listeners]))
        log.info("console", address=listeners[0].url)
        yield listeners[0].url


def _listeners(settings: Console, host: Host) -> list[Listener]:
    """Listen where whoever started the process wants it, else by the settings. Raises OperatorError."""
    if sockets := host.inherited.for_console():
        for sock in sockets:
            _check_reach(sock, settings)
        return inherited(sockets)
    return listen(parse_address(settings.address), setting="console.address", mode=UNIX_MODE)


def _check_reach(sock: socket.socket, settings: Console) -> None:
    """Raise OperatorError where other machines reach a socket that was handed over, and no token is needed."""
    if sock.family == socket.AF_UNIX or settings.token:
        return
    host, port = sock.getsockname()[:2]
    if not (address := TcpAddress(host, port)).is_loopback:
        raise OperatorError(
            f"console.token: the socket that was handed over for the console, {address}, can be reached from other "
            "machines, and no token is set; set console.token, or hand over one at 127.0.0.1"
        )


def watch_sizes(sidecar: Sidecar) -> None:
    """Have the sizes of what is under way asked for whenever the figures are read."""
    front, driver = sidecar.front, sidecar.driver
    draining, waste = sidecar.edge.draining, sidecar.edge.waste  # of every generation
    sidecar.metrics.watch(
        {
            "open_connections": ("Connections of clients.", lambda: len(front.connections)),
            "open_exchanges": ("Exchanges under way.", lambda: front.under_way),
            "live_turns": (
                "Turns under way: open streams, and what is undone.",
                lambda: driver.live_count,
            ),
            "draining_answers": ("Abandoned answers read on for their ids.", lambda: len(draining)),
            "open_upstream_connections": ("Connections to the upstream.", lambda: sidecar.edge.pool.open_count),
            "waiting_for_upstream": ("Requests in line for one.", lambda: sidecar.edge.pool.waiting_count),
            "idle_upstream_connections": ("Connections kept for a next request.", lambda: sidecar.edge.pool.idle_count),
        }
    )
    sidecar.metrics.watch_waste(waste.sums)


def _probes(sidecar: Sidecar, clock: Clock) -> dict[str, Probe]:
    async def upstream() -> None:
        connection = await sidecar.edge.pool.connect(fresh=True)
        connection.abort()

    async def journal() -> None:
        await sidecar.journal.check(at=clock())

    async def outbox() -> str | None:
        sizes = await sidecar.journal.outbox_sizes()
        age_s = 0.0 if sizes.oldest_owed_at is None else clock() - sizes.oldest_owed_at
        limit_s = sidecar.in_force.settings.console.outbox_age_max_s
        return None if age_s <= limit_s else f"a call has been owed for {age_s:.0f} s; see `sidecar outbox list`"

    async def process() -> str | None:
        return "stopping" if sidecar.stopping else None

    return {"process": process, "upstream": upstream, "journal": journal, "outbox": outbox}
