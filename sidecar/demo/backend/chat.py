"""The chat endpoint: takes a question to the workshop and streams the answer to whoever is still there (M10)."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sidecar.demo.backend import frames
from sidecar.demo.backend.generation import Generation, Mark
from sidecar.demo.backend.ids import new_conversation_id, new_request_id, new_temp_id
from sidecar.demo.backend.knobs import BackendKnobs, turned
from sidecar.demo.backend.store import Question
from sidecar.demo.backend.watch import telling_of_loss

if TYPE_CHECKING:
    from sidecar.demo.backend.workshop import Workshop


class ChatApi:
    """`POST /api/ai-coach/chat`."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        return [web.post("/api/ai-coach/chat", self.chat)]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a question: as a stream, or whole where the request says `"stream": false`."""
        try:
            knobs = turned(self._workshop.knobs, request.query)
            asked = _chat_request(await request.read())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        if knobs.status >= web.HTTPBadRequest.status_code:
            return web.json_response({"error": "as you asked"}, status=knobs.status)
        generation = self._workshop.begin(_question(request, asked, knobs), knobs)
        with telling_of_loss(request, generation.reader_left):
            answer = _whole if asked.get("stream") is False else _stream
            return await answer(request, generation)


def user_of(request: web.Request) -> str:
    """Say whose conversations a request sees: never the token itself."""
    token = request.headers.get("Authorization")
    return hashlib.sha256(token.encode()).hexdigest()[:12] if token else "anonymous"


def _chat_request(body: bytes) -> dict[str, Any]:
    """Read a chat request's body. Raises ValueError."""
    asked = json.loads(body)
    if not isinstance(asked, dict) or not isinstance(asked.get("messages", []), list):
        raise ValueError('expected {"messages": [...]}')  # noqa: TRY004  (the client's mistake, not a caller's)
    if not isinstance(asked.get("conversationId"), str | None):
        raise ValueError("conversationId is no string")  # noqa: TRY004  (the same)
    return asked


def _question(request: web.Request, asked: dict[str, Any], knobs: BackendKnobs) -> Question:
    chosen = asked.get("conversationId") or None
    return Question(
        request_id=request.headers.get("X-Request-Id") or new_request_id(),
        conversation_id=chosen or new_conversation_id(),
        temp_id=new_temp_id() if knobs.announce and chosen is None else None,
        user=user_of(request),
        text=_last_text(asked.get("messages", [])),
    )


def _last_text(messages: list[Any]) -> str:
    last = messages[-1] if messages else ""
    return str(last.get("content", "") if isinstance(last, dict) else last)


def _headers(generation: Generation) -> dict[str, str]:
    if generation.knobs.id_in != "header":
        return {}
    return {"X-Conversation-Id": generation.question.first_id}


async def _stream(request: web.Request, generation: Generation) -> web.StreamResponse:
    """Send each piece as it comes."""
    response = web.StreamResponse(headers=_headers(generation))
    response.headers["Content-Type"] = frames.content_type(generation.knobs)
    response.enable_chunked_encoding()
    while True:
        piece = await generation.pieces.get()
        try:
            if isinstance(piece, bytes):
                await response.write(piece)
            elif piece is Mark.HEAD:
                await response.prepare(request)
            else:
                return _ended(request, response, piece)
        except ConnectionError:
            # A write can notice before the protocol is told.
            generation.reader_left()
            return response


async def _whole(request: web.Request, generation: Generation) -> web.StreamResponse:
    """Send all pieces at once, with a Content-Length."""
    body = bytearray()
    while True:
        piece = await generation.pieces.get()
        if isinstance(piece, bytes):
            body += piece
        elif piece is not Mark.HEAD:
            response = web.Response(body=bytes(body), headers=_headers(generation))
            response.headers["Content-Type"] = frames.content_type(generation.knobs)
            return _ended(request, response, piece)


def _ended(request: web.Request, response: web.StreamResponse, mark: Mark) -> web.StreamResponse:
    if mark is Mark.CUT and request.transport is not None:
        request.transport.abort()
    return response
