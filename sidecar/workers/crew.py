"""Keeps every worker running: one that ends is replaced, at once after a long life, else after growing pauses.

        spawn --> here --> recovered --(all of them)--> listening --> ended --> spawn ...

At the first start all recover before any listens: no request meets what another worker has yet to settle. A worker that
cannot start at all then ends the start, as it would end a sidecar of one process.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.errors import OperatorError
from sidecar.workers.switch import Switch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.workers.link import Answering, Message
    from sidecar.workers.process import WorkerProcess

    Spawn = Callable[[int, Answering], Awaitable[WorkerProcess]]

STEADY_S: Final = 10.0
"""Who has run for so long did not fail at its start."""
PAUSE_FIRST_S: Final = 0.2
PAUSE_MAX_S: Final = 5.0

log = structlog.get_logger()


class Crew:
    """The workers of one parent. `spawn` starts the one with a number."""

    def __init__(self, count: int, spawn: Spawn) -> None:
        self.switch = Switch()
        self._spawn = spawn
        self._workers: dict[int, WorkerProcess] = {}
        self._to_recover = set(range(count))
        self._to_listen = set(range(count))
        self._recovered = asyncio.Event()
        self._listening = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks = [asyncio.create_task(self._keep(number)) for number in range(count)]

    async def started(self) -> None:
        """Wait until all listen. Raises OperatorError where one could not start."""
        listening = asyncio.create_task(self._listening.wait())
        done, _ = await asyncio.wait([listening, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        for task in done - {listening}:
            task.result()  # a bug of ours must show
        if not self._listening.is_set():
            raise OperatorError("a worker could not start; its own lines say why")

    async def stop(self, timeout_s: float) -> None:
        """Have all end in order, and wait for it; who takes longer, or has not let anybody in, is killed."""
        self._stopping.set()
        if self._recovered.is_set():
            self.switch.tell_all({"what": "stop"})
            _, running = await asyncio.wait(self._tasks, timeout=timeout_s)
            if running:
                log.error("workers_killed", workers=sorted(self._workers))
        for worker in self._workers.values():
            worker.kill()
        await asyncio.wait(self._tasks)

    def hurry(self) -> None:
        """Have those that stop do so at once."""
        self.switch.tell_all({"what": "hurry"})

    def renew_missing(self) -> None:
        """End those that are starting, which were told what holds no more; their replacements will be told anew."""
        for number, worker in self._workers.items():
            if number not in self.switch.numbers:
                worker.kill()

    # -- one worker ------------------------------------------------------------------------------------------------

    async def _keep(self, number: int) -> None:
        """Run a worker, and its replacements, until told to stop."""
        loop = asyncio.get_running_loop()
        pause_s = 0.0
        while not self._stopping.is_set():
            began_at = loop.time()
            code = await self._run(number)
            if self._stopping.is_set():
                return
            if not self._listening.is_set():
                log.error("worker_ended", worker=number, code=code)
                return
            steady = loop.time() - began_at > STEADY_S
            pause_s = 0.0 if steady else min(PAUSE_MAX_S, pause_s * 2 or PAUSE_FIRST_S)
            log.error("worker_ended", worker=number, code=code, replaced_in_s=pause_s)
            await self._pause(pause_s)

    async def _run(self, number: int) -> int | None:
        """Run a worker to its end; give its exit code, None for one that the machine had no room for."""

        async def answer(message: Message) -> Message | None:
            return await self._answer(number, message)

        try:
            worker = await self._spawn(number, answer)
        except OSError as error:
            log.error("worker_not_started", worker=number, error=str(error))  # noqa: TRY400  (no bug: no traceback)
            return None
        self._workers[number] = worker
        try:
            return await worker.ended()
        finally:
            self.switch.unplug(number, worker.link)
            del self._workers[number]

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _answer(self, number: int, message: Message) -> Message | None:
        """Pass on what a worker asks of its peers, or take note of how far it has come."""
        match message:
            case {"to": "peers", "message": {"what": "moved"} as moved}:
                self.switch.tell_all(moved, but=number)
            case {"to": "peers", "message": asked}:
                return {"answers": await self.switch.ask_all(asked, but=number)}
            case {"to": int(other), "message": asked}:
                return await self.switch.ask_one(other, asked)
            case {"what": "here"}:
                await self._welcome(number)
            case {"what": "recovered"}:
                await self._await_all_recovered(number)
            case {"what": "listening"}:
                self._note_listening(number)
        return {}

    async def _welcome(self, number: int) -> None:
        link = self._workers[number].link
        await self.switch.plug_in(number, link)
        if self._stopping.is_set():  # which it was not there to be told
            link.tell({"what": "stop"})

    async def _await_all_recovered(self, number: int) -> None:
        self._to_recover.discard(number)
        if not self._to_recover:
            self._recovered.set()
        await self._recovered.wait()

    def _note_listening(self, number: int) -> None:
        log.info("worker_listening", worker=number, pid=self._workers[number].process.pid)
        self._to_listen.discard(number)
        if not self._to_listen:
            self._listening.set()
