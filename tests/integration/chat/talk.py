"""A chat's beginnings, played on both sides of the sidecar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.fakes.downstream import ALICE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.downstream import Downstream
    from tests.fakes.http import Message
    from tests.fakes.scene import Scene
    from tests.fakes.sockets import RawSocket

PLAIN: Final = "Content-Type: text/plain; charset=utf-8"
CHUNKED: Final = "Transfer-Encoding: chunked"
END: Final = b"0\r\n\r\n"


@dataclass
class Talk:
    """A turn under way: its client, the upstream's end, and the request as it came there."""

    running: Scene
    client: Downstream
    peer: RawSocket
    request: Message

    async def answer(self, *lines: str) -> Message:
        """Have the upstream send the head of an answer in chunks; give it as the client gets it."""
        await self.peer.send(head(CHUNKED, *lines))
        return await self.client.head()

    async def say(self, *texts: bytes) -> None:
        """Have the upstream say something, a chunk each, and the client read it."""
        for text in texts:
            await self.peer.send(chunk(text))
            assert (await self.client.chunk())[1] == text

    async def settle(self, state: str) -> dict[str, object]:
        """Wait until the turn is durably in that state; give its row."""
        return await self.running.turn_in(state)


async def begin(
    running: Scene, *lines: str, request_id: str = "r1", names: str | None = None, small_buffer: bool = False
) -> Talk:
    """Have a client ask in the conversation that it names, or in a new one, and the upstream take the question."""
    client = await running.client(small_buffer=small_buffer)
    await client.chat(f"X-Request-Id: {request_id}", *lines, names=names)
    peer, request = await running.upstream.request()
    return Talk(running, client, peer, request)


async def begin_answer(running: Scene, *, request_id: str = "r1", names: str | None = None) -> Talk:
    """Have the answer begin, too: its head tells that the conversation is c1, and a few words come."""
    talk = await begin(running, request_id=request_id, names=names)
    await talk.answer(PLAIN, "X-Conversation-Id: c1")
    await talk.say(b"Once upon ")
    return talk


async def cancel(running: Scene, ids: Mapping[str, object], *, who: str = ALICE) -> tuple[int, bytes]:
    """Ask for a cancel on a connection of its own; give status and body of the answer."""
    client = await running.client()
    await client.cancel(ids, who=who)
    answer = await client.answer()
    assert answer.get("Content-Type") == b"application/json"
    return answer.status, answer.body


def head(*lines: str, status: str = "200 OK") -> bytes:
    """Put an answer's head together."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def chunk(text: bytes) -> bytes:
    """Frame a chunk."""
    return b"%x\r\n%b\r\n" % (len(text), text)
