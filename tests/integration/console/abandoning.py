"""Turns that are abandoned, for the operator to look at."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.fakes.downstream import Downstream
    from tests.fakes.scene import Scene
    from tests.fakes.sockets import RawSocket

PATIENCE_S: Final = 30.0
"""A busy machine takes its time."""
ROLLBACK = "DELETE /admin/conversations/{}"


async def stream(running: Scene, request_id: str = "r1", conversation_id: str = "c1") -> Downstream:
    """Have a client ask, and the first words of its answer come."""
    client = await running.client()
    await client.chat(f"X-Request-Id: {request_id}")
    peer = await _taken(running)
    head = f"HTTP/1.1 200 OK\r\nX-Conversation-Id: {conversation_id}\r\nTransfer-Encoding: chunked\r\n\r\n"
    await peer.send(head.encode() + b"5\r\nOnce \r\n")
    await client.head()
    return client


async def _taken(running: Scene) -> RawSocket:
    """Have the upstream take the question; the console's probe comes and goes without one."""
    while True:
        with suppress(ConnectionError):
            peer, _ = await running.upstream.request()
            return peer


async def abandon(running: Scene, state: str = "cancelled") -> None:
    """Have a client leave amid its answer; done when its turn is in that state, and its exchange over."""
    (await stream(running)).close()
    await running.turn_in(state, PATIENCE_S)
    await running.exchange_line()


async def leave_dead(running: Scene) -> None:
    """Have a client leave, and the conversation's rollback fail for the last time."""
    running.expected_errors.add("step_dead")
    running.admin.answers[ROLLBACK.format("c1")] = 503
    await abandon(running, "unresolved")
