"""The relay over TLS downstream, which knows no half-closed connections: ends are passed on all the same."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import pytest

from tests.fakes.downstream import request_bytes
from tests.fakes.scene import scene
from tests.fakes.tls import FIRST, trusting
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.scene import Scene

OFFER = request_bytes("GET", "/ws", "Connection: Upgrade", "Upgrade: odd/1")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: odd/1\r\n\r\n"
WAIT_S = 20


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[tuple[Scene, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect a client over TLS."""
    async with scene(path, listen={"tls": {"cert": str(FIRST)}}) as running:
        port = urlsplit(running.sidecar.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
        try:
            async with asyncio.timeout(WAIT_S):
                yield running, reader, writer
        finally:
            writer.transport.abort()


async def test_a_tunnel_that_the_upstream_ends_is_ended(tmp_path: Path) -> None:
    """The client cannot be told that only one way has ended, and would wait for ever."""
    async with connected(tmp_path) as (running, reader, writer):
        writer.write(OFFER)
        peer = await running.upstream.take()
        await peer.head()
        await peer.send(SWITCHED, b"bye")
        peer.fin()
        assert await reader.read() == SWITCHED + b"bye"
        await peer.gone()
        assert (await running.exchange_line())["bytes_down"] == 3


async def test_a_tunnel_that_the_client_ends_is_ended(tmp_path: Path) -> None:
    async with connected(tmp_path) as (running, reader, writer):
        writer.write(OFFER)
        peer = await running.upstream.take()
        await peer.head()
        await peer.send(SWITCHED)
        assert await reader.readexactly(len(SWITCHED)) == SWITCHED
        writer.write(b"bye")
        writer.close()
        assert await peer.gone() == b"bye"
        await running.exchange_line()


async def test_a_connection_that_is_closed_twice_is_closed_once(tmp_path: Path) -> None:
    """As by a shutdown while its goodbye is under way: the client, which reads nothing, does not say its own."""
    async with connected(tmp_path) as (running, reader, writer):
        writer.write(request_bytes("GET", "/"))
        peer, _ = await running.upstream.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await reader.readuntil(b"hi")
        cast("asyncio.Transport", writer.transport).pause_reading()
        (connection,) = running.sidecar.front.connections
        connection.close()
        connection.close()
        assert connection.encrypted  # may still be asked
        writer.transport.abort()
        await eventually(lambda: not running.sidecar.front.connections)


@pytest.mark.parametrize("whole", [True, False])
async def test_an_upload_that_is_answered_early_is_not_cut_off(tmp_path: Path, *, whole: bool) -> None:
    """A reset would take the answer away from a client that still sends. With the upload's end, the connection ends."""
    async with connected(tmp_path) as (running, reader, writer):
        body = bytes(2_000_000)
        writer.write(request_bytes("POST", "/x", f"Content-Length: {len(body)}") + body[:1000])
        peer = await running.upstream.take()
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 3\r\n\r\nno!")
        await running.exchange_line()
        writer.write(body[1000:] if whole else body[:500_000])
        await writer.drain()
        assert (await reader.readuntil(b"no!")).startswith(b"HTTP/1.1 413")
        if whole:
            assert await reader.read() == b""
        else:
            assert len(running.sidecar.front.connections) == 1
        await running.upstream_is_left_alone()
