"""Several engines on one file, joined as workers are: by real links and the real crew, though within one process."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from sidecar.engine.gate import Gate
from sidecar.engine.late_content import LateContent
from sidecar.engine.peer_desk import PeerDesk
from sidecar.engine.share import Share
from sidecar.journal.store import SqliteJournal
from sidecar.workers.crew import Crew
from sidecar.workers.link import Link
from sidecar.workers.peers import LinkedPeers, answer_peer
from sidecar.workers.process import WorkerProcess
from tests.fakes.engine import PLAN, Engine, FakeExchange
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable

    from sidecar.turn.state import Turn
    from sidecar.workers.link import Answering, Message
    from tests.fakes.admin_api import ScriptedAdminApi
    from tests.fakes.engine import ManualClock

PATIENT_S = 20.0


@dataclass(eq=False, slots=True)
class Body:
    """What stands for a worker's process: it ends when it is killed."""

    pid: int
    end: asyncio.Future[int]

    async def wait(self) -> int:
        """Wait for the end."""
        return await asyncio.shield(self.end)

    def kill(self) -> None:
        """End it."""
        if not self.end.done():
            self.end.set_result(-signal.SIGKILL)


@dataclass(eq=False, slots=True)
class Worker:
    """An engine with its way in, at the other end of a link."""

    engine: Engine
    link: Link
    gate: Gate
    left: asyncio.Future[None]
    reading: asyncio.Task[None]

    async def arrive(self, turn: Turn, timeout_s: float = PATIENT_S) -> Turn:
        """Let a request in as an exchange does: through the gate; give its turn as it would be forwarded."""
        engine = self.engine
        await self.gate.pass_(turn, timeout_s=timeout_s, left=self.left)
        if engine.tombstones.forestall(turn):
            await engine.driver.record_cancelled(turn)
            return await engine.stored(turn.id)
        live = engine.driver.admit(turn, FakeExchange())
        await engine.driver.open(live)
        return live.turn


@dataclass(eq=False, slots=True)
class Workers:
    """The running ones."""

    path: str
    admin: ScriptedAdminApi
    clock: ManualClock
    count: int
    crew: Crew = field(init=False)
    running: dict[int, Worker] = field(default_factory=dict)
    bodies: dict[int, Body] = field(default_factory=dict)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    """Not set: no worker is replaced yet."""

    def __getitem__(self, number: int) -> Worker:
        return self.running[number]

    async def kill(self, number: int) -> None:
        """End a worker as a crash does: nothing more is heard of it, and what it had in memory is gone."""
        worker = self.running.pop(number)
        worker.link.close()
        worker.reading.cancel()
        await worker.engine.stop()
        self.bodies[number].kill()

    async def spawn(self, number: int, answering: Answering) -> WorkerProcess:
        """Start a worker, as the crew wants it."""
        await self.hold.wait()
        ours, theirs = socket.socketpair()
        body = self.bodies[number] = Body(number, asyncio.get_running_loop().create_future())
        process = WorkerProcess(number, cast("Process", body), await Link.open(ours, answering))
        process.tasks = [asyncio.create_task(process.link.run()), asyncio.create_task(self._start(number, theirs))]
        return process

    async def _start(self, number: int, sock: socket.socket) -> None:
        served: asyncio.Future[PeerDesk] = asyncio.get_running_loop().create_future()

        async def answer(message: Message) -> Message | None:
            if message["what"] == "stop":  # each is ended by the test
                return None
            return await answer_peer(await asyncio.shield(served), message)

        link = await Link.open(sock, answer)
        reading = asyncio.create_task(link.run())
        share = Share(number, self.count)
        await link.ask({"what": "here"})
        engine = await Engine.start(
            self.path, self.admin, self.clock, own=False, share=share, peers=LinkedPeers(share, link)
        )
        served.set_result(PeerDesk(engine.journal, engine.driver, lambda: engine.desk))
        late = LateContent(engine.journal, engine.driver)
        gate = Gate(engine.journal, engine.driver, engine.tombstones, late)
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await link.ask({"what": "recovered"})
        self.running[number] = Worker(engine, link, gate, left, reading)
        await link.ask({"what": "listening"})


@asynccontextmanager
async def workers(path: str, admin: ScriptedAdminApi, clock: ManualClock, count: int = 2) -> AsyncIterator[Workers]:
    """Run several engines on a new journal, and what a parent has."""
    plan_of: Callable[[str], object] = lambda _: PLAN  # noqa: E731  (a word for the types)
    async with AsyncExitStack() as stack:
        owner = await SqliteJournal.open(path, plan_of=plan_of, clock=clock, share=Share(0, count))  # type: ignore[arg-type]
        stack.push_async_callback(owner.close)
        await owner.spread()
        crowd = Workers(path, admin, clock, count)
        crowd.hold.set()
        crowd.crew = Crew(count, crowd.spawn)
        try:
            await crowd.crew.started()
            yield crowd
        finally:
            stopping = asyncio.create_task(crowd.crew.stop(PATIENT_S))
            await asyncio.sleep(0)
            crowd.hold.set()
            for number in list(crowd.running):
                await crowd.kill(number)
            await stopping


async def until_there(crowd: Workers, number: int) -> Worker:
    """Wait until a worker runs, again."""
    await eventually(lambda: number in crowd.running, PATIENT_S)
    return crowd[number]
