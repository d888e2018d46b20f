"""Reads of conversations and of the list of them, played on both sides of the sidecar."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.fakes.downstream import request_bytes
from tests.fakes.waiting import eventually
from tests.integration.chat.talk import END, PLAIN, begin, begin_answer, head

if TYPE_CHECKING:
    from tests.fakes.http import Message
    from tests.fakes.scene import Scene
    from tests.fakes.sockets import RawSocket
    from tests.integration.chat.talk import Talk

CANCEL: Final = "POST /admin/requests/r1/cancel"
ROLLBACK: Final = "DELETE /admin/conversations/c1"
HISTORY: Final = "/history"
GUARDS: Final[list[dict[str, Any]]] = [
    {"path": "/history/{conversation_id}", "methods": ["GET", "HEAD"]},
    {"path": HISTORY, "methods": ["GET", "HEAD", "POST"], "list": "/items", "bytes_max": 100_000},
]
STEADY: Final[dict[str, Any]] = {"backoff_max_s": 0.02, "attempts_max": 10_000}
"""An admin API that fails is asked again and again, at an even pace."""
CLOSE: Final = "Connection: close"
"""So that the next request comes on a connection of its own."""
JSON: Final = "Content-Type: application/json"
LISTED: Final = b'{"items": [ {"id": "c0", "n": 1.0e+02},\n {"id":"c1"} , {"\\u0069d": "c2"}],  "next":null}'
CUT: Final = b'{"items": [ {"id": "c0", "n": 1.0e+02} , {"\\u0069d": "c2"}],  "next":null}'


async def ask(running: Scene, target: str, *lines: str, method: str = "GET") -> tuple[RawSocket, Message]:
    """Have a client read, and the upstream be asked; give the upstream's end of it and the request as it came there."""
    client = await running.client()
    await client.send(request_bytes(method, target, *lines))
    return await running.upstream.request()


async def read(running: Scene, *answer: bytes, target: str = HISTORY, method: str = "GET") -> Message:
    """Have a client read, and the upstream answer; give what the client gets."""
    peer, _ = await ask(running, target, method=method)
    await peer.send(*answer)
    return await running.clients[-1].answer(method)


async def read_gone(running: Scene, target: str, *lines: str, method: str = "GET") -> Message:
    """Have a client read what is gone: it is told so, and the upstream is not asked."""
    client = await running.client()
    await client.send(request_bytes(method, target, *lines))
    answer = await client.answer(method)
    await running.upstream_is_left_alone()
    assert answer.status == 404
    if method != "HEAD":
        assert json.loads(answer.body)["error"] == "gone"
    return answer


def listed(body: bytes = LISTED, *lines: str) -> bytes:
    """Put an answer of a known length together."""
    return head(JSON, CLOSE, *lines, f"Content-Length: {len(body)}") + body


async def abandon(running: Scene, *, request_id: str = "r1", names: str | None = None) -> Talk:
    """Have a client leave mid-answer, in the conversation c1; done when that is durable."""
    talk = await begin_answer(running, request_id=request_id, names=names)
    talk.client.close()
    await eventually(lambda: running.turns()[-1]["state"] not in {"open", "answered"})
    return talk


async def deliver(running: Scene, *, request_id: str = "r1", names: str | None = None) -> Talk:
    """Have a turn delivered, in the conversation c1; done when that is durable."""
    talk = await begin(running, request_id=request_id, names=names)
    await talk.answer(PLAIN, CLOSE, "X-Conversation-Id: c1")
    await talk.peer.send(END)
    await talk.client.chunk()
    await eventually(lambda: running.turns()[-1]["state"] == "completed")
    return talk
