"""A process of the sidecar: the real engine, joined, started and stopped as `sidecar.app` does it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

from sidecar.engine.cancellation import CancelDesk
from sidecar.engine.dispatcher import Dispatcher
from sidecar.engine.driver import Driver
from sidecar.engine.gate import Gate
from sidecar.engine.late_content import LateContent
from sidecar.engine.operator import OperatorDesk
from sidecar.engine.orders import Orders
from sidecar.engine.pruner import Pruner
from sidecar.engine.recovery import recover
from sidecar.engine.standing import Standing
from sidecar.engine.sweeper import Sweeper
from sidecar.engine.tombstones import Tombstones
from sidecar.engine.wakeup import Wakeup
from sidecar.errors import JournalUnavailableError
from sidecar.turn.state import Turn
from tests.simulation.exchange import SimulatedExchange
from tests.simulation.site import BACKOFF, CONCURRENCY_MAX, GRACE_S, LEASE_S, TEMP_TTL_S, TOMBSTONE_TTL_S

if TYPE_CHECKING:
    from tests.simulation.client import Ask, Visit
    from tests.simulation.clock import Process
    from tests.simulation.world import World

SHUTDOWN_GRACE_S = 0.5
LAST_TURNS_S = 2.0
LAST_STEPS_S = 5.0


class SimulatedSidecar:
    """Made by `start`, in its process. Raises JournalUnavailableError where it cannot start."""

    def __init__(self, world: World, process: Process, tombstones: Tombstones, standing: Standing) -> None:
        self.world = world
        self.process = process
        self.tombstones = tombstones
        self.exchanges: dict[str, SimulatedExchange] = {}
        owed = Wakeup()
        self.driver = Driver(world.journal, world.wall, on_owed=owed.set, standing=standing)
        self.dispatcher = Dispatcher(
            world.journal,
            world.admin,
            self.driver,
            world.wall,
            owed=owed,
            backoff=BACKOFF,
            concurrency_max=CONCURRENCY_MAX,
            lease_s=LEASE_S,
            jitter=world.dice.random,
        )
        self.services = (
            self.dispatcher,
            Sweeper(world.journal, self.driver, world.wall, temp_ttl_s=TEMP_TTL_S),
            Orders(world.journal, self.driver, world.wall),
            Pruner(world.journal, world.wall, retention_s=world.site.retention_s),
        )
        self.desk = CancelDesk(world.journal, self.driver, tombstones, world.wall, tombstone_ttl_s=TOMBSTONE_TTL_S)
        self.gate = Gate(world.journal, self.driver, tombstones, LateContent(world.journal, self.driver))
        self.asks: dict[asyncio.Task[None], None] = {}

    @classmethod
    async def start(cls, world: World, process: Process) -> SimulatedSidecar:
        """Recover, then begin to work."""
        await recover(world.journal, world.wall)
        standing = await Standing.left_in(world.journal)
        tombstones = Tombstones(await world.journal.tombstones(now=world.wall()))
        sidecar = cls(world, process, tombstones, standing)
        for service in sidecar.services:
            service.start()
        return sidecar

    async def stop(self) -> None:
        """Stop in order."""
        await asyncio.sleep(SHUTDOWN_GRACE_S if self.exchanges else 0)
        for exchange in tuple(self.exchanges.values()):
            exchange.shut_down()
        if not await self._no_turn_is_live():
            self.driver.give_up()
            await self._no_turn_is_live()
        await self.dispatcher.drain(LAST_STEPS_S)
        if self.asks:
            await asyncio.wait(self.asks)
        for service in reversed(self.services):
            await service.stop()
        await self.world.journal.close()

    async def _no_turn_is_live(self) -> bool:
        try:
            async with asyncio.timeout(LAST_TURNS_S):
                await self.driver.wait_until_empty()
        except TimeoutError:
            return False
        return True

    # -- towards clients -------------------------------------------------------------------------------------------

    def take(self, visit: Visit) -> SimulatedExchange:
        """Take a chat request."""
        named = {"conversation_id": visit.names} if visit.names is not None else {}
        turn = Turn(
            id=visit.turn_id,
            route="/chat",
            principal=visit.principal,
            begins=visit.begins,
            captured=MappingProxyType({"request_id": visit.request_id, **named}),
            created_at=self.world.wall(),
            plan=self.world.site.plan,
            heard=False,
        )
        exchange = SimulatedExchange(self, visit, turn)
        self.exchanges[turn.id] = exchange
        self.process.spawn(self._run(turn.id, exchange))
        return exchange

    async def _run(self, turn_id: str, exchange: SimulatedExchange) -> None:
        await exchange.run()
        del self.exchanges[turn_id]

    def ask(self, ask: Ask) -> None:
        """Take a request to cancel."""
        task = self.process.spawn(self._answer(ask))
        self.asks[task] = None
        task.add_done_callback(self.asks.pop)

    async def _answer(self, ask: Ask) -> None:
        await self.world.port()
        try:
            outcome = await self.desk.cancel(
                ask.principal, request_id=ask.request_id, conversation_id=ask.conversation_id, grace_s=GRACE_S
            )
        except JournalUnavailableError:
            outcome = None
        ask.outcome = outcome
        self.world.laws.answered(ask)
        ask.visit.answered(ask)

    # -- the operator ----------------------------------------------------------------------------------------------

    async def retry_all(self) -> None:
        """Have every dead step tried again, from a process beside this one."""
        with suppress(JournalUnavailableError):
            await self._operator().retry_all()

    async def order_cancel(self, turn_id: str) -> None:
        """Order a turn to be cancelled."""
        with suppress(JournalUnavailableError):
            await self._operator().cancel(turn_id)

    async def order_drop(self, step_id: int) -> None:
        """Order a step to be given up."""
        with suppress(JournalUnavailableError):
            await self._operator().drop(step_id, reason="the operator wants it no more")

    def _operator(self) -> OperatorDesk:
        world = self.world
        return OperatorDesk(world.journal, Driver(world.journal, world.wall, on_owed=lambda: None), world.wall)

    def leftovers(self) -> list[str]:
        """Name what a stopped sidecar should not have in its memory any more."""
        found = {
            "live turns": [*self.driver._live, *self.driver._taken],
            "indexed turns": list(self.driver._index._found),
            "fence": list(self.driver.fence._waiters),
            "locks": list(self.driver._locks._locks),
            "attempts": list(self.dispatcher._attempts),
            "exchanges": list(self.exchanges),
        }
        return [f"{name}: {things}" for name, things in found.items() if things]
