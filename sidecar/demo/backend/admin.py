"""The admin API: the only means to stop the backend. Small and idempotent, as docs/admin-api.openapi.yaml asks of one.

    POST   /admin/requests/{request_id}/cancel            200, or 404 for an unknown request
    DELETE /admin/conversations/{id}                      204, or 404
    DELETE /admin/conversations/{id}/turns/{request_id}   204, or 404
    GET    /admin/conversations/{id}                      200, or 404
    POST   /admin/conversations/{id}/confirm              200, or 404

Every call is recorded, and every real effect counted, so that a test sees what was done how often.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.demo.backend.generation import Generation
    from sidecar.demo.backend.workshop import Workshop

AdminFault: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True, kw_only=True)
class AdminCall:
    """A call as it came in. `at` is on the monotonic clock, in seconds; `status` is None until it is answered."""

    method: str
    path: str
    idempotency_key: str | None
    at: float
    headers: Mapping[str, str]
    status: int | None = None


class AdminApi:
    """The admin API's routes.

    `fault` may answer a call in place of having its effect, `fault_after` in place of its answer.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self.calls: list[AdminCall] = []
        self.effects: Counter[str] = Counter()
        self.fault: AdminFault | None = None
        self.fault_after: AdminFault | None = None

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        return [
            web.post("/admin/requests/{id}/cancel", self._guarded(self._cancel)),
            web.delete("/admin/conversations/{id}", self._guarded(self._delete)),
            web.delete("/admin/conversations/{id}/turns/{request_id}", self._guarded(self._delete_turn)),
            web.get("/admin/conversations/{id}", self._guarded(self._show), allow_head=False),
            web.post("/admin/conversations/{id}/confirm", self._guarded(self._confirm)),
        ]

    def _guarded(self, handler: _Handler) -> _Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            call = self._record(request)
            response = await self._answer(request, handler)
            call.status = response.status
            self._workshop.changed()
            return response

        return guarded

    def _record(self, request: web.Request) -> AdminCall:
        call = AdminCall(
            method=request.method,
            path=request.rel_url.raw_path,
            idempotency_key=request.headers.get("Idempotency-Key"),
            at=time.monotonic(),
            headers=request.headers,
        )
        self.calls.append(call)
        self._workshop.changed()
        return call

    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        token = self._workshop.knobs.admin_token
        if token is not None and request.headers.get("Authorization") != f"Bearer {token}":
            return web.json_response({"error": "not for you"}, status=401)
        if self.fault is not None and (response := await self.fault(request)) is not None:
            return response
        response = await handler(request)
        if self.fault_after is not None and (other := await self.fault_after(request)) is not None:
            return other
        return response

    async def _cancel(self, request: web.Request) -> web.Response:
        generation = self._workshop.generation(request.match_info["id"])
        if generation is None:
            return _unknown()
        await self._stop(generation)
        record = generation.record
        status = "stopped" if record.cancelled else "finished"
        return web.json_response({"status": status, "conversationId": record.conversation_id})

    async def _delete(self, request: web.Request) -> web.Response:
        conversation_id = request.match_info["id"]
        for generation in self._workshop.generations_in(conversation_id):
            await self._stop(generation)
        if not await self._workshop.store.delete(conversation_id):
            return _unknown()
        self.effects[f"deleted {conversation_id}"] += 1
        return web.Response(status=204)

    async def _delete_turn(self, request: web.Request) -> web.Response:
        request_id = request.match_info["request_id"]
        if (generation := self._workshop.generation(request_id)) is not None:
            await self._stop(generation)
        if not await self._workshop.store.delete_turn(request.match_info["id"], request_id):
            return _unknown()
        self.effects[f"deleted turn {request_id}"] += 1
        return web.Response(status=204)

    async def _show(self, request: web.Request) -> web.Response:
        conversation = await self._workshop.store.conversation(request.match_info["id"])
        return _unknown() if conversation is None else web.json_response(conversation)

    async def _confirm(self, request: web.Request) -> web.Response:
        conversation_id = request.match_info["id"]
        if not await self._workshop.store.confirm(conversation_id):
            return _unknown()
        self.effects[f"confirmed {conversation_id}"] += 1
        return web.json_response({"status": "active"})

    async def _stop(self, generation: Generation) -> None:
        if generation.stop():
            self.effects[f"stopped {generation.record.request_id}"] += 1
        await generation.settled()


def _unknown() -> web.Response:
    return web.json_response({"error": "unknown"}, status=404)
