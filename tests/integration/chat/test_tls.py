"""A turn over TLS, on both event loops: delivered is what the client has, and its leaving is seen."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import pytest

from tests.fakes.downstream import ALICE, CHAT, chat_body, request_bytes
from tests.fakes.scene import scene
from tests.fakes.tls import FIRST, trusting
from tests.integration.chat.talk import CHUNKED, END, PLAIN, chunk, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.scene import Scene
    from tests.fakes.sockets import RawSocket

BIG = b"x" * 3_000_000
WAIT_S = 20


@asynccontextmanager
async def asked(path: Path) -> AsyncIterator[tuple[Scene, asyncio.StreamReader, asyncio.StreamWriter, RawSocket]]:
    """Have a client ask over TLS, and the answer begin."""
    async with scene(path, listen={"tls": {"cert": str(FIRST)}}) as running:
        port = urlsplit(running.sidecar.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(), limit=4 * len(BIG))
        lines = (f"Authorization: {ALICE}", "X-Request-Id: r1")
        writer.write(request_bytes("POST", CHAT, *lines, body=chat_body()))
        peer, _ = await running.upstream.request()
        await peer.send(head(CHUNKED, PLAIN, "X-Conversation-Id: c1"))
        try:
            yield running, reader, writer, peer
        finally:
            writer.transport.abort()


async def test_a_big_answer_is_delivered_when_it_is_read(tmp_path: Path) -> None:
    async with asked(tmp_path) as (running, reader, writer, peer):
        sending = asyncio.create_task(peer.send(chunk(BIG), END))
        async with asyncio.timeout(WAIT_S):
            await reader.readuntil(b"\r\n0\r\n\r\n")
            await sending
        turn = await running.turn_in("completed")
        assert turn["cause"] is None
        writer.close()


@pytest.mark.parametrize("goodbye", [True, False])
async def test_one_who_leaves_is_seen(tmp_path: Path, goodbye: bool) -> None:
    async with asked(tmp_path) as (running, reader, writer, peer):
        await peer.send(chunk(b"Once "))
        await reader.readuntil(b"Once ")
        if goodbye:
            writer.close()
        else:
            writer.transport.abort()
        await peer.gone(WAIT_S)
        await running.turn_in("cancelled")
        assert running.admin.lines == ["POST /admin/requests/r1/cancel", "DELETE /admin/conversations/c1"]


async def test_one_who_leaves_with_a_part_of_it_has_not_got_it(tmp_path: Path) -> None:
    """The whole answer is in the sidecar's hands, and its end was written; the client reads none of it."""
    async with asked(tmp_path) as (running, reader, writer, peer):
        del reader
        transport = cast("asyncio.Transport", writer.transport)  # uvloop's is one in all but its class
        transport.pause_reading()
        sending = asyncio.create_task(peer.send(chunk(BIG), END))
        await asyncio.wait([sending], timeout=0.2)
        transport.abort()
        await asyncio.gather(sending, return_exceptions=True)
        turn = await running.turn_in("cancelled")
        assert turn["cause"] in {"closed", "reset"}
