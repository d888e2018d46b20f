"""A whole sidecar among strangers: changed requests from one side, changed answers from the other, by real sockets.

Nothing of it may crash it, hang it, or have it say 500. By hand, with many more: `FUZZ_LIVE_RUNS=20000 pytest -n0 -s
tests/fuzz/test_live.py`; the seed is FUZZ_LIVE_SEED.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Final

from fuzz.corpus import inputs
from fuzz.cut import pieces
from fuzz.mutate import mutate
from tests.fakes.downstream import chat_body, request_bytes
from tests.fakes.scene import scene
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.scene import Scene, Section

RUNS: Final = int(os.environ.get("FUZZ_LIVE_RUNS", "100"))
SEED: Final = int(os.environ.get("FUZZ_LIVE_SEED", "0"))
AT_ONCE: Final = 25
DEADLINE_S: Final = 30.0
TRIES_MAX: Final = 20
SHORT: Final[Section] = {
    "head_timeout_s": 0.3,
    "body_timeout_s": 0.3,
    "keepalive_timeout_s": 0.3,
    "tunnel_idle_timeout_s": 0.3,
}
QUICK: Final[Section] = {"response_timeout_s": 0.3, "idle_timeout_s": 0.3, "drain": {"timeout_s": 0.3}}
WELL: Final = request_bytes("GET", "/well")
TURNS: Final = [
    request_bytes("POST", "/api/ai-coach/chat", "X-Request-Id: r1", "Authorization: a", body=chat_body()),
    request_bytes("POST", "/api/ai-coach/chat", "Authorization: b", body=chat_body("c-1")),
    request_bytes("POST", "/api/ai-coach/cancel", "Authorization: a", body=b'{"requestId": "r1"}'),
    request_bytes("GET", "/api/conversations/c-1"),
]


class Strangers:
    """Clients and a backend that send whatever chance has it."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)  # noqa: S311  (no secret)
        self._requests = [data[1:] for data in inputs("request")] + TURNS
        self._answers = [data[2:] for data in inputs("answer")] + [data[2:] for data in inputs("stream")]

    def request(self) -> bytes:
        """Give a changed request, or one as it should be."""
        return self._changed(self._requests)

    def answer(self) -> bytes:
        """Give a changed answer; half of them have a head."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" if self._chance.randrange(2) else b""
        return head + self._changed(self._answers)

    def cut(self, data: bytes) -> list[bytes]:
        """Give it in pieces."""
        return pieces(data, self._chance.choice((0, 0, 3, 4, 5)))

    def ends(self) -> bool:
        """Say whether to leave without waiting."""
        return self._chance.randrange(3) == 0

    def _changed(self, corpus: list[bytes]) -> bytes:
        data = self._chance.choice(corpus)
        return data if self._chance.randrange(4) == 0 else mutate(data, corpus, self._chance)


async def answer_anything(strangers: Strangers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Play the backend on a connection."""
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(DEADLINE_S):
            while asked := await reader.read(65_536):
                if b"GET /well " in asked:
                    writer.write(b"HTTP/1.1 204 Well\r\n\r\n")
                    continue
                for piece in strangers.cut(strangers.answer()):
                    writer.write(piece)
                    await writer.drain()
                if strangers.ends():
                    break
    writer.transport.abort() if strangers.ends() else writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def ask_anything(strangers: Strangers, port: int) -> bytes:
    """Play a client on a connection; give what it got. Raises TimeoutError where it is left hanging."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    came = b""
    try:
        with suppress(ConnectionError):
            for piece in strangers.cut(strangers.request()):
                writer.write(piece)
                await writer.drain()
            if not strangers.ends():
                async with asyncio.timeout(DEADLINE_S):
                    came = await reader.read()
    finally:
        writer.transport.abort()
    return came


async def is_well(running: Scene) -> None:
    """Make sure that it still serves, and that nothing is left of what was."""
    front = running.sidecar.front
    await eventually(lambda: not front.under_way, DEADLINE_S)
    for _ in range(TRIES_MAX):
        client = await running.client()
        with suppress(ConnectionError):  # its times are short, and the machine may be busy
            await client.send(WELL)
            if (await client.answer()).status == 204:
                return
    raise AssertionError("it does not serve any more")


async def test_strangers_on_both_sides(tmp_path: Path) -> None:
    strangers = Strangers(SEED)
    backend = await asyncio.start_server(
        lambda reader, writer: answer_anything(strangers, reader, writer), "127.0.0.1", 0
    )
    url = f"http://127.0.0.1:{backend.sockets[0].getsockname()[1]}"
    guard = {"path": "/api/conversations/{conversation_id}", "list": ""}
    async with (
        backend,
        scene(
            tmp_path, guard=[guard], chat={"terminal": ["END"]}, listen=SHORT, upstream={"url": url, **QUICK}
        ) as running,
    ):
        port = int(running.sidecar.url.rpartition(":")[2])
        for begun in range(0, RUNS, AT_ONCE):
            count = min(AT_ONCE, RUNS - begun)
            for came in await asyncio.gather(*(ask_anything(strangers, port) for _ in range(count))):
                assert b"HTTP/1.1 500" not in came, came
        await is_well(running)
