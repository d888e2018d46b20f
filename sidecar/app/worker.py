"""A worker: a whole sidecar for its share of the turns, at the other end of its parent's link.

It runs as a program of its own, `python -m sidecar.app.worker FD`, which its parent alone starts. It ends with its
parent, however that ends. Signals come from the parent, which is the one that was told; but one that is sent to it
alone has it stop in order, and be replaced.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import sys
from base64 import b64decode
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sidecar.app.assemble import Sidecar
from sidecar.app.crew_console import figures_message
from sidecar.app.garbage import settle
from sidecar.app.loop import new_event_loop
from sidecar.app.place import Place
from sidecar.errors import OperatorError
from sidecar.host import Host, Inherited, Signals
from sidecar.telemetry import set_up_logging
from sidecar.workers.link import Link
from sidecar.workers.order import end_with_parent, take_order
from sidecar.workers.peers import LinkedPeers, answer_peer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from sidecar.config import Settings
    from sidecar.engine.peer_desk import PeerDesk
    from sidecar.engine.share import Share
    from sidecar.workers.link import Message
    from sidecar.workers.order import Order

SectionT = TypeVar("SectionT", bound="BaseModel")


class WorkersPlace(Place):
    """A place among workers. What is asked of it before it can answer waits until it can."""

    whole = False

    def __init__(self, order: Order, signals: Signals) -> None:
        super().__init__()
        self.share = order.share
        self._signals = signals
        self._link: Link | None = None
        self._served: asyncio.Future[tuple[PeerDesk, Sidecar]] = asyncio.get_running_loop().create_future()

    def join(self, link: Link) -> None:
        """Take the link to the parent."""
        self._link = link
        self.peers = LinkedPeers(self.share, link)

    async def announce(self) -> None:
        """Be asked by peers from now on."""
        await self._ask({"what": "here"})

    def serve(self, desk: PeerDesk, sidecar: Sidecar) -> None:
        """Answer peers from now on."""
        self._served.set_result((desk, sidecar))

    async def may_listen(self) -> None:
        """Wait until all workers have recovered."""
        await self._ask({"what": "recovered"})

    async def listening(self) -> None:
        """Tell the parent that clients are let in."""
        await self._ask({"what": "listening"})

    async def answer(self, message: Message) -> Message | None:
        """Answer the parent, or what comes through it. Raises JournalUnavailableError."""
        match message:
            case {"what": "ping"}:
                return {}
            case {"what": "stop"}:
                self._signals.stop.set()
                return None
            case {"what": "hurry"}:
                self._signals.hurry.set()
                return None
        return await self._answer_served(message)

    async def _answer_served(self, message: Message) -> Message | None:
        desk, sidecar = await asyncio.shield(self._served)
        match message:
            case {"what": "use", "settings": text}:
                settings = pickle.loads(b64decode(text))  # noqa: S301  (the parent's own words)
                return {"problem": await _use(sidecar, part_of(settings, self.share))}
            case {"what": "figures"}:
                return await figures_message(sidecar.metrics, os.getpid())
            case {"what": "orders"}:
                sidecar.orders.hurry()
                return None
            case _:
                return await answer_peer(desk, message)

    async def _ask(self, message: Message) -> Message:
        assert self._link is not None
        return await self._link.ask(message)


async def _use(sidecar: Sidecar, settings: Settings) -> str | None:
    """Put other settings in force; say why that cannot be, if so."""
    try:
        await sidecar.use(settings)
    except OperatorError as error:
        return str(error)
    sidecar.host.set_up_logging(settings.log)
    return None


def part_of(settings: Settings, share: Share) -> Settings:
    """Give the settings of one worker: what limits all together is divided among them."""

    def part(section: SectionT, *names: str) -> SectionT:
        return section.model_copy(update={name: -(-getattr(section, name) // share.of) for name in names})

    upstream = part(settings.upstream, "connections_max", "idle_max")
    upstream = upstream.model_copy(update={"drain": part(upstream.drain, "streams_max")})
    parts = {
        "listen": part(settings.listen, "connections_max"),
        "upstream": upstream,
        "admin": part(settings.admin, "concurrency_max"),
    }
    return settings.model_copy(update=parts)


async def _run(sock: socket.socket, order: Order) -> None:
    signals, loop = Signals(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, signals.stop.set)
    place = WorkersPlace(order, signals)
    link = await Link.open(sock, place.answer)
    place.join(link)
    bound_to_parent = asyncio.create_task(link.run())
    bound_to_parent.add_done_callback(_end_orphaned)
    host = Host(
        set_up_logging=partial(set_up_logging, worker=order.share.number),
        hurry=signals.hurry,
        inherited=Inherited({"": [socket.socket(fileno=fd) for fd in order.listening]}),
    )
    async with Sidecar.start(part_of(order.settings, order.share), host, place):
        await place.listening()
        settle()
        await signals.stop.wait()


def _end_orphaned(link_ended: asyncio.Task[None]) -> None:
    """End at once when the parent is gone: what is journalled is safe, and a successor waits for the journal."""
    if not link_ended.cancelled():
        os._exit(1)


def main() -> int:
    """Do as the parent orders; give the exit code."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal tells them to all of its group
    sock = socket.socket(fileno=int(sys.argv[1]))
    order = take_order(sock)
    end_with_parent(order.parent)
    set_up_logging(order.settings.log, worker=order.share.number)
    sock.setblocking(False)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_run(sock, order))
    except OperatorError as error:
        sys.stderr.write("".join(f"sidecar: {line}\n" for line in str(error).splitlines()))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
