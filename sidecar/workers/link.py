"""A link between the parent and a worker: each may ask the other, and tell what needs no answer. JSON, a line each.

        {"n": 7, "ask": {...}}   ->   {"n": 7, "answer": {...}}   or   {"n": 7, "error": "..."}
        {"tell": {...}}          ->

Both ends are one program, of one version: what comes in is trusted to be well-formed.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import structlog

from sidecar.errors import JournalUnavailableError, PeerError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

Message: TypeAlias = "dict[str, Any]"
Answering: TypeAlias = "Callable[[Message], Awaitable[Message | None]]"
"""Given what was asked or told, gives the answer."""

LINE_BYTES_MAX: Final = 16 * 1024 * 1024
WAITING_BYTES_MAX: Final = 1024 * 1024
"""What is told, not asked, is dropped where the other end is behind by so much: it is only ever a hint."""

log = structlog.get_logger()


class LinkLostError(PeerError):
    """The other end is gone, or went before it answered."""


class Link:
    """One end. Made by `open`; `answering` is given what is asked and told, and gives the answer."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answering: Answering,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answering = answering
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost = False

    @classmethod
    async def open(cls, sock: socket.socket, answering: Answering) -> Link:
        """Take over a connected socket; nothing is read before `run`."""
        reader, writer = await asyncio.open_connection(sock=sock, limit=LINE_BYTES_MAX)
        return cls(reader, writer, answering)

    async def ask(self, message: Message) -> Message:
        """Ask the other end. Raises LinkLostError, or JournalUnavailableError where that is what it met."""
        if self._lost:
            raise LinkLostError("the other process is gone")
        self._number += 1
        number = self._number
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._send({"n": number, "ask": message})
        try:
            return await answer
        finally:
            del self._asked[number]

    def tell(self, message: Message) -> None:
        """Tell the other end something that may be lost."""
        if not self._lost and self._writer.transport.get_write_buffer_size() < WAITING_BYTES_MAX:
            self._send({"tell": message})

    async def run(self) -> None:
        """Take in what comes until the other end is gone."""
        try:
            with suppress(OSError):
                while line := await self._reader.readline():
                    self._take(json.loads(line))
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the socket; whoever still waits for an answer is told that it will not come. Harmless twice."""
        self._lost = True
        self._writer.close()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(LinkLostError("the other process is gone"))
        for task in self._tasks:
            task.cancel()

    def _take(self, line: Message) -> None:
        if (asked := line.get("ask", line.get("tell"))) is not None:
            task = asyncio.create_task(self._answer(line.get("n"), asked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        answer = self._asked.get(line["n"])
        if answer is None or answer.done():
            return
        if "error" in line:
            answer.set_exception(JournalUnavailableError(line["error"]))
        else:
            answer.set_result(line["answer"])

    async def _answer(self, number: int | None, message: Message) -> None:
        answer: Message
        try:
            answer = {"n": number, "answer": await self._answering(message)}
        except PeerError as error:
            answer = {"n": number, "error": str(error)}
        except Exception as error:  # a bug of ours must not leave the other end waiting
            log.exception("link_failed", asked=message.get("what"), error=repr(error))
            answer = {"n": number, "error": repr(error)}
        if number is not None and not self._lost:
            self._send(answer)

    def _send(self, line: Message) -> None:
        self._writer.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
