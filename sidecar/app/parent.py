"""The parent of several workers: it has no byte of a stream pass, but keeps what there is only one of.

start: journal -> pruner -> sockets -> workers recover, then listen
stop:  sockets -> workers, each in its own order -> pruner -> journal

It owns the journal, and the workers inherit its lock: whoever comes after it has to wait until the last one is gone.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from base64 import b64encode
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.app.assemble import watch
from sidecar.app.check import check_machine
from sidecar.app.crew_console import crew_console
from sidecar.app.listen import SharedDoors
from sidecar.config import InForce
from sidecar.engine.pruner import Pruner
from sidecar.engine.share import Share
from sidecar.errors import OperatorError, SidecarError
from sidecar.host import Reload
from sidecar.journal.store import SqliteJournal
from sidecar.telemetry.metrics import Metrics
from sidecar.workers.crew import Crew
from sidecar.workers.order import Order
from sidecar.workers.process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.config import Settings
    from sidecar.host import Host
    from sidecar.workers.link import Answering

WORKER: Final = "sidecar.app.worker"
LAST_S: Final = 20.0
"""What a worker may take to stop beyond the grace time: its last turns, calls and connections, and the journal."""

log = structlog.get_logger()


@dataclass(slots=True)
class Parent:
    """A running parent."""

    in_force: InForce
    host: Host
    journal: SqliteJournal
    pruner: Pruner
    doors: SharedDoors
    crew: Crew
    metrics: Metrics
    console_url: str = ""
    """Where the console listens; empty where there is none."""
    stopping: bool = False

    @staticmethod
    @asynccontextmanager
    async def start(settings: Settings, host: Host) -> AsyncIterator[Parent]:
        """Run several workers from entry to exit. Raises OperatorError where they cannot start."""
        async with AsyncExitStack() as stack:
            parent = await _assemble(settings, host, stack)
            try:
                await parent.crew.started()
                parent.console_url = await stack.enter_async_context(crew_console(parent, time.time))
                log.info(
                    "listening",
                    address=" ".join(parent.doors.urls),
                    upstream=settings.upstream.url,
                    workers=settings.listen.workers,
                )
                host.supervisor.ready(parent.status)
                yield parent
            finally:
                await parent.stop()

    @property
    def reloader(self) -> Reload:
        """What reads the configuration again."""
        return Reload(self.in_force, self.host, self.use, ready=lambda: self.host.supervisor.ready(self.status))

    @property
    def status(self) -> str:
        """How it is doing, in a line."""
        return f"{self.in_force.settings.listen.workers} workers listen on {' '.join(self.doors.urls)}"

    async def use(self, settings: Settings) -> None:
        """Put other settings in force, here and in all workers; where one cannot use them, in none.

        Raises OperatorError, or PeerError where a worker does not answer.
        """
        await asyncio.to_thread(check_machine, settings)
        before = self.in_force.settings
        self.in_force.use(settings)  # also for a worker that starts meanwhile
        try:
            await self._use_everywhere(settings)
        except SidecarError:
            self.in_force.use(before)
            await self._use_everywhere(before)
            raise
        self.pruner.use(retention_s=settings.journal.retention_s)

    async def _use_everywhere(self, settings: Settings) -> None:
        self.crew.renew_missing()
        told = {"what": "use", "settings": b64encode(pickle.dumps(settings)).decode()}
        for answer in await self.crew.switch.ask_all(told):
            if answer["problem"] is not None:
                raise OperatorError(answer["problem"])

    async def stop(self) -> None:
        """Stop in order: let nobody in, and have the workers stop, who may take their time unless told to hurry."""
        grace_s = self.in_force.settings.listen.shutdown_grace_s
        log.info("stopping", grace_s=grace_s)
        self.stopping = True
        self.host.supervisor.stopping("letting answers under way end", within_s=grace_s + LAST_S)
        self.doors.close()
        hurrying = asyncio.create_task(self._hurry())
        await self.crew.stop(grace_s + LAST_S)
        hurrying.cancel()

    async def _hurry(self) -> None:
        await self.host.hurry.wait()
        self.crew.hurry()


async def _assemble(settings: Settings, host: Host, stack: AsyncExitStack) -> Parent:
    clock, in_force, metrics, count = time.time, InForce(settings), Metrics(), settings.listen.workers
    journal = await SqliteJournal.open(
        settings.journal.path, plan_of=in_force.plan_of, clock=clock, observer=metrics, share=Share(0, count)
    )
    stack.push_async_callback(journal.close)
    await journal.spread()
    pruner = Pruner(journal, clock, retention_s=settings.journal.retention_s)
    pruner.start()
    stack.push_async_callback(pruner.stop)
    doors = SharedDoors.at(settings.listen, host.inherited)
    stack.callback(doors.close)
    watch(host, journal, stack)
    assert journal.lock is not None
    lock = journal.lock.fd

    async def spawn(number: int, answering: Answering) -> WorkerProcess:
        order = Order(
            settings=in_force.settings, share=Share(number, count), listening=doors.fds(number), parent=os.getpid()
        )
        return await WorkerProcess.spawn(order, WORKER, (lock, *order.listening), answering)

    return Parent(in_force, host, journal, pruner, doors, Crew(count, spawn), metrics)
