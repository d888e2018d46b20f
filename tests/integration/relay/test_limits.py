"""What is bounded, and what a client is told that comes up against it; the next one is served."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.fakes.downstream import request_bytes
from tests.fakes.scene import scene
from tests.fakes.waiting import eventually, loop_turns

if TYPE_CHECKING:
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


async def test_one_connection_too_many_is_a_503(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"connections_max": 2}) as running:
        first, second = await running.client(), await running.client()
        await eventually(lambda: len(running.sidecar.front.connections) == 2)
        third = await running.client()
        answer = await third.answer()
        assert (answer.status, answer.get("Retry-After")) == (503, b"1")
        assert await third.rest() == b""
        third.close()
        first.close()
        await eventually(lambda: len(running.sidecar.front.connections) == 1)
        fourth = await running.client()
        for client in (second, fourth):
            await client.get()
            peer, _ = await running.upstream.request()
            await peer.send(OK)
            assert (await client.answer()).body == b"hi"
            peer.close()


async def test_one_connection_too_many_from_an_address_is_a_429(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"connections_per_address_max": 1}) as running:
        first = await running.client()
        await eventually(lambda: running.sidecar.front.connections)
        second = await running.client()
        assert (await second.answer()).status == 429
        second.close()
        await first.get()
        await (await running.upstream.request())[0].send(OK)
        assert (await first.answer()).body == b"hi"


async def test_a_body_that_stops_coming_is_a_408_and_goes_no_further(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"body_timeout_s": 0.1}) as running:
        client = await running.client()
        await client.send(request_bytes("POST", "/x", "Content-Length: 10"), b"half")
        answer = await client.answer()
        assert (answer.status, answer.get("Connection")) == (408, b"close")
        assert json.loads(answer.body)["error"] == "body_timeout"
        peer = await running.upstream.take()
        await peer.gone()
        line = await running.exchange_line()
        assert (line["status"], line["cause"]) == (408, "upload_cut")


async def test_a_chat_whose_body_stops_coming_is_no_turn(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"body_timeout_s": 0.1}) as running:
        client = await running.client()
        await client.chat("Content-Length: 500", body=b"")
        assert (await client.answer()).status in {400, 408}
        await running.upstream_is_left_alone()
        assert running.turns() == []


async def test_a_body_that_the_upstream_does_not_take_is_not_late(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"body_timeout_s": 0.1}, upstream_small_buffer=True) as running:
        client = await running.client()
        body = bytes(400_000)
        await client.send(request_bytes("POST", "/x", f"Content-Length: {len(body)}"))
        sending = asyncio.ensure_future(client.send(body))
        peer = await running.upstream.take()
        await peer.head()
        waited = asyncio.get_running_loop().time() + 0.3
        await eventually(lambda: asyncio.get_running_loop().time() > waited)
        assert await peer.exactly(len(body)) == body
        await sending
        await peer.send(OK)
        assert (await client.answer()).body == b"hi"


async def test_pipelined_requests_beyond_measure_wait_in_the_kernel(tmp_path: Path) -> None:
    async with scene(tmp_path) as running:
        client = await running.client()
        await client.get("/first")
        peer, _ = await running.upstream.request()
        more = request_bytes("POST", "/more", body=bytes(8000))
        sent, quiet, flood = 0, 0, more * 4000
        while quiet < 50:  # turns of the loop in which nobody took anything
            count = client.send_now(flood[sent : sent + 65_536])
            sent += count
            quiet = 0 if count else quiet + 1
            await loop_turns(2)
        assert sent < len(flood)
        await peer.send(OK)
        assert (await client.answer()).body == b"hi"
        whole = sent // len(more)
        for _ in range(min(whole, 20)):
            assert (await peer.request()).target == b"/more"
            await peer.send(OK)
            assert (await client.answer()).body == b"hi"
