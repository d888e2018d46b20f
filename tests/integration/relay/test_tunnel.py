"""Upgrades: after a 101, bytes pass both ways as they are, held back where a side takes none, until both have ended."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.fakes.scene import scene
from tests.fakes.waiting import eventually, loop_turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.server import ServerConnection

    from tests.fakes.downstream import Downstream
    from tests.fakes.scene import Scene
    from tests.fakes.sockets import RawSocket

OFFER = b"GET /ws HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: odd/1\r\nX-Request-Id: r1\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: odd/1\r\n\r\n"
MEBIBYTE = 1_048_576
LOTS = bytes(range(256)) * 65_536  # 16 MiB: more than all buffers on the way


@asynccontextmanager
async def switched(running: Scene) -> AsyncIterator[tuple[Downstream, RawSocket]]:
    client = await running.client()
    await client.send(OFFER)
    peer = await running.upstream.take()
    head = await peer.head()
    assert (head.values("Connection"), head.values("Upgrade")) == ([b"Upgrade"], [b"odd/1"])
    await peer.send(SWITCHED)
    assert await client.until(b"\r\n\r\n") == SWITCHED
    yield client, peer


async def test_bytes_pass_both_ways_as_they_are(running: Scene) -> None:
    async with switched(running) as (client, peer):
        await client.send(b"\x00GET / HTTP/1.1\r\n\r\n")
        assert await peer.exactly(19) == b"\x00GET / HTTP/1.1\r\n\r\n"
        await peer.send(b"HTTP/1.1 200\xff")
        assert await client.exactly(13) == b"HTTP/1.1 200\xff"


async def test_what_came_early_passes_too(running: Scene) -> None:
    client = await running.client()
    await client.send(OFFER + b"early")
    peer = await running.upstream.take()
    await peer.head()
    assert peer.nothing_came()
    await peer.send(SWITCHED + b"at once")
    assert await client.until(b"at once") == SWITCHED + b"at once"
    assert await peer.exactly(5) == b"early"


async def test_downstream_may_end_its_sending_first(running: Scene) -> None:
    async with switched(running) as (client, peer):
        await client.send(b"question")
        client.fin()
        assert await peer.rest() == b"question"
        await peer.send(b"answer")
        assert await client.exactly(6) == b"answer"
        peer.close()
        assert await client.rest() == b""
    line = await running.exchange_line()
    assert (line["status"], line["cause"], line["bytes_up"], line["bytes_down"]) == (101, None, 8, 6)


async def test_the_upstream_may_end_its_sending_first(running: Scene) -> None:
    async with switched(running) as (client, peer):
        await peer.send(b"bye")
        peer.fin()
        assert await client.rest() == b"bye"
        await client.send(b"more")
        assert await peer.exactly(4) == b"more"
        client.close()
        assert await peer.rest() == b""


@pytest.mark.parametrize("side", ["client", "peer"])
async def test_a_reset_is_passed_on_as_a_break(running: Scene, side: str) -> None:
    async with switched(running) as (client, peer):
        first, second = (client, peer) if side == "client" else (peer, client)
        first.reset()
        await second.gone()
    await running.exchange_line()
    assert not running.sidecar.front.under_way


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_side_that_takes_nothing_holds_the_other_back(tmp_path: Path, way: str) -> None:
    async with scene(tmp_path, upstream_small_buffer=True) as running, switched(running) as (client, peer):
        first, second = (client, peer) if way == "up" else (peer, client)
        if way == "down":
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = 0
        quiet = 0
        while quiet < 50:  # turns of the loop in which nobody took anything
            count = first.send_now(LOTS[sent : sent + 65_536])
            sent += count
            quiet = 0 if count else quiet + 1
            await loop_turns(2)
        assert sent < len(LOTS)
        assert await second.exactly(100_000) == LOTS[:100_000]


async def test_an_idle_tunnel_is_ended(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"tunnel_idle_timeout_s": 0.1}) as running:
        async with switched(running) as (client, peer):
            await peer.gone()
            await client.gone()
        line = await running.exchange_line()
        assert (line["status"], line["cause"]) == (101, "expired")


async def test_a_refusal_to_switch_is_an_answer_as_any(running: Scene) -> None:
    client = await running.client()
    await client.send(OFFER)
    peer = await running.upstream.take()
    await peer.head()
    await peer.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
    assert (await client.answer()).body == b"no"
    await client.get("/next")
    assert (await peer.request()).target == b"/next"


async def test_a_switch_that_nobody_offered_is_a_502(running: Scene) -> None:
    client = await running.client()
    await client.get()
    peer, _ = await running.upstream.request()
    await peer.send(SWITCHED)
    assert (await client.answer()).status == 502
    await peer.gone()


# -- a real WebSocket library on both ends -----------------------------------------------------------------------------


@asynccontextmanager
async def websocket(
    tmp_path: Path, handle: Callable[[ServerConnection], Awaitable[None]]
) -> AsyncIterator[ClientConnection]:
    async with serve(handle, "127.0.0.1", 0, max_size=4 * MEBIBYTE) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with scene(tmp_path, upstream={"url": f"http://127.0.0.1:{port}"}) as running:
            url = running.sidecar.url.replace("http", "ws")
            async with connect(f"{url}/ws", max_size=4 * MEBIBYTE, proxy=None) as client:
                yield client
            await eventually(lambda: not running.sidecar.front.under_way)


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_messages(tmp_path: Path) -> None:
    async with websocket(tmp_path, echo) as client:
        for message in ("text \N{SNOWMAN}", b"\x00\xff", "", b"x" * MEBIBYTE, "y" * MEBIBYTE):
            await client.send(message)
            assert await client.recv() == message
        await client.send(["in ", "three ", "fragments"])
        assert await client.recv() == "in three fragments"
        async with asyncio.timeout(10):
            await (await client.ping(b"are you there"))


async def test_close_codes_pass_on(tmp_path: Path) -> None:
    async def refuse(connection: ServerConnection) -> None:
        await connection.close(4321, "not you")

    async with websocket(tmp_path, refuse) as client:
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4321, "not you")


async def test_a_client_that_closes_is_heard(tmp_path: Path) -> None:
    heard = asyncio.Event()
    codes: list[int | None] = []

    async def listen(connection: ServerConnection) -> None:
        await connection.wait_closed()
        codes.append(connection.close_code)
        heard.set()

    async with websocket(tmp_path, listen) as client:
        await client.close(4000, "done")
        async with asyncio.timeout(10):
            await heard.wait()
    assert codes == [4000]


async def test_a_plain_answer_refuses_the_handshake(running: Scene) -> None:
    async def refuse() -> None:
        peer = await running.upstream.take()
        await peer.head()
        await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    refusal = asyncio.ensure_future(refuse())
    with pytest.raises(InvalidStatus, match="403"):
        await connect(running.sidecar.url.replace("http", "ws"), proxy=None)
    await refusal
