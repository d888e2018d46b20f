"""Third parties' backends, as doubles that stream what their documents show; and a sidecar before one of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession, web
from aiohttp.test_utils import unused_port

from sidecar.app import Sidecar
from sidecar.config import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

Call = tuple[str, str, object]


class Double:
    """A third party's backend: streams what it is told to, then waits; records every other call.

    While `speaking` is not set it is silent, its head aside. `closed` counts chats whose connection was closed on it.
    """

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.calls: list[Call] = []
        self.keys: set[str | None] = set()
        self.asked = asyncio.Event()
        self.speaking = asyncio.Event()
        self.speaking.set()
        self.closed = 0
        self.port = unused_port()

    @asynccontextmanager
    async def listening(self, chat_path: str) -> AsyncIterator[None]:
        """Listen on loopback; chats come to that path."""
        app = web.Application()
        app.router.add_post(chat_path, self._chat)
        app.router.add_route("*", "/{rest:.*}", self._record)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        yield
        await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.asked.set()
        try:
            await self.speaking.wait()
            for chunk in self._chunks:
                await response.write(chunk)
            await asyncio.Event().wait()
        except (asyncio.CancelledError, ConnectionError):
            self.closed += 1
            raise
        return response

    async def _record(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.calls.append((request.method, request.raw_path, json.loads(body) if body else None))
        self.keys.add(request.headers.get("Authorization"))
        return web.json_response({"result": "success"})


def event(**fields: object) -> bytes:
    """Give an SSE event."""
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


@asynccontextmanager
async def sidecar_before(double: Double, toml: str, folder: Path, env: Mapping[str, str]) -> AsyncIterator[str]:
    """Run a sidecar with these settings before a double; give its URL."""
    file = folder / "sidecar.toml"
    file.write_text(
        f"""
        {toml}
        [listen]
        address = "127.0.0.1:0"
        shutdown_grace_s = 0
        [upstream]
        url = "http://127.0.0.1:{double.port}"
        [journal]
        path = "{folder}/sidecar.db"
        [console]
        address = "off"
        """
    )
    async with Sidecar.start(load(file, env)) as sidecar:
        yield sidecar.url


async def abandon(url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None, seen: bytes) -> None:
    """Chat, read up to what has to be seen, and leave."""
    async with ClientSession() as person:
        response = await person.post(url, json=body, headers=headers)
        await response.content.readuntil(seen)
        response.close()
