"""A client on a raw socket."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tests.fakes.sockets import SMALL_BUFFER_BYTES, RawSocket

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAT: Final = "/api/ai-coach/chat"
CANCEL: Final = "/api/ai-coach/cancel"
ALICE: Final = "Bearer alice"


class Downstream(RawSocket):
    """A client's connection."""

    @classmethod
    async def connect(cls, url: str, *, small_buffer: bool = False) -> Downstream:
        """Connect to `http://host:port` or `unix:/path`; with `small_buffer`, its kernel takes little unread."""
        family, address = _where(url)
        sock = socket.socket(family)
        if small_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        client = cls(sock)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError:
            client.close()
            raise
        return client

    async def get(self, target: str = "/", *lines: str) -> None:
        """Send a GET."""
        await self.send(request_bytes("GET", target, *lines))

    async def chat(self, *lines: str, target: str = CHAT, names: str | None = None, body: bytes | None = None) -> None:
        """Send a chat request that names a conversation or none; `lines` go into its head."""
        content = chat_body(names) if body is None else body
        lines = (
            lines if any(line.startswith("Authorization") for line in lines) else (f"Authorization: {ALICE}", *lines)
        )
        await self.send(request_bytes("POST", target, "Content-Type: application/json", *lines, body=content))

    async def cancel(self, ids: Mapping[str, object] | bytes, *lines: str, who: str = ALICE) -> None:
        """Send a request to cancel, with these ids or this body."""
        body = ids if isinstance(ids, bytes) else json.dumps(ids).encode()
        await self.send(request_bytes("POST", CANCEL, f"Authorization: {who}", *lines, body=body))


def chat_body(names: str | None = None) -> bytes:
    """Give the body of a chat request that names a conversation or none."""
    named = {} if names is None else {"conversationId": names}
    return json.dumps({"messages": [{"role": "user", "content": "Hello"}], "stream": True, **named}).encode()


def request_bytes(method: str, target: str, *lines: str, body: bytes | None = None) -> bytes:
    """Put a request together; a body brings its Content-Length."""
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: app.example", *lines, *length, "", ""])
    return head.encode() + (body or b"")


def _where(url: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    if url.startswith("unix:"):
        return socket.AF_UNIX, url.removeprefix("unix:")
    parts = urlsplit(url)
    return socket.AF_INET, (parts.hostname or "", parts.port or 80)
