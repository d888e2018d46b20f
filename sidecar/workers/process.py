"""One worker, as its parent has it: the process and the link to it, from its start to its end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.errors import PeerError
from sidecar.workers.link import Link
from sidecar.workers.order import give_order

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

    from sidecar.workers.link import Answering
    from sidecar.workers.order import Order

PING_S: Final = 5.0
HUNG_S: Final = 30.0
"""A worker whose loop does not answer for so long serves nobody: it is killed, and replaced."""

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class WorkerProcess:
    """A running worker."""

    number: int
    process: Process
    link: Link
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def spawn(cls, order: Order, module: str, fds: Sequence[int], answering: Answering) -> WorkerProcess:
        """Start a Python process that runs a module with the link's descriptor as its argument. Raises OSError.

        A new program, not a fork: neither a running loop nor threads can be forked. `fds` are inherited.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", module, str(theirs.fileno())),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *fds),
            )
        with suppress(OSError):  # gone already; its end will be seen
            await give_order(asyncio.get_running_loop(), ours, order)
        worker = cls(order.share.number, process, await Link.open(ours, answering))
        worker.tasks = [asyncio.create_task(worker.link.run()), asyncio.create_task(worker.watch())]
        return worker

    async def ended(self) -> int:
        """Wait for the process's end; give its exit code, negative for a signal."""
        try:
            return await self.process.wait()
        finally:
            self.link.close()
            for task in self.tasks:
                task.cancel()

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self.process.kill()

    async def watch(self) -> None:
        """Kill it when it no longer answers."""
        with suppress(PeerError):
            while True:
                await asyncio.sleep(PING_S)
                try:
                    async with asyncio.timeout(HUNG_S):
                        await self.link.ask({"what": "ping"})
                except TimeoutError:
                    log.error("worker_hung", worker=self.number, pid=self.process.pid)  # noqa: TRY400  (no bug here)
                    self.kill()
                    return
