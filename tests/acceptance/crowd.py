"""A crowd of clients on raw sockets: each chats, and stays to the end or leaves at its own moment in its own way."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

END: Final = b"\r\n0\r\n\r\n"


class Way(StrEnum):
    """How a client behaves."""

    STAYS = "stays"
    FIN_SILENT = "fin while silent"
    RST_SILENT = "rst while silent"
    FIN_MID = "fin mid-stream"
    RST_MID = "rst mid-stream"


@dataclass(slots=True)
class Client:
    """A client: `leaves_after` is seconds of silence or a number of reads; `complete`: it saw the whole answer."""

    request_id: str
    way: Way
    leaves_after: float
    complete: bool = False

    async def chat(self, port: int) -> None:
        """Chat through the sidecar at that port; being cut off is one way to end."""
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(self._request())
                await self._read(reader)
            finally:
                self._leave(writer)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        if self.way in {Way.FIN_SILENT, Way.RST_SILENT}:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.leaves_after):
                    await reader.read()
            return
        reads, tail = 0, b""
        while data := await reader.read(65_536):
            reads, tail = reads + 1, (tail + data)[-len(END) :]
            self.complete = tail == END
            if self.complete or (self.way is not Way.STAYS and reads > self.leaves_after):
                return

    def _request(self) -> bytes:
        knobs = {
            Way.STAYS: "words=6&word_ms=40",
            Way.FIN_SILENT: "words=400&word_ms=200&think_ms=3000",
            Way.RST_SILENT: "words=400&word_ms=200&think_ms=3000",
            Way.FIN_MID: "words=400&word_ms=200",
            Way.RST_MID: "words=400&word_ms=200",
        }[self.way]
        body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], "stream": True}).encode()
        head = (
            f"POST /api/ai-coach/chat?{knobs} HTTP/1.1\r\nHost: app.example\r\nX-Request-Id: {self.request_id}\r\n"
            f"Authorization: Bearer alice\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _leave(self, writer: asyncio.StreamWriter) -> None:
        if self.way in {Way.RST_SILENT, Way.RST_MID}:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()


def crowd(count: int, seed: int) -> list[Client]:
    """Make a crowd: a fifth stays, the others leave in every way, at random moments."""
    chance = random.Random(seed)  # noqa: S311  (moments, no secrets)
    ways = list(Way)
    return [
        Client(
            request_id=f"req_{seed}_{number}",
            way=(way := ways[number % len(ways)]),
            leaves_after=chance.uniform(0.02, 1.5) if "silent" in way else chance.randint(0, 5),
        )
        for number in range(count)
    ]


async def all_chat(clients: Sequence[Client], port: int, *, ramp_s: float) -> None:
    """Let them all chat side by side, beginning within the ramp."""

    async def later(number: int, client: Client) -> None:
        await asyncio.sleep(ramp_s * number / len(clients))
        await client.chat(port)

    await asyncio.gather(*(later(number, client) for number, client in enumerate(clients)))
