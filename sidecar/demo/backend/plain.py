"""All that a sidecar only relays: the history, health, an echo, a download."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from sidecar.demo.backend.chat import user_of

if TYPE_CHECKING:
    from sidecar.demo.backend.store import Store

_BLOCK: Final = bytes(range(256)) * 256


class PlainApi:
    """The routes that are no turns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        return [
            web.get("/health", self._health),
            web.get("/api/ai-coach/conversations", self._history),
            web.get("/api/ai-coach/conversations/{id}", self._conversation),
            web.route("*", "/api/ai-coach/echo", self._echo),
            web.get("/api/ai-coach/bytes", self._bytes),
        ]

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _history(self, request: web.Request) -> web.Response:
        return web.json_response(await self._store.conversations(user_of(request)))

    async def _conversation(self, request: web.Request) -> web.Response:
        conversation = await self._store.conversation(request.match_info["id"])
        if conversation is None or conversation["user"] != user_of(request):
            return web.json_response({"error": "unknown"}, status=404)
        return web.json_response(conversation)

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        """Send the body back while it comes in, of the same type and length."""
        response = web.StreamResponse(headers={"X-Method": request.method})
        response.headers["Content-Type"] = request.headers.get("Content-Type", "application/octet-stream")
        response.content_length = request.content_length
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    async def _bytes(self, request: web.Request) -> web.StreamResponse:
        """Send `n` bytes: 0 to 255 over and over."""
        left = int(request.query.get("n", "0"))
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = left
        await response.prepare(request)
        while left > 0:
            await response.write(_BLOCK[:left])
            left -= len(_BLOCK)
        return response
