"""A chat's beginnings, played on both sides of the sidecar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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


async def begin(running: Scene, *lines: str, request_id: str = "r1", small_buffer: bool = False, **asked: object) -> Talk:
    """Have a client ask, and the upstream take the question."""
    client = await running.client(small_buffer=small_buffer)
    await client.chat(f"X-Request-Id: {request_id}", *lines, **asked)
    peer, request = await running.upstream.request()
    return Talk(running, client, peer, request)


async def begin_answer(running: Scene, conversation_id: str = "c1", **asked: object) -> Talk:
    """The same, up to the answer's first words; the answer's head tells the conversation's id."""
    talk = await begin(running, **asked)
    await talk.answer(PLAIN, f"X-Conversation-Id: {conversation_id}")
    await talk.say(b"Once upon ")
    return talk


def head(*lines: str, status: str = "200 OK") -> bytes:
    """Put an answer's head together."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def chunk(text: bytes) -> bytes:
    """Frame a chunk."""
    return b"%x\r\n%b\r\n" % (len(text), text)
