"""An HTTP proxy that keeps an answer back until it has all of it, and passes on that a client has left."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientSession, DummyCookieJar, web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_HOPS = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})


class BufferingProxy:
    """A proxy before a URL."""

    def __init__(self, session: ClientSession, upstream: str) -> None:
        self.url = ""
        self._session = session
        self._upstream = upstream

    @classmethod
    @asynccontextmanager
    async def before(cls, upstream: str) -> AsyncIterator[BufferingProxy]:
        """Listen on loopback."""
        async with ClientSession(cookie_jar=DummyCookieJar(), auto_decompress=False) as session:
            proxy = cls(session, upstream)
            app = web.Application()
            app.router.add_route("*", "/{rest:.*}", proxy._pass_on)
            runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0]
            proxy.url = f"http://{host}:{port}"
            try:
                yield proxy
            finally:
                await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOPS}
        try:
            async with self._session.request(
                request.method, self._upstream + request.raw_path, headers=headers, data=await request.read()
            ) as response:
                body = await response.read()
                kept = {name: value for name, value in response.headers.items() if name.lower() not in _HOPS}
                return web.Response(status=response.status, headers=kept, body=body)
        except ClientError:
            return web.Response(status=502)
